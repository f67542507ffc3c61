"""A worker in a process of its own, as `python -m streams` runs it, and its health page."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

from infra.stack.ports import LOOPBACK

DEADLINE_S = 240.0
POLL_S = 0.2
#: What Python runs as a worker.
WORKER = ("-m", "streams")
_READY = re.compile(r"Worker is ready, health page on port (\d+)")


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S, poll_s: float = POLL_S) -> None:
    """Return once the condition holds; fail with what was waited for when it does not in time."""
    give_up = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting for {what}"
        time.sleep(poll_s)


@dataclass(eq=False)
class Worker:
    """A worker process and its health page."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, log: Path, settings: Mapping[str, object], program: Sequence[str] = WORKER) -> "Worker":
        """Start a worker with these settings, named as in ``schemas.settings``; do not wait for it."""
        environment = {f"SIMPERSONA_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {"SIMPERSONA_HEALTH_PORT": "0", "OMP_NUM_THREADS": "1"}
        with log.open("wb") as out:
            command = [sys.executable, *program]
            process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
        return cls(process, log)

    def page(self, path: str) -> str:
        """Return a page's text, "" while nobody answers. Fails when the worker has ended."""
        said = _READY.search(self.log.read_text())
        if said is None:
            assert self.running, self.log.read_text()
            return ""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{said[1]}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            return error.read().decode()
        except (URLError, ConnectionError, TimeoutError):
            assert self.running, self.log.read_text()
            return ""

    @property
    def running(self) -> bool:
        """Whether the process has not ended (a suspended one has not)."""
        return self.process.poll() is None

    @property
    def status(self) -> str:
        """What it says of its health, "" while it does not answer."""
        page = self.page("/health")
        return str(json.loads(page)["status"]) if page else ""

    @property
    def partitions(self) -> int:
        """Partitions it owns, 0 until it has joined."""
        page = self.page("/health")
        return int(json.loads(page)["partitions"]) if page else 0

    def count(self, metric: str) -> float:
        """Return a counter's sum over its labels; ``metric`` may name the first, as in ``records_total{topic="a"``."""
        lines = [line for line in self.page("/metrics").splitlines() if line.startswith(f"simpersona_{metric}")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "_created" not in line)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE_S)

    def suspend(self) -> None:
        """Stop it in the middle of whatever it does, as a hung machine would."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended worker go on."""
        self.process.send_signal(signal.SIGCONT)
