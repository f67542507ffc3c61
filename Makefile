# Two commands matter: `make demo` and `make test`. Everything lives in .venv; nothing is installed outside the folder.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
ARGS ?=

export OMP_NUM_THREADS ?= 2

.PHONY: help setup demo up test test-fast check bench clean

help:
	@echo "make demo    run the whole path and open it in the browser (ARGS=\"--once --json out.json\" for one round)"
	@echo "make test    run the whole test suite          make test-fast  the quick part"
	@echo "make up      start broker, store and web pages make check      lint and types"
	@echo "make bench   measure the stream beside its peers"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=.")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --constraint constraints.txt --editable ".[dev]"
	touch $@

setup: $(READY)

demo: $(READY)
	@exec $(VENV)/bin/simpersona demo $(ARGS)

up: $(READY)
	@exec $(VENV)/bin/simpersona up $(ARGS)

test: $(READY)
	$(VENV)/bin/pytest $(ARGS)

test-fast: $(READY)
	$(VENV)/bin/pytest -m fast $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY)
	@exec $(VENV)/bin/simpersona bench stream $(ARGS)

clean:
	rm -rf $(VENV) .simpersona .mypy_cache .ruff_cache .pytest_cache .hypothesis
