"""The stand of one benchmark: Apache Kafka, the embedded store, and our workers as programs whose use of the machine
can be read."""

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

import psutil

from infra.errors import BenchError
from infra.stack.apache_kafka import ApacheKafka, fetch_jars
from infra.stack.child import Child, ChildSpec
from infra.stack.migrate import migrate
from infra.stack.ports import LOOPBACK, free_port
from infra.stack.store import EmbeddedStore
from infra.stack.supervisor import Supervisor
from schemas.settings import Settings

_STORE_MB = 4_096
#: The first start after a change compiles for a minute, longer on a busy machine.
_JOINED_WITHIN_S = 300.0
_POLL_INTERVAL_S = 0.1
#: A worker that is measured is asked less often: its page costs it a few milliseconds.
_MEASURED_INTERVAL_S = 0.5
_PAGE_TIMEOUT_S = 5.0


class Program:
    """A child process with its processor time and memory."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._process = psutil.Process(child.pid)

    def cpu_s(self) -> float:
        """Return the CPU seconds it has used. Raises ServiceFailedError when it has ended."""
        if self.child.exit_code() is not None:
            raise self.child.failure()
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory_mib(self) -> float:
        """Return its resident memory."""
        return float(self._process.memory_info().rss) / 2**20


class Worker(Program):
    """One of our workers, with its health page."""

    def __init__(self, child: Child, port: int) -> None:
        super().__init__(child)
        self._port = port

    def wait_joined(self) -> None:
        """Return once it owns partitions. Raises ServiceFailedError when it ends, BenchError when it owns none."""
        give_up_s = time.monotonic() + _JOINED_WITHIN_S
        while not self._partitions():
            if time.monotonic() > give_up_s:
                raise BenchError(
                    f"The {self.child.name} owns no partition; its log says: {self.child.tail() or 'nothing'}."
                )
            time.sleep(_POLL_INTERVAL_S)

    def wait_until(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        """Wait for a condition. Raises ServiceFailedError when the worker ends, BenchError when it takes too long."""
        give_up_s = time.monotonic() + within_s
        while not condition():
            self.cpu_s()  # raises when it has ended
            if time.monotonic() > give_up_s:
                raise BenchError(f"It took longer than {within_s:.0f} s until {what}; see {self.child.spec.log}.")
            time.sleep(_MEASURED_INTERVAL_S)

    def processed(self, topic: str) -> int:
        """Return how many records of a topic it has processed, committed or not.

        Raises ServiceFailedError when it has ended, BenchError when its page does not answer.
        """
        return int(self.metric(f'records_total{{topic="{topic}"}}'))

    def metric(self, name: str) -> float:
        """Return a metric of its page, labels included in the name; 0 when there is none of that name.

        Raises ServiceFailedError when it has ended, BenchError when its page does not answer.
        """
        page = self._page("/metrics")
        if not page:
            raise BenchError(
                f"The metrics of {self.child.name} do not answer; its log says: {self.child.tail() or 'nothing'}."
            )
        start = f"simpersona_{name} "
        return sum(float(line[len(start) :]) for line in page.splitlines() if line.startswith(start))

    def _partitions(self) -> int:
        page = self._page("/health")
        return int(json.loads(page)["partitions"]) if page else 0

    def _page(self, path: str) -> str:
        """Return a page's text, "" while it does not answer or does not answer well."""
        if self.child.exit_code() is not None:
            raise self.child.failure()
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}{path}", timeout=_PAGE_TIMEOUT_S) as answer:
                return str(answer.read().decode())
        except (HTTPError, URLError, ConnectionError, TimeoutError):
            return ""


class Stand:
    """A running broker and store, and whatever was started beside them; made by ``Stand.open``."""

    def __init__(
        self, supervisor: Supervisor, folder: Path, kafka: ApacheKafka, store: EmbeddedStore, settings: Settings
    ) -> None:
        self.supervisor = supervisor
        self.folder = folder
        self.settings = settings
        self.broker = Program(kafka.child)
        self.store = Program(store.child)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, encoder: Path, properties: Mapping[str, str] | None = None) -> Iterator["Stand"]:
        """Start broker and store in an empty folder, the broker with these properties, and stop all at the end.

        Raises JavaMissingError without Java and Maven, ServiceFailedError when one does not come up.
        """
        with Supervisor(folder) as supervisor:
            jars = fetch_jars()
            kafka = supervisor.start(lambda: ApacheKafka.start(folder / "kafka", jars, properties=properties))
            store = supervisor.start(
                lambda: EmbeddedStore.start(folder / "clickhouse", folder / "store.log", _STORE_MB)
            )
            kafka.wait_ready()
            store.wait_ready()
            migrate(store.url())
            settings = Settings(kafka=kafka.bootstrap, clickhouse=store.url(), encoder=encoder)
            yield cls(supervisor, folder, kafka, store, settings)

    def start_worker(self, name: str, **settings: object) -> Worker:
        """Start a worker with the product's own settings but for those given; it has not joined its group yet."""
        port = free_port()
        chosen = {
            "kafka": self.settings.kafka,
            "clickhouse": self.settings.clickhouse,
            "encoder": self.settings.encoder,
            "health_port": port,
            **settings,
        }
        environment = {f"SIMPERSONA_{key.upper()}": str(value) for key, value in chosen.items()}
        spec = ChildSpec(name, [sys.executable, "-m", "streams"], self.folder / f"{name}.log", env=environment)
        return self.supervisor.start(lambda: Worker(Child(spec), port))

    def start_command(self, name: str, *arguments: str) -> Program:
        """Start a ``simpersona`` command against the stand; what it prints is in its log ``<name>.log``."""
        environment = {"SIMPERSONA_KAFKA": self.settings.kafka, "SIMPERSONA_CLICKHOUSE": self.settings.clickhouse}
        argv = [sys.executable, "-m", "infra.cli.main", *arguments]
        spec = ChildSpec(name, argv, self.folder / f"{name}.log", env=environment)
        return self.supervisor.start(lambda: Program(Child(spec)))

    def stop(self, program: Program) -> None:
        """End a program in its own way, so that a worker commits and leaves its group."""
        self.supervisor.stop(program)
