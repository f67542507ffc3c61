"""A worker that is struck at one exact step: `python -m tests.faults.doomed STEP NUMBER KILL|STOP`.

STEP is a method as `module:Class.name`; the blow falls before its NUMBER-th call. The worker is the real one; only the
signal, which it sends itself, is added.
"""

import functools
import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP}


def strike(step: str, number: int, blow: signal.Signals) -> None:
    """Put the signal before the ``number``-th call of a method, plain or asynchronous."""
    module, path = step.split(":")
    holder, name = path.split(".")
    owner = getattr(importlib.import_module(module), holder)
    method: Callable[..., Any] = getattr(owner, name)
    calls = itertools.count(1)

    @functools.wraps(method)
    def struck(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), blow)
        return method(*arguments, **named)

    setattr(owner, name, struck)


if __name__ == "__main__":
    from streams.__main__ import main

    strike(sys.argv[1], int(sys.argv[2]), SIGNALS[sys.argv[3]])
    main()
