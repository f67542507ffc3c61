"""A worker that tells at its end which loops it met late: `python -m tests.integration.late_loops FILE`.

The worker is the real one. FILE takes a line per loop and kind of arguments: those that were compiled, or loaded from
numba's cache, after the warm-up, that is while records waited.
"""

import atexit
import sys
from pathlib import Path

from numba.core.dispatcher import Dispatcher

import streams.worker

warm_up = streams.worker.warm_up


def loops() -> set[str]:
    """Return the names of all loops that have been compiled or loaded, once per kind of arguments."""
    named = [one for module in list(sys.modules.values()) for one in list(vars(module).values())]
    dispatchers = [one for one in named if isinstance(one, Dispatcher)]
    return {
        f"{one.py_func.__module__}.{one.py_func.__name__} {kinds}" for one in dispatchers for kinds in one.signatures
    }


def tell(file: Path) -> None:
    """Have the file written when the worker ends."""

    def watched(*arguments: object) -> None:
        warm_up(*arguments)  # type: ignore[arg-type]
        known = loops()
        atexit.register(lambda: file.write_text("".join(f"{one}\n" for one in sorted(loops() - known))))

    streams.worker.warm_up = watched  # type: ignore[attr-defined]


if __name__ == "__main__":
    from streams.__main__ import main

    tell(Path(sys.argv[1]))
    main()
