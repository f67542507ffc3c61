"""The transport on a real broker: what a rebalance throws away comes again, what the group refuses is not committed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.group import LeaveGroupRequest

from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.app import StreamApp, build_app
from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.topology import ensure_topics
from streams.metrics import Metrics

ROUNDS = 5
DEADLINE_S = 60.0
#: An interval that no test lives to see the end of.
NEVER_MS = 3_600_000
SOURCE = TopicPartition(CLICKS_RAW, 0)


class Notebook:
    """A hop that notes the offsets it was given of one partition and never has anything to commit."""

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
            if chunk.source == SOURCE:
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
        settings = Settings(kafka=kafka, partitions=1, commit_interval_ms=NEVER_MS, commit_when_quiet_ms=NEVER_MS)
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


async def leave(bootstrap: str, app: StreamApp) -> None:
    """Take a worker out of its group behind its back, as a coordinator does that has not heard of it for too long."""
    coordinator = app.consumer._thread._consumer._coordinator
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        request = LeaveGroupRequest(app.conf.id, coordinator.member_id)
        response = await client.send(coordinator.coordinator_id, request)
        assert response.error_code == 0
    finally:
        await client.close()


def test_an_offset_that_the_group_refuses_does_not_count_as_committed(apache_kafka: str, tmp_path: Path) -> None:
    async def scene() -> None:
        await ensure_topics(apache_kafka, 1, 1)
        emitter = Emitter(apache_kafka)
        await emitter.start()
        # Commits only when the test asks for one.
        settings = Settings(
            kafka=apache_kafka,
            partitions=1,
            group="refused",
            commit_interval_ms=NEVER_MS,
            commit_when_quiet_ms=NEVER_MS,
            session_timeout_ms=60_000,
        )
        hop = Notebook()
        app = build_app(settings, [hop], Metrics(), tmp_path)
        await app.start()
        give_up = time.monotonic() + DEADLINE_S

        async def until(condition: Callable[[], bool], what: str) -> None:
            while not condition():
                assert time.monotonic() < give_up, f"{what} never came"
                await asyncio.sleep(0.01)

        try:
            await until(lambda: bool(app.owned) and app.caught_up(SOURCE), "the partition")
            for number in range(2):
                await emitter.send({SOURCE: packed([(b"shop|anna", b"click")], time.time_ns() // 1_000_000)})
                await emitter.flush()
                await until(lambda number=number: number in hop.offsets, f"record {number}")
                if number:
                    await leave(apache_kafka, app)
                assert await app.consumer.force_commit() is (number == 0)
                assert (app.committed(SOURCE) or 0) <= 1
            hop.offsets.clear()
            await until(lambda: 1 in hop.offsets, "the second record, once more,")
            assert hop.offsets == {1}
            assert await app.consumer.force_commit()
            assert app.committed(SOURCE) == 2
        finally:
            await app.stop()
            await emitter.stop()

    asyncio.run(scene())


def test_what_is_done_is_committed_as_soon_as_it_is_quiet(kafka: str, tmp_path: Path) -> None:
    async def scene() -> None:
        await ensure_topics(kafka, 1, 1)
        emitter = Emitter(kafka)
        await emitter.start()
        # The interval itself is over after the test.
        settings = Settings(kafka=kafka, partitions=1, commit_interval_ms=NEVER_MS, commit_when_quiet_ms=100)
        app = build_app(settings, [Notebook()], Metrics(), tmp_path)
        await app.start()
        give_up = time.monotonic() + DEADLINE_S
        try:
            for number in range(1, 3):
                await emitter.send({SOURCE: packed([(b"shop|anna", b"click")], time.time_ns() // 1_000_000)})
                await emitter.flush()
                while app.committed(SOURCE) != number:
                    assert time.monotonic() < give_up, f"{app.committed(SOURCE)} of {number} are committed"
                    await asyncio.sleep(0.01)
        finally:
            await app.stop()
            await emitter.stop()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("session_ms", "rebalance_ms", "heartbeat_s"),
    [(6_000, 10_000, 1.5), (45_000, 10_000, 2.5), (45_000, 60_000, 11.25)],
)
def test_heartbeats_are_frequent_enough_to_hear_of_a_rebalance_and_not_to_be_given_up(
    session_ms: int, rebalance_ms: int, heartbeat_s: float, tmp_path: Path
) -> None:
    settings = Settings(session_timeout_ms=session_ms, rebalance_timeout_ms=rebalance_ms)
    app = build_app(settings, [Notebook()], Metrics(), tmp_path)
    assert app.conf.broker_heartbeat_interval == heartbeat_s
