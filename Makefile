# Two commands matter: `make demo` and `make test`. Everything lives in .venv; nothing is installed outside the folder.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
ARGS ?=
BENCH := .simpersona/bench
BENCH_ENCODER := $(BENCH)/encoder/manifest.json

export OMP_NUM_THREADS ?= 2
# Bytecode is kept even where the environment says otherwise: compiling it anew is half of a process's start.
export PYTHONDONTWRITEBYTECODE :=

# Several processes on few cores: half of the time tests wait for brokers and stores that they have broken.
TEST_PROCESSES ?= 3
SIDE_BY_SIDE = -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

.PHONY: help setup compiled demo up test test-fast faults check bench clean

help:
	@echo "make demo    run the whole path and open it in the browser (ARGS=\"--once --json out.json\" for one round)"
	@echo "make test    run the whole test suite          make test-fast  the quick part"
	@echo "make up      start broker, store and web pages make check      lint and types"
	@echo "make faults  the fault tests and their table"
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

# Once, before several processes would each compile the same loops for themselves.
compiled: $(READY)
	@$(VENV)/bin/python -m streams.warm_up

test: compiled
	$(VENV)/bin/pytest $(SIDE_BY_SIDE) $(ARGS)

faults: compiled
	$(VENV)/bin/pytest tests/faults $(SIDE_BY_SIDE) $(ARGS)

# These wait for nothing, and each process begins with some 17 CPU seconds of imports.
test-fast: TEST_PROCESSES := 2
test-fast: compiled
	$(VENV)/bin/pytest -m fast $(SIDE_BY_SIDE) $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(BENCH_ENCODER)
	@exec $(VENV)/bin/simpersona bench stream --encoder $(dir $(BENCH_ENCODER)) $(ARGS)

$(BENCH_ENCODER): | $(READY)
	$(VENV)/bin/simpersona generate --merchants 12 --buyers 300 --hours 72 --seed 1 --out $(BENCH)/events.parquet --truth $(BENCH)/truth.parquet
	$(VENV)/bin/simpersona train --restart --events $(BENCH)/events.parquet --out $(BENCH)/encoder

clean:
	rm -rf $(VENV) .simpersona .mypy_cache .ruff_cache .pytest_cache .hypothesis
