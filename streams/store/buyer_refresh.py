"""When buyers' types are refreshed: beside the stream, never in its way, and seldom where it takes long."""

import asyncio
import logging

from streams.errors import RetryLater
from streams.store import buyers
from streams.store.history import History
from streams.store.sink import Sink

logger = logging.getLogger(__name__)


class BuyerRefresh:
    """Runs ``Sink.refresh_buyers`` in a thread of its own whenever it is due; one at a time.

    The store does the work, for seconds where there are many buyers, so nothing waits for it: it is idempotent, goes on
    from what the store holds and may be cut off at any moment.
    """

    def __init__(self, sink: Sink, history: History) -> None:
        self._sink = sink
        self._history = history
        self._since_ms: int | None = None
        self._interval_ms = buyers.INTERVAL_MS
        self._due_ms = 0
        self._began_ms = 0
        self._running: asyncio.Task[int] | None = None

    def tick(self, now_ms: int) -> None:
        """Start a refresh when one is due, settle one that has ended. Raises StoreError when the store refused it."""
        if self._running is not None:
            if not self._running.done():
                return
            ended, self._running = self._running, None
            self._settle(ended, now_ms)
        if now_ms >= self._due_ms:
            self._began_ms = now_ms
            self._running = asyncio.ensure_future(asyncio.to_thread(self._refresh))

    async def wait(self) -> None:
        """Wait until no refresh is running; its outcome is settled by the next ``tick``."""
        if self._running is not None:
            await asyncio.wait([self._running])

    def _settle(self, ended: "asyncio.Task[int]", now_ms: int) -> None:
        try:
            sessions = ended.result()
        except RetryLater as error:
            logger.warning("Buyers' types are not refreshed for now: %s", error)
            self._since_ms = None
            self._due_ms = now_ms + buyers.LONGEST_INTERVAL_MS
            return
        quiet = min(2 * self._interval_ms, buyers.LONGEST_INTERVAL_MS)
        self._interval_ms = buyers.INTERVAL_MS if sessions else quiet
        self._due_ms = now_ms + max(self._interval_ms, buyers.TIME_SHARE * (now_ms - self._began_ms))

    def _refresh(self) -> int:
        if self._since_ms is None:
            self._since_ms = max(0, self._history.newest_buyer_ms() - buyers.OVERLAP_MS)
        started_ms, sessions = self._sink.refresh_buyers(self._since_ms)
        self._since_ms = started_ms - buyers.OVERLAP_MS
        return sessions
