"""The transport on a real broker: a fetch that is thrown away during a rebalance comes again."""

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.app import StreamApp, build_app
from streams.chunks import Chunk, TopicPartition
from streams.emit import Emitter
from streams.metrics import Metrics
from streams.record_batch import packed
from streams.topology import ensure_topics

ROUNDS = 5
DEADLINE_S = 60.0
SOURCE = TopicPartition(CLICKS_RAW, 0)


class Notebook:
    """A hop that notes the offsets it was given and never has anything to commit."""

    topics: Sequence[str] = (CLICKS_RAW,)

    def __init__(self) -> None:
        self.offsets: set[int] = set()

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Nothing to restore."""

    async def stand_by(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Nothing to prepare."""

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Nothing to drop."""

    async def process(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self.offsets.update(chunk.offsets.tolist())

    async def commit(self) -> None:
        """Nothing to commit."""

    async def tick(self, now_ms: int) -> None:
        """Nothing is due by the clock."""


def fetches(app: StreamApp) -> asyncio.Event:
    """Return an event that is set while the consumer waits for records."""
    waiting, wait = asyncio.Event(), app.consumer._wait_next_records

    async def noted(timeout: float) -> Any:
        waiting.set()
        try:
            return await wait(timeout)
        finally:
            waiting.clear()

    app.consumer._wait_next_records = noted
    return waiting


def test_what_was_fetched_during_a_rebalance_comes_again_although_nothing_is_committed(
    kafka: str, tmp_path: Path
) -> None:
    async def scene() -> set[int]:
        await ensure_topics(kafka, 1, 1)
        emitter = Emitter(kafka)
        await emitter.start()
        hop = Notebook()
        # No commit within the test: every partition is one that has no committed offset.
        settings = Settings(kafka=kafka, partitions=1, commit_interval_ms=3_600_000)
        app = build_app(settings, [hop], Metrics(), tmp_path)
        await app.start()
        waiting = fetches(app)
        give_up = time.monotonic() + DEADLINE_S
        try:
            for number in range(ROUNDS):
                while not app.caught_up(SOURCE) or len(hop.offsets) < number or not waiting.is_set():
                    assert time.monotonic() < give_up, f"{hop.offsets} of {number} came"
                    await asyncio.sleep(0.01)
                # What a rebalance does while a fetch waits for records: those that come belong to no epoch any more.
                app.ledger.revoke()
                await emitter.send({SOURCE: packed([(b"shop|anna", b"click")], time.time_ns() // 1_000_000)})
                await emitter.flush()
            while len(hop.offsets) < ROUNDS:
                assert time.monotonic() < give_up, f"{hop.offsets} of {ROUNDS} came"
                await asyncio.sleep(0.05)
        finally:
            await app.stop()
            await emitter.stop()
        return hop.offsets

    assert asyncio.run(scene()) == set(range(ROUNDS))
