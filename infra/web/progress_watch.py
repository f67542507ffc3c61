"""The newest progress, read in the background: a broker that is away keeps nobody waiting."""

import threading
import time

from infra.errors import BrokerUnreachableError
from infra.web.progress import Progress, ProgressMeter

READ_EVERY_S = 1.0
#: Longest wait for the first reading of all.
FIRST_WITHIN_S = 1.0
#: A reading older than this is none: the broker has taken the request and does not answer.
STALE_AFTER_S = 5.0


class ProgressWatch:
    """Reads a meter once a second from the first question on, in a thread of its own. Thread-safe."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap, self._group = bootstrap, group
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._starting = threading.Lock()
        self._told, self._closed = threading.Event(), threading.Event()
        self._newest: tuple[float, Progress | BrokerUnreachableError]

    def latest(self) -> Progress:
        """Return the newest reading at once; only the first question waits, at most ``FIRST_WITHIN_S``.

        Raises BrokerUnreachableError when the broker has not answered lately.
        """
        with self._starting:
            if not self._thread.ident:
                self._thread.start()
        if not self._told.wait(FIRST_WITHIN_S):
            raise BrokerUnreachableError(f"The broker at {self._bootstrap} has not answered yet.")
        at_s, found = self._newest
        if isinstance(found, BrokerUnreachableError):
            raise found
        if time.monotonic() - at_s > STALE_AFTER_S:
            raise BrokerUnreachableError(f"The broker at {self._bootstrap} has stopped answering.")
        return found

    def close(self) -> None:
        """End the reading; what is under way ends within the meter's own limits."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                # Connected anew after every failure: at the same address there may be another broker by then.
                with ProgressMeter(self._bootstrap, self._group) as meter:
                    while not self._closed.is_set():
                        self._tell(meter.read(time.monotonic()))
                        self._closed.wait(READ_EVERY_S)
            except BrokerUnreachableError as error:
                self._tell(error)
                self._closed.wait(READ_EVERY_S)

    def _tell(self, found: Progress | BrokerUnreachableError) -> None:
        self._newest = (time.monotonic(), found)
        self._told.set()
