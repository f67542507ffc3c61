"""The changelog on the embedded broker: what is written for a partition comes back for it alone, in order."""

import asyncio

from streams.changelog import Changelog
from streams.chunks import TopicPartition
from streams.emit import Emitter, Record
from streams.topology import ensure_topics

LIVE, SIMULATED, OTHER = (
    TopicPartition(*pair) for pair in (("clicks.raw", 1), ("clicks.simulated", 1), ("clicks.raw", 0))
)

Records = list[tuple[bytes, bytes | None]]


def round_trip(
    bootstrap: str, written: list[tuple[TopicPartition, list[Record]]], sources: set[TopicPartition]
) -> dict[TopicPartition, Records]:
    async def run() -> dict[TopicPartition, Records]:
        await ensure_topics(bootstrap, partitions=2, replication=1)
        emitter = Emitter(bootstrap)
        await emitter.start()
        try:
            changelog = Changelog(bootstrap, emitter)
            for source, records in written:
                await changelog.write(source, changelog.pack(source, records, timestamp_ms=1))
            await emitter.flush()
            found: dict[TopicPartition, Records] = {}

            async def apply(source: TopicPartition, records: Records) -> None:
                found.setdefault(source, []).extend(records)

            assert await changelog.restore(sources, apply) == sum(map(len, found.values()))
            return found
        finally:
            await emitter.stop()

    return asyncio.run(run())


def test_each_source_gets_its_own_records_in_the_order_written(kafka: str) -> None:
    first: list[Record] = [(b"m|c", b"1"), (b"", b"watermark"), (b"m|d", b"2")]
    then: list[Record] = [(b"m|c", None)]
    other: list[Record] = [(b"m|c", b"3")]
    written = [(LIVE, first), (SIMULATED, other), (OTHER, other), (LIVE, then)]
    assert round_trip(kafka, written, {LIVE, SIMULATED}) == {LIVE: first + then, SIMULATED: other}


def test_a_log_of_many_batches_comes_back_whole(kafka: str) -> None:
    records: list[Record] = [(b"key %d" % i, bytes(1_000)) for i in range(3_000)]
    assert round_trip(kafka, [(LIVE, records)], {LIVE}) == {LIVE: records}


def test_an_empty_log_restores_nothing(kafka: str) -> None:
    assert round_trip(kafka, [], {LIVE, OTHER}) == {}
