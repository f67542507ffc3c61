"""Counts a peer's events and times them: wall seconds and CPU seconds of its whole process, after the warm-up."""

import json
import os
import time
from collections.abc import Sequence
from importlib.metadata import version

from bench.peers.task import Task


class Stopwatch:
    """Starts when the warm-up is over; at the last event it prints one JSON line and ends the process.

    The line is ``{"seconds", "cpu_s", "events", "versions"}``, ``events`` being those between start and end. Stream
    processors run for ever and some never come back from an orderly stop, so the process is ended on the spot.
    """

    def __init__(self, task: Task, packages: Sequence[str]) -> None:
        self._start_at = task.warm_up
        self._end_at = task.events
        self._packages = packages
        self._events = 0
        self._start_s = 0.0
        self._start_cpu_s = 0.0

    def count(self) -> None:
        """Note one event that is done."""
        self._events += 1
        if self._events == self._start_at:
            self._start_s, self._start_cpu_s = time.monotonic(), time.process_time()
        elif self._events == self._end_at:
            self._end()

    def _end(self) -> None:
        result = {
            "seconds": time.monotonic() - self._start_s,
            "cpu_s": time.process_time() - self._start_cpu_s,
            "events": self._end_at - self._start_at,
            "versions": {name: version(name) for name in self._packages},
        }
        print(json.dumps(result), flush=True)
        os._exit(0)
