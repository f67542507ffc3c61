"""The embedded store: ClickHouse's engine (chDB) in one process of its own, answered over HTTP as a server would.

Its folder is kept between runs and locked while it runs; the lock goes with the process.
"""

import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from infra.stack.child import Child, ChildSpec
from infra.stack.ports import LOOPBACK, answers, claim_port

READY_WITHIN_S = 120.0
DATABASE = "simpersona"


class EmbeddedStore:
    """A running store on the loopback address."""

    def __init__(self, child: Child, port: int) -> None:
        """Hold a started store; use `start`."""
        self.child = child
        self._port = port

    @classmethod
    def start(cls, folder: Path, log: Path, memory_mb: int, port: int = 0) -> "EmbeddedStore":
        """Start a store over the folder on the port (0: a free one) without waiting. Raises PortInUseError."""
        port = claim_port(port, "--clickhouse-port")
        argv = [sys.executable, "-m", "infra.stack.store_server", "--folder", str(folder), "--port", str(port)]
        spec = ChildSpec("embedded store", [*argv, "--memory-mb", str(memory_mb)], log, env={"TZ": "UTC"})
        return cls(Child(spec), port)

    def url(self, database: str = DATABASE) -> str:
        """Return its address with a database, as SIMPERSONA_CLICKHOUSE takes it."""
        return f"http://default@{LOOPBACK}:{self._port}/{database}"

    def wait_ready(self) -> None:
        """Return once it answers. Raises ServiceFailedError when it does not."""
        self.child.wait_ready(self._answers_ping, READY_WITHIN_S)

    def stop(self) -> None:
        """End it; its tables stay in the folder."""
        self.child.stop()

    def _answers_ping(self) -> bool:
        if not answers(self._port):
            return False
        try:
            with urlopen(f"http://{LOOPBACK}:{self._port}/ping", timeout=5) as reply:
                return bool(reply.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False
