"""The changelog on real brokers: a source's records come back in order, and only from those who may write them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from infra.stack.apache_kafka import ApacheKafkaCluster
from streams.broker.changelog import Changelog
from streams.broker.chunks import TopicPartition
from streams.broker.emit import Emitter
from streams.broker.owner_writer import FencedWriter, MemberWriter, owner_writer
from streams.broker.record_columns import Record, Records
from streams.broker.topology import ensure_topics
from streams.errors import RetryLater

LIVE, SIMULATED, OTHER = (
    TopicPartition(*pair) for pair in (("clicks.raw", 1), ("clicks.simulated", 1), ("clicks.raw", 0))
)
T = TypeVar("T")
Found = dict[TopicPartition, list[Record]]
BROKERS = ["kafka", pytest.param("apache_kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.getfixturevalue(request.param)


async def member() -> bool:
    return True


async def stranger() -> bool:
    return False


def on_changelog(
    bootstrap: str,
    group: str,
    scene: Callable[[Changelog, Emitter], Awaitable[T]],
    is_member: Callable[[], Awaitable[bool]] = member,
) -> T:
    async def run() -> T:
        await ensure_topics(bootstrap, partitions=2, replication=1)
        emitter = Emitter(bootstrap)
        await emitter.start()
        changelog = Changelog(bootstrap, await owner_writer(bootstrap, group, emitter, is_member))
        try:
            await changelog.open({LIVE, SIMULATED, OTHER})
            return await scene(changelog, emitter)
        finally:
            await changelog.close({LIVE, SIMULATED, OTHER})
            await emitter.stop()

    return asyncio.run(run())


async def read(changelog: Changelog, positions: dict[TopicPartition, int]) -> Found:
    found: Found = {}

    async def apply(source: TopicPartition, records: Records) -> None:
        found.setdefault(source, []).extend(records.tolist())

    async with changelog.reader(positions) as reader:
        assert await reader.to_end(apply) == sum(map(len, found.values()))
        assert await reader.to_end(apply) == 0
        positions.update(reader.positions)
    return found


async def write(changelog: Changelog, source: TopicPartition, records: list[Record]) -> None:
    await changelog.write(source, changelog.pack(source, records, timestamp_ms=1))


def test_each_source_gets_its_own_records_in_the_order_written(kafka: str) -> None:
    first: list[Record] = [(b"m|c", b"1"), (b"", b"watermark"), (b"m|d", b"2")]
    then: list[Record] = [(b"m|c", None)]
    other: list[Record] = [(b"m|c", b"3")]

    async def scene(changelog: Changelog, _: Emitter) -> Found:
        for source, records in ((LIVE, first), (SIMULATED, other), (OTHER, other), (LIVE, then)):
            await write(changelog, source, records)
        return await read(changelog, {LIVE: 0, SIMULATED: 0})

    assert on_changelog(kafka, "order", scene) == {LIVE: first + then, SIMULATED: other}


def test_a_log_of_many_batches_comes_back_whole(broker: str) -> None:
    records: list[Record] = [(b"key %d" % i, bytes(1_000)) for i in range(3_000)]

    async def scene(changelog: Changelog, _: Emitter) -> Found:
        await write(changelog, LIVE, records)
        return await read(changelog, {LIVE: 0})

    assert on_changelog(broker, "whole", scene) == {LIVE: records}


def test_a_reader_goes_on_from_where_each_source_was_read_to(broker: str) -> None:
    async def scene(changelog: Changelog, _: Emitter) -> list[Found]:
        await write(changelog, LIVE, [(b"a", b"1")])
        positions = {LIVE: 0}
        await read(changelog, positions)
        await write(changelog, LIVE, [(b"a", b"2")])
        await write(changelog, SIMULATED, [(b"a", b"3")])
        return [await read(changelog, {LIVE: positions[LIVE]}), await read(changelog, positions)]

    later = {LIVE: [(b"a", b"2")]}
    assert on_changelog(broker, "tail", scene) == [later, later]


def test_an_empty_log_restores_nothing(kafka: str) -> None:
    async def scene(changelog: Changelog, _: Emitter) -> Found:
        return await read(changelog, {LIVE: 0, OTHER: 0})

    assert on_changelog(kafka, "empty", scene) == {}


@pytest.mark.kafka
def test_a_worker_whose_source_was_opened_by_another_one_can_write_nothing_any_more(apache_kafka: str) -> None:
    async def scene(newer: Changelog, emitter: Emitter) -> list[Record]:
        older_writer = await owner_writer(apache_kafka, "zombie", emitter, stranger)
        assert isinstance(older_writer, FencedWriter)
        older = Changelog(apache_kafka, older_writer)
        await older.open({LIVE})
        await write(older, LIVE, [(b"fenced", b"written before")])
        await newer.close({LIVE})
        await newer.open({LIVE})
        for _ in range(2):
            with pytest.raises(RetryLater, match=r"took clicks\.raw-1 over"):
                await write(older, LIVE, [(b"fenced", b"written by a zombie")])
        await write(newer, LIVE, [(b"fenced", b"written after")])
        await older.close({LIVE})
        return (await read(newer, {LIVE: 0}))[LIVE]

    records = on_changelog(apache_kafka, "zombie", scene)
    assert [value for key, value in records if key == b"fenced"] == [b"written before", b"written after"]


@pytest.mark.kafka
def test_who_takes_sources_over_while_the_broker_is_away_waits_for_it(kafka_jars: Path, tmp_path: Path) -> None:
    cluster = ApacheKafkaCluster(tmp_path / "kafka", kafka_jars, brokers=1)

    async def scene(changelog: Changelog, _: Emitter) -> Records:
        await write(changelog, LIVE, [(b"a", b"1")])
        await changelog.close({LIVE})
        # Whoever opens a source waits for its last transaction's marker, without which it is not read yet.
        await changelog.open({LIVE})
        await changelog.close({LIVE})
        cluster.kill(1)
        opening = asyncio.ensure_future(changelog.open({LIVE}))
        reading = asyncio.ensure_future(read(changelog, {LIVE: 0}))
        # Its start takes longer than both need to find nobody there.
        await asyncio.to_thread(cluster.restart, 1)
        await opening
        return (await reading)[LIVE]

    try:
        cluster.wait_ready()
        assert on_changelog(cluster.bootstrap, "patient", scene) == [(b"a", b"1")]
    finally:
        cluster.stop()


def test_where_the_broker_has_no_transactions_a_stranger_to_the_group_writes_nothing(kafka: str) -> None:
    async def scene(changelog: Changelog, emitter: Emitter) -> Found:
        assert isinstance(await owner_writer(kafka, "group", emitter, stranger), MemberWriter)
        with pytest.raises(RetryLater, match="given up by its group"):
            await write(changelog, LIVE, [(b"a", b"1")])
        return await read(changelog, {LIVE: 0})

    assert on_changelog(kafka, "group", scene, stranger) == {}
