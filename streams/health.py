"""A worker's health page: ``/health`` for those who restart it, ``/metrics`` for Prometheus."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.broker.chunks import TopicPartition
from streams.metrics import Metrics

#: Restoring a large state takes its time; a worker that has not joined yet is called stuck only after so many times the
#: usual patience.
PATIENCE_WHILE_RESTORING = 10
#: Longest request line and headers we read.
_REQUEST_BYTES = 8_192
_REQUEST_TIMEOUT_S = 5.0

STARTING, OK, WAITING_FOR_STORE, NOT_PROGRESSING = "starting", "ok", "waiting for the store", "not progressing"


class Progress:
    """Since when some hop has had work before it and finished none of it.

    Each hop has a clock of its own: one that works must not hide another one that hangs.
    """

    def __init__(self) -> None:
        self._reach: dict[str, int] = {}
        self._since_ms: dict[str, int] = {}

    def note(self, hop: str, waiting: bool, reach: int, now_ms: int) -> None:
        """Note whether work waits for a hop and how far it has come (any number that changes with what it finishes)."""
        if not waiting or self._reach.get(hop) != reach:
            self._since_ms[hop] = now_ms
        self._reach[hop] = reach

    def quiet_ms(self, now_ms: int) -> int:
        """Return for how long the slowest hop has finished nothing although work waited; 0 before any note."""
        return now_ms - min(self._since_ms.values(), default=now_ms)


@dataclass(frozen=True, slots=True)
class Condition:
    """What the worker says about itself at one moment.

    joined           whether the group has given it an assignment, even an empty one, and its state is restored
    outstanding      chunks delivered and not yet committed
    lags             records the broker holds that were not fetched yet, of each owned partition; none during a
                     rebalance, or when there are more workers than work
    quiet_ms         time for which some hop has committed nothing although work waited for it
    store_away       whether a hop waits for its store
    stuck_after_ms   quiet for this long is stuck
    """

    joined: bool
    outstanding: int
    lags: Mapping[TopicPartition, int]
    quiet_ms: int
    store_away: bool
    stuck_after_ms: int

    @property
    def status(self) -> str:
        """One of the four words above."""
        if self.store_away:
            return WAITING_FOR_STORE
        patience_ms = self.stuck_after_ms if self.joined else self.stuck_after_ms * PATIENCE_WHILE_RESTORING
        if self.quiet_ms >= patience_ms:
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
                "partitions": len(condition.lags),
                "outstanding_chunks": condition.outstanding,
                "lag_records": sum(condition.lags.values()),
                "quiet_ms": condition.quiet_ms,
            }
            status = "200 OK" if condition.status == OK else "503 Service Unavailable"
            return _response(status, "application/json", json.dumps(body).encode())
        if path == "/metrics":
            self._measure(self._condition())
            return _response("200 OK", CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry))
        return _response("404 Not Found", "text/plain", b"This worker has /health and /metrics.\n")

    def _measure(self, condition: Condition) -> None:
        """Set what is known at the moment of the question, whether or not a hop is alive to say it."""
        self._metrics.progressing.set(condition.status != NOT_PROGRESSING)
        self._metrics.store_away.set(condition.store_away)
        self._metrics.quiet_seconds.set(condition.quiet_ms / 1000)
        self._metrics.lag.clear()
        for source, lag in condition.lags.items():
            self._metrics.lag.labels(*source).set(lag)


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
