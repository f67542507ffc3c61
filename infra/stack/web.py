"""The web pages (dashboard, gateway, storefront) as a supervised process."""

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from infra.stack.child import Child, ChildSpec
from infra.stack.ports import LOOPBACK, answers, claim_port

READY_WITHIN_S = 60.0


class WebPages:
    """A running web process on the loopback address."""

    def __init__(self, child: Child, port: int) -> None:
        """Hold a started process; use `start`."""
        self.child = child
        self.base = f"http://{LOOPBACK}:{port}"
        self._port = port

    @classmethod
    def start(cls, log: Path, environment: Mapping[str, str], port: int = 0) -> "WebPages":
        """Start the pages on the port (0: a free one) without waiting; `environment` names broker and store.

        Raises PortInUseError.
        """
        port = claim_port(port, "--web-port")
        argv = [sys.executable, "-m", "infra.web", "--port", str(port)]
        return cls(Child(ChildSpec("web pages", argv, log, env=environment)), port)

    def wait_ready(self) -> None:
        """Return once /health answers. Raises ServiceFailedError when it does not."""
        self.child.wait_ready(self._answers_health, READY_WITHIN_S)

    def _answers_health(self) -> bool:
        if not answers(self._port):
            return False
        try:
            with urlopen(f"{self.base}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False
