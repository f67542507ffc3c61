"""A worker's health page: ``/health`` for those who restart it, ``/metrics`` for Prometheus."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.metrics import Metrics

#: A worker with work before it that has committed nothing for this long is stuck.
STUCK_AFTER_MS = 60_000
#: Longest request line and headers we read.
_REQUEST_BYTES = 8_192
_REQUEST_TIMEOUT_S = 5.0

STARTING, OK, WAITING_FOR_STORE, NOT_PROGRESSING = "starting", "ok", "waiting for the store", "not progressing"


@dataclass(frozen=True, slots=True)
class Condition:
    """What the worker says about itself at one moment.

    partitions       owned ones; 0 during a rebalance, or when there are more workers than work
    joined           whether the group has given it an assignment, even an empty one
    outstanding      chunks delivered and not yet committed
    lag              records the broker holds that were not fetched yet
    quiet_ms         time since offsets were last committed or there was last nothing to do
    store_away       whether a hop waits for its store
    """

    partitions: int
    joined: bool
    outstanding: int
    lag: int
    quiet_ms: int
    store_away: bool

    @property
    def status(self) -> str:
        """One of the four words above."""
        if self.store_away:
            return WAITING_FOR_STORE
        if (self.outstanding or self.lag) and self.quiet_ms >= STUCK_AFTER_MS:
            return NOT_PROGRESSING
        return OK if self.joined else STARTING


class HealthPage:
    """A small HTTP server on the worker's own loop: if the loop hangs, it does not answer, which says the same."""

    def __init__(self, condition: Callable[[], Condition], metrics: Metrics) -> None:
        self._condition = condition
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen at ``port`` (0 picks one) of all IPv4 addresses; return the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._answer, "0.0.0.0", port, limit=_REQUEST_BYTES)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_TIMEOUT_S)
            words = request.split(b" ", 2)
            writer.write(self._page(words[1].decode("latin-1") if len(words) > 1 else "/"))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that does not speak HTTP, or left; there is nobody to tell
        finally:
            writer.close()

    def _page(self, path: str) -> bytes:
        if path == "/health":
            condition = self._condition()
            body = {
                "status": condition.status,
                "partitions": condition.partitions,
                "outstanding_chunks": condition.outstanding,
                "lag_records": condition.lag,
                "quiet_ms": condition.quiet_ms,
            }
            status = "200 OK" if condition.status == OK else "503 Service Unavailable"
            return _response(status, "application/json", json.dumps(body).encode())
        if path == "/metrics":
            self._metrics.progressing.set(self._condition().status != NOT_PROGRESSING)
            return _response("200 OK", CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry))
        return _response("404 Not Found", "text/plain", b"This worker has /health and /metrics.\n")


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
