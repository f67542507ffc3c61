"""The whole embedded stack over one data folder: broker, store, tables, topics and web pages."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.errors import FolderUnusableError
from infra.stack.broker import EmbeddedBroker
from infra.stack.migrate import migrate
from infra.stack.store import EmbeddedStore
from infra.stack.supervisor import Supervisor
from infra.stack.web import WebPages
from schemas.settings import Settings
from streams.broker.topology import ensure_topics


@dataclass(frozen=True)
class Ports:
    """Ports that were asked for; 0 takes a free one."""

    kafka: int = 0
    clickhouse: int = 0
    web: int = 0


@dataclass(frozen=True)
class Addresses:
    """Where everything answers: the content of the ready file. ``storefront`` is "" where no catalogue is set."""

    kafka: str
    clickhouse: str
    gateway: str
    dashboard: str
    storefront: str

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker or a command to this stack."""
        return {"SIMPERSONA_KAFKA": self.kafka, "SIMPERSONA_CLICKHOUSE": self.clickhouse}

    def write(self, ready_file: Path) -> None:
        """Write the ready file in one step, so that nobody reads half of it. Raises FolderUnusableError."""
        partial = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        try:
            ready_file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
            partial.replace(ready_file)
        except OSError as error:
            raise FolderUnusableError(
                f"The ready file {ready_file} cannot be written ({error.strerror}); choose another --ready-file."
            ) from error


def start_stack(
    supervisor: Supervisor,
    settings: Settings,
    ports: Ports | None = None,
    web_environment: Mapping[str, str] | None = None,
    report: Callable[[str], None] = lambda phase: None,
) -> Addresses:
    """Start everything under the supervisor and return the addresses once all of them answer.

    `report` is told of each phase. Store and artefacts in the folder are kept
    between runs, the broker's records are not. Raises PortInUseError, FolderUnusableError, ServiceFailedError,
    MigrationError, or KeyboardInterrupt when the supervisor is told to stop.
    """
    ports = ports or Ports()
    data_dir = supervisor.data_dir
    logs = data_dir / "logs"
    report("starting broker, store and web pages")
    broker = supervisor.start(lambda: EmbeddedBroker.start(logs / "broker.log", settings.broker_memory_mb, ports.kafka))
    store = supervisor.start(
        lambda: EmbeddedStore.start(
            data_dir / "clickhouse", logs / "store.log", settings.store_memory_mb, ports.clickhouse
        )
    )
    # The pages take the longest to load and do without broker and store until they are asked.
    environment = {
        "SIMPERSONA_KAFKA": broker.bootstrap,
        "SIMPERSONA_CLICKHOUSE": store.url(),
        **(web_environment or {}),
    }
    web = supervisor.start(lambda: WebPages.start(logs / "web.log", environment, ports.web))
    has_catalogue = settings.catalogue is not None or "SIMPERSONA_CATALOGUE" in environment
    broker.wait_ready()
    store.wait_ready()
    report("creating tables and topics")
    migrate(store.url())
    asyncio.run(ensure_topics(broker.bootstrap, settings.partitions, settings.replication))
    report("waiting for the web pages")
    web.wait_ready()
    return Addresses(
        kafka=broker.bootstrap,
        clickhouse=store.url(),
        gateway=f"{web.base}/collect",
        dashboard=f"{web.base}/",
        storefront=f"{web.base}/shop" if has_catalogue else "",
    )
