"""Drives one hop: one call at a time, acknowledgement only after the hop's commit, pause while a store is away."""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from streams.broker.chunks import TopicPartition
from streams.broker.ledger import Entry, OffsetLedger
from streams.broker.transport import Delivery
from streams.errors import RetryLater
from streams.hops.hop import Hop
from streams.metrics import Metrics

logger = logging.getLogger(__name__)

#: Records a hop may have taken in without a commit; the next ones wait for it, so memory stays bounded.
MAX_UNCOMMITTED = 300_000


class HopDriver:
    """Feeds chunks, checkpoints and ticks to one hop.

    ``fail`` makes the worker stop with an exception; ``clock_ms`` is the wall clock in milliseconds UTC.
    """

    def __init__(
        self,
        hop: Hop,
        ledger: OffsetLedger,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.hop = hop
        self.name = type(hop).__name__
        self._ledger = ledger
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._fail = fail
        #: After a failure the hop's memory may be half changed: nothing more is done with it, least of all a commit.
        self._failed = False
        self._lock = asyncio.Lock()
        #: Held from a commit's beginning until it is durable; always taken before the other lock.
        self._committing = asyncio.Lock()
        #: Set while the hop's state is restored and its store takes writes.
        self._flowing = asyncio.Event()
        self._restored = False
        self._held = False
        self._processed: list[Entry] = []
        self._uncommitted = 0
        self._retry_at_ms = 0
        self._owned: AbstractSet[TopicPartition] = frozenset()

    @property
    def waiting_for_store(self) -> bool:
        """Whether the hop's last commit asked to be tried again later."""
        return self._retry_at_ms > 0

    @property
    def busy(self) -> bool:
        """Whether the hop is at work at this moment."""
        return self._lock.locked()

    async def process(self, delivery: Delivery) -> None:
        """Give what was fetched to the hop, once its state is restored and its store takes writes."""
        pause_s: float | None = 0.0
        while pause_s is not None:
            await asyncio.sleep(pause_s)
            await self._flowing.wait()
            # Shielded, so that an agent being stopped never leaves chunks half applied.
            pause_s = await asyncio.shield(asyncio.ensure_future(self._process(delivery)))
        if self._uncommitted >= MAX_UNCOMMITTED:
            await asyncio.shield(asyncio.ensure_future(self.checkpoint()))

    async def _process(self, delivery: Delivery) -> float | None:
        """Return how long to wait before the chunks are given again, None when they need nothing more."""
        async with self._lock:
            # Some may have been revoked or fetched again while they waited.
            parts = [(chunk, entry) for chunk, entry in delivery.parts if entry.live]
            if self._failed or not parts:
                return None
            try:
                with self._metrics.process_seconds.labels(self.name).time():
                    await self.hop.process([chunk for chunk, _ in parts])
            except RetryLater as error:
                logger.warning("%s Trying again in %.1f s.", error, error.retry_after_s)
                return error.retry_after_s
            except Exception as error:
                self._give_up(error)
                return None
            self._processed += [entry for _, entry in parts]
            records = sum(len(chunk) for chunk, _ in parts)
            self._uncommitted += records
            for chunk, _ in parts:
                self._metrics.records.labels(chunk.topic).inc(len(chunk))
            self._metrics.chunk_records.labels(self.name).observe(records)
            return None

    async def checkpoint(self) -> None:
        """Commit the hop and acknowledge what it had processed; nothing is acknowledged when it cannot.

        While the commit becomes durable the hop goes on; what it processes then is left to the next.
        """
        taken: list[Entry] = []
        async with self._committing:
            try:
                with self._metrics.commit_seconds.labels(self.name).time():
                    async with self._lock:
                        if self._failed or not self._restored or self._clock_ms() < self._retry_at_ms:
                            return
                        taken, self._processed, self._uncommitted = self._processed, [], 0
                        durable = await self.hop.commit()
                    if durable is not None:
                        await durable
            except RetryLater as error:
                logger.warning("%s Trying again in %.1f s.", error, error.retry_after_s)
                self._processed = taken + self._processed
                self._flowing.clear()
                self._retry_at_ms = self._clock_ms() + int(error.retry_after_s * 1000)
                return
            except Exception as error:
                self._give_up(error)
                return
            self._retry_at_ms = 0
            if not self._held:
                self._flowing.set()
            for entry in taken:
                self._ledger.ack(entry)
            if taken:
                self._metrics.chunks_acked.inc(len(taken))

    def _give_up(self, error: BaseException) -> None:
        self._failed = True
        self._fail(error)

    async def tick(self) -> None:
        """Let the hop do what is due by the clock, unless it waits for a store."""
        async with self._lock:
            if self._failed or self.waiting_for_store or not self._restored:
                return
            now_ms = self._clock_ms()
            try:
                await self.hop.tick(now_ms)
            except RetryLater as error:
                logger.warning("%s", error)
            except Exception as error:
                self._give_up(error)

    async def hold(self) -> None:
        """Let nothing more in and wait for the chunk in hand, so that the checkpoint that follows leaves nothing over.

        Called before the last checkpoint of a generation and of a worker that stops.
        """
        self._held = True
        self._flowing.clear()
        async with self._lock:
            pass

    async def suspend(self) -> None:
        """End a generation; called after the last checkpoint of a generation, whether or not that succeeded.

        State that was restored in full and is wholly committed stays for ``assign`` to decide about, the rest is
        dropped here.
        """
        async with self._committing, self._lock:
            whole = self._restored and not self._processed and not self._retry_at_ms and not self._failed
            self._processed.clear()
            self._uncommitted = 0
            self._retry_at_ms = 0
            self._restored = False
            self._flowing.clear()
            if not whole:
                await self._drop(self._owned)

    async def assign(
        self, partitions: AbstractSet[TopicPartition], standbys: AbstractSet[TopicPartition], keep: bool
    ) -> None:
        """Restore the state of the partitions of this hop's topics among those now owned; chunks wait for it.

        State is kept for partitions that stay if ``keep``: that is, if nobody else can have owned them in between.
        ``standbys`` are partitions that this worker should be ready to take over. May be cancelled by another
        rebalance; ``suspend`` then drops what was restored so far.
        """
        async with self._committing, self._lock:
            owned = {source for source in partitions if source.topic in self.hop.topics}
            await self._drop(self._owned - owned if keep else self._owned)
            gained, self._owned = owned - self._owned, owned
            if gained:
                await self.hop.assigned(gained)
            await self.hop.stand_by({source for source in standbys if source.topic in self.hop.topics})
            self._restored, self._held = True, False
            self._flowing.set()

    async def end(self) -> None:
        """Drop all state; called once, after the last checkpoint of a worker that stops."""
        await self.suspend()
        async with self._committing, self._lock:
            await self._drop(self._owned)

    async def _drop(self, sources: AbstractSet[TopicPartition]) -> None:
        self._owned = self._owned - sources
        if sources:
            await self.hop.revoked(sources)
