"""One parent for all processes of a run: starts them, watches them, and ends them all in whatever phase it is told to.

Ctrl-C, SIGTERM and SIGHUP become KeyboardInterrupt in the main thread, but never between the start of a child and the
moment it is known here. Children live in process groups of their own, so that Ctrl-C in a terminal reaches only this
parent; should the parent be killed outright, the kernel ends them (see `leash`).
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

from infra.stack.child import Child
from infra.stack.folder_lock import FolderLock

WATCH_INTERVAL_S = 0.2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Service(Protocol):
    """Anything that runs as one child."""

    child: Child


ServiceT = TypeVar("ServiceT", bound=Service)


class Supervisor:
    """The parent over one data folder. Use as a context manager in the main thread.

    Leaving it stops every child, the last one first, and then lets go of the folder.
    """

    def __init__(self, data_dir: Path) -> None:
        """Name the folder; signals and lock are taken when the context is entered."""
        self.data_dir = data_dir
        self._lock = FolderLock(data_dir)
        self._children: list[Child] = []
        self._asked_to_stop = False
        self._shields = 0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Supervisor":
        """Take over the stop signals and lock the folder.

        Raises FolderLockedError when another run holds the folder, FolderUnusableError when it cannot be written.
        """
        try:
            with self._shielded():
                for number in STOP_SIGNALS:
                    self._former[number] = signal.signal(number, self._on_signal)
                self._lock.take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop all children, deaf to further signals, let go of the folder, then hand the signals back."""
        # Never lowered again: a second Ctrl-C must not leave half of the children running.
        self._shields += 1
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        self._lock.release()
        for number, former in self._former.items():
            signal.signal(number, former)

    def start(self, make: Callable[[], ServiceT]) -> ServiceT:
        """Start a service by calling `make` and keep its child. Raises what `make` raises, and KeyboardInterrupt."""
        with self._shielded():
            service = make()
            self._children.append(service.child)
        return service

    def stop(self, service: Service) -> None:
        """Stop one service before the others, on purpose."""
        with self._shielded():
            service.child.stop()
            self._children.remove(service.child)

    def check(self, apart_from: Child | None = None) -> None:
        """Raise ServiceFailedError when a child has failed; the one apart may."""
        for child in self._children:
            if child is not apart_from and child.failed:
                raise child.failure()

    def watch(self, done: Callable[[], bool] = lambda: False) -> None:
        """Stay until ``done()``, a stop signal comes (KeyboardInterrupt) or a child fails (ServiceFailedError)."""
        while not done():
            self.check()
            time.sleep(WATCH_INTERVAL_S)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = True
        if self._shields == 0:
            raise KeyboardInterrupt

    @contextmanager
    def _shielded(self) -> Iterator[None]:
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            # The interrupt outranks whatever else went wrong: Ctrl-C may have been the cause of it.
            if self._asked_to_stop and self._shields == 0:
                raise KeyboardInterrupt
