"""The demo's commands: each step is what a user would type, run as a supervised child that shows its progress."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.errors import DemoError
from infra.stack.child import Child, ChildSpec
from infra.stack.supervisor import Supervisor

_POLL_INTERVAL_S = 0.05


@dataclass
class Command:
    """One running ``simpersona`` command; its standard output is kept in the log."""

    child: Child


@dataclass
class Steps:
    """Run commands one after another under a supervisor and note how long each took."""

    supervisor: Supervisor
    console: Console
    environment: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def start(self, name: str, *arguments: object, ends: bool = False) -> Command:
        """Start a command without waiting for it, its output in the log of that name; say if it ends by itself."""
        return self._start(name, arguments, ends=ends)

    def run(self, name: str, *arguments: object) -> str:
        """Run a command to its end and return its standard output.

        Raises DemoError when it fails (it has said why itself), KeyboardInterrupt when the demo is told to stop.
        """
        words = [str(argument) for argument in arguments]
        self.console.print(f"[dim]$ simpersona {shlex.join(words)}[/dim]", soft_wrap=True, highlight=False)
        begun_s = time.monotonic()
        command = self._start(name, arguments, shows_progress=True)
        while command.child.exit_code() is None:
            self.supervisor.check(apart_from=command.child)
            time.sleep(_POLL_INTERVAL_S)
        code = command.child.exit_code()
        self.supervisor.stop(command)
        if code:
            raise DemoError(
                f"The step `simpersona {shlex.join(words)}` ended with code {code}; see above for its reason."
            )
        self.seconds[name] = round(time.monotonic() - begun_s, 1)
        return command.child.spec.log.read_text()

    def run_json(self, name: str, *arguments: object) -> dict[str, Any]:
        """Run a command with ``--json`` and return what it printed. Raises as ``run``."""
        answer: dict[str, Any] = json.loads(self.run(name, *arguments, "--json"))
        return answer

    def wait(self, what: str, done: Callable[[], bool], deadline_s: float) -> None:
        """Return once ``done()``. Raises DemoError when the deadline passes, ServiceFailedError when a part ends."""
        give_up_s = time.monotonic() + deadline_s
        with self.console.status(what):
            while not done():
                self.supervisor.check()
                if time.monotonic() > give_up_s:
                    raise DemoError(f"Gave up {what} after {deadline_s:.0f} s; the logs are in {self._logs()}.")
                time.sleep(_POLL_INTERVAL_S)

    def _start(
        self, name: str, arguments: tuple[object, ...], *, shows_progress: bool = False, ends: bool = False
    ) -> Command:
        argv = [sys.executable, "-m", "infra.cli.main", *(str(argument) for argument in arguments)]
        spec = ChildSpec(
            name=f"step {name}",
            argv=argv,
            log=self._logs() / f"{name}.log",
            env=self.environment,
            shows_progress=shows_progress,
            ends=ends,
        )
        return self.supervisor.start(lambda: Command(Child(spec)))

    def _logs(self) -> Path:
        return self.supervisor.data_dir / "logs"
