"""The demo itself: from generated traffic to simulated buyers that came back, over the embedded stack."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from rich.console import Console

from infra.demo.score import Score, score
from infra.demo.steps import Command, Steps
from infra.stack.clickhouse import connect
from infra.stack.ports import LOOPBACK, free_port
from infra.stack.stack import Addresses, start_stack
from infra.stack.supervisor import Supervisor
from schemas.settings import Settings

#: Shops the encoder and the simulator learn from; the live ones are others, so that the demo shows transfer.
TRAINING_SHOPS, FIRST_LIVE_SHOP = 16, 100
#: The live shops' traffic begins this long before the demo does, and its last visits begin so long before it that
#: even the longest is over: event time must not run ahead of the clock, or what comes live would be behind it.
HISTORY_H, QUIET_H = 72, 2
#: Event time per wall time while the history streams in front of somebody who watches.
WATCHED_SPEED = 2400
LIVE_H = 3
WORKER_READY_S, DRAINED_S = 90.0, 180.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Sizes of a demo: live merchants, buyers of each, simulated buyers of each, and the seed of the whole world."""

    merchants: int = 5
    buyers: int = 3000
    simulated: int = 500
    training_buyers: int = 600
    seed: int = 7


class Demo:
    """One run of the demo under a supervisor that owns its data folder."""

    def __init__(self, plan: DemoPlan, supervisor: Supervisor, settings: Settings, console: Console) -> None:
        self._plan = plan
        self._settings = settings
        self._console = console
        self._steps = Steps(supervisor, console)
        self._folder = supervisor.data_dir
        self._traffic = self._folder / "traffic"
        self._encoder = self._folder / "encoder"
        self._simulator = self._folder / "simulator"
        self._health_port = 0
        self._runs: list[str] = []
        self.addresses: Addresses | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """How long each step took."""
        return self._steps.seconds

    def start(self) -> Addresses:
        """Make the traffic, start the stack, train what is not there yet, start the worker; return the addresses.

        Raises the errors of the parts, DemoError when a step fails, KeyboardInterrupt when told to stop.
        """
        self._make_traffic()
        catalogue = {"SIMPERSONA_CATALOGUE": str(self._path("live", ".catalogue.parquet"))}
        self.addresses = start_stack(self._steps.supervisor, self._settings, web_environment=catalogue)
        self._steps.environment |= self.addresses.environment() | {
            "SIMPERSONA_ENCODER": str(self._encoder),
            "SIMPERSONA_SIMULATOR": str(self._simulator),
        }
        self._console.print(f"Dashboard: {self.addresses.dashboard}", style="bold", highlight=False)
        if not self._encoder.exists():
            # A demo of other sizes may have been interrupted here.
            self._steps.run(
                "train", "train", "--restart", "--events", self._path("train"), "--out", self._encoder, "--epochs", 6
            )
        self._start_worker()
        return self.addresses

    def stream(self, *, watched: bool) -> int:
        """Stream the history through the worker, learn to simulate meanwhile, and return the events sent."""
        # A watched round goes on with live traffic, to which sessions that are still open belong.
        closing = "--no-close" if watched else "--close"
        arguments = ["replay", "--events", self._path("live"), "--order", "received", closing]
        if watched:
            replay = self._steps.start("replay", *arguments, "--speed", WATCHED_SPEED, "--json", ends=True)
            self._learn_to_simulate()
            self._steps.wait(
                "streaming the last days' traffic", lambda: _ended(replay), HISTORY_H * 3600 / WATCHED_SPEED * 2
            )
            self._steps.supervisor.stop(replay)
            sent = json.loads(replay.child.spec.log.read_text())
        else:
            sent = self._steps.run_json("replay", *arguments, "--speed", "max")
            self._learn_to_simulate()
        self._steps.wait("waiting for the worker to finish", self._drained(sent, closed=not watched), DRAINED_S)
        return int(sent["events"])

    def simulate(self) -> None:
        """Send a crowd drawn from each live shop's latest mix through its storefront and back into the stream."""
        for merchant in self.live_merchants():
            report = self._folder / "logs" / f"simulate-{merchant}.json"
            self._steps.run(
                f"simulate {merchant}", "simulate", "--merchant", merchant, "--buyers", self._plan.simulated,
                "--events", self._path("live"), "--seed", self._plan.seed, "--wait", 60, "--json", report,
            )  # fmt: skip
            self._runs.append(str(json.loads(report.read_text())["run_id"]))

    def live_merchants(self) -> Sequence[str]:
        """Return the live shops' names from the truth beside their traffic."""
        summary: dict[str, Any] = json.loads(self._truth("live").with_suffix(".json").read_text())
        return [str(merchant["merchant_id"]) for merchant in summary["merchants"]]

    def score(self, events: int) -> Score:
        """Return what this round came to."""
        assert self.addresses is not None, "start() comes first"
        return score(self.addresses.clickhouse, self._truth("live"), self._runs, events)

    def keep_streaming(self) -> None:
        """Let traffic go on at the pace of the clock, with a live population beside it, until told to stop."""
        self._steps.start("agents", "agents", "--events", self._path("live"))
        events, plan = self._path("now"), self._plan
        while True:
            self._generate("now", FIRST_LIVE_SHOP, plan.merchants, plan.buyers, LIVE_H, datetime.now(UTC), drift=False)
            live = self._steps.start(
                "live", "replay", "--events", events, "--order", "received", "--speed", 1, "--no-close", ends=True
            )
            self._steps.supervisor.watch(lambda command=live: _ended(command))  # type: ignore[misc]
            self._steps.supervisor.stop(live)

    def _make_traffic(self) -> None:
        """Generate the shops to learn from and the live ones' history; both are kept between runs."""
        self._traffic.mkdir(parents=True, exist_ok=True)
        begin = datetime.now(UTC) - timedelta(hours=HISTORY_H + QUIET_H)
        plan = self._plan
        if not self._truth("train").with_suffix(".json").exists():
            self._generate("train", 0, TRAINING_SHOPS, plan.training_buyers, HISTORY_H, begin, drift=False)
        if not self._truth("live").with_suffix(".json").exists():
            self._generate("live", FIRST_LIVE_SHOP, plan.merchants, plan.buyers, HISTORY_H, begin, drift=True)

    def _generate(
        self, name: str, first: int, merchants: int, buyers: int, hours: int, begin: datetime, *, drift: bool
    ) -> None:
        self._steps.run(
            f"generate {name}", "generate", "--out", self._path(name), "--truth", self._truth(name),
            "--merchants", merchants, "--first-merchant", first, "--buyers", buyers, "--hours", hours,
            "--start", begin.isoformat(timespec="seconds"), "--seed", self._plan.seed,
            "--drift" if drift else "--no-drift",
        )  # fmt: skip

    def _start_worker(self) -> None:
        self._health_port = free_port()
        self._steps.start("worker", "worker", "--health-port", self._health_port)
        self._steps.wait("waiting for the worker to join", lambda: self._health().get("status") == "ok", WORKER_READY_S)

    def _learn_to_simulate(self) -> None:
        if self._simulator.exists():
            return
        assigned = self._traffic / "train.assigned.parquet"
        self._steps.run(
            "assign", "assign", "--events", self._path("train"), "--encoder", self._encoder, "--out", assigned
        )
        self._steps.run(
            "finetune", "finetune", "--events", self._path("train"), "--assignments", assigned, "--out", self._simulator
        )

    def _drained(self, sent: dict[str, Any], *, closed: bool) -> Callable[[], bool]:
        """Return a condition: every record sent was read, nothing is under way, and the books balance."""
        assert self.addresses is not None, "start() comes first"
        client = connect(self.addresses.clickhouse)
        expected = int(sent["events"]) + int(sent["malformed"])

        def done() -> bool:
            health = self._health()
            if health.get("status") != "ok" or health["lag_records"] or health["outstanding_chunks"]:
                return False
            if self._records_read() < expected:
                return False
            rows: list[tuple[int, int]] = client.query(
                "SELECT (SELECT count() FROM sessions WHERE NOT is_final AND source = 'live'), "
                "(SELECT countIf(NOT balanced) FROM books)"
            ).result_rows
            ((open_sessions, unbalanced),) = rows
            return unbalanced == 0 and (open_sessions == 0 or not closed)

        return done

    def _health(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._ask("/health") or "{}")
        return answer

    def _records_read(self) -> int:
        line = 'simpersona_records_total{topic="clicks.raw"}'
        lines = self._ask("/metrics").splitlines()
        return next((int(float(text.rsplit(" ", 1)[1])) for text in lines if text.startswith(line)), 0)

    def _ask(self, path: str) -> str:
        """Return a page of the worker, also one that says "not ready"; "" while nothing answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._health_port}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            return str(error.read().decode())
        except (URLError, TimeoutError, ConnectionError):
            return ""

    def _path(self, name: str, ending: str = ".parquet") -> Path:
        return self._traffic / f"{name}{ending}"

    def _truth(self, name: str) -> Path:
        return self._traffic / f"{name}.truth.parquet"


def _ended(command: Command) -> bool:
    return command.child.exit_code() is not None


def forget(data_dir: Path) -> None:
    """Remove what earlier demos left in the folder, so that the next one starts anew."""
    for name in ("traffic", "encoder", "simulator", "clickhouse"):
        shutil.rmtree(data_dir / name, ignore_errors=True)
