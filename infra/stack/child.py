"""A process that the supervisor started: its log, its end, and how it is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import FolderUnusableError, ServiceFailedError
from infra.stack import leash

PROBE_INTERVAL_S = 0.02
TAIL_LINES = 5


@dataclass(frozen=True)
class ChildSpec:
    """What to run: name, command, log file, changes to the environment, memory bound and how to end it.

    With ``shows_progress`` only its output goes to the log; what it writes to standard error is seen in the terminal.
    One that ``ends`` is done some day: its end with code 0 is no failure.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    data_limit_bytes: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    shows_progress: bool = False
    ends: bool = False


class Child:
    """One running process in its own process group, so that Ctrl-C in a terminal reaches only its parent.

    Start it from the main thread: the kernel ends a leashed child when the thread that started it ends.
    """

    def __init__(self, spec: ChildSpec) -> None:
        """Start the process. Raises FolderUnusableError when its log cannot be written."""
        self.spec = spec
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(spec.data_limit_bytes)]
        try:
            spec.log.parent.mkdir(parents=True, exist_ok=True)
            with spec.log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*leashed, *spec.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=None if spec.shows_progress else subprocess.STDOUT,
                    env={**os.environ, **spec.env},
                    start_new_session=True,
                )
        except OSError as error:
            raise FolderUnusableError(
                f"The {spec.name} cannot be started with its log in {spec.log}: {error.strerror}; "
                "make room or choose another --data-dir."
            ) from error

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """Its process id, also the id of its process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs; a negative number is the signal that ended it."""
        return self._process.poll()

    @property
    def failed(self) -> bool:
        """Whether it has ended although it should not have."""
        code = self.exit_code()
        return code is not None and not (self.spec.ends and code == 0)

    def tail(self) -> str:
        """Return the last lines of its log, for a message about its end."""
        lines = [line.strip() for line in self.spec.log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-TAIL_LINES:])

    def failure(self) -> ServiceFailedError:
        """Return the error that says how it ended."""
        code = self.exit_code()
        if self.spec.data_limit_bytes and "memory allocation" in self.tail():
            return ServiceFailedError(
                f"The {self.name} reached its memory limit of {self.spec.data_limit_bytes >> 20} MiB and was ended: "
                "it keeps everything in memory; start again, raise SIMPERSONA_BROKER_MEMORY_MB, "
                "or use Apache Kafka (SIMPERSONA_KAFKA)."
            )
        end = (
            f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
        )
        return ServiceFailedError(f"The {self.name} {end}; its log {self.spec.log} says: {self.tail() or 'nothing'}.")

    def wait_ready(self, ready: Callable[[], bool], deadline_s: float) -> None:
        """Return once `ready()` is true. Raises ServiceFailedError when it ends first or the deadline passes."""
        give_up_at = time.monotonic() + deadline_s
        while not ready():
            if self.exit_code() is not None:
                raise self.failure()
            if time.monotonic() > give_up_at:
                raise ServiceFailedError(
                    f"The {self.name} did not answer within {deadline_s:.0f} s; see its log {self.spec.log}."
                )
            time.sleep(PROBE_INTERVAL_S)

    def stop(self, first: signal.Signals | None = None) -> None:
        """End the process and its group: by its own (or the given) signal, by SIGKILL after the grace. Idempotent."""
        if self._process.poll() is None:
            self._signal(first or self.spec.stop_signal)
            try:
                self._process.wait(self.spec.grace_s)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        # Whatever the process itself started and left behind goes with it.
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
