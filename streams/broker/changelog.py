"""Session state as records of a compacted topic: written at every commit, read back when a partition is assigned.

Not a Faust table: those write one message per change (76 µs) and need 39 s to read back what takes one second here.
A record lies in the partition of the same number as its source's; its key is ``topic|partition|`` and the state's key.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as KafkaPartition

from schemas.slices import Slices
from schemas.topics import SESSIONS_CHANGELOG
from streams.broker.chunks import TopicPartition
from streams.broker.emit import patiently
from streams.broker.fetched import Fetched, next_columns
from streams.broker.owner_writer import OwnerWriter
from streams.broker.record_batch import RecordBatch
from streams.broker.record_columns import Record, Records

#: Records read at once.
READ_RECORDS = 20_000
READ_BYTES = 8 * 1024 * 1024
READ_TIMEOUT_S = 1.0

#: What was read: records by changelog partition.
Read = dict[KafkaPartition, Fetched]
#: Applies records of one source, in log order.
Apply = Callable[[TopicPartition, Records], Awaitable[None]]


def prefix_of(source: TopicPartition) -> bytes:
    """Return what the keys of a source partition's records begin with."""
    return f"{source.topic}|{source.partition}|".encode()


class Changelog:
    """The topic ``sessions.changelog`` as the workers use it."""

    def __init__(self, bootstrap: str, writer: OwnerWriter) -> None:
        self._bootstrap = bootstrap
        self._writer = writer

    async def open(self, sources: AbstractSet[TopicPartition]) -> None:
        """Become the writer of these sources; called before ``restore``, so that nothing is written behind its back."""
        await self._writer.open(sources)

    async def close(self, sources: AbstractSet[TopicPartition]) -> None:
        """Give these sources up."""
        await self._writer.close(sources)

    def pack(self, source: TopicPartition, records: Records | Sequence[Record], timestamp_ms: int) -> list[RecordBatch]:
        """Return batches of a snapshot's records; may run in the executor."""
        return self._writer.pack(records, timestamp_ms, prefix_of(source))

    async def write(self, source: TopicPartition, batches: Sequence[object]) -> None:
        """Write a snapshot whole or not at all; durable on return. Raises as ``OwnerWriter.write``."""
        if batches:
            await self._writer.write(source, {TopicPartition(SESSIONS_CHANGELOG, source.partition): batches})

    def reader(self, positions: Mapping[TopicPartition, int]) -> "ChangelogReader":
        """Return a reader of some sources' records, each from a changelog offset on (0: from the beginning)."""
        return ChangelogReader(self._bootstrap, positions)


class ChangelogReader:
    """Reads the records of some sources; an asynchronous context. Committed snapshots only.

    ``positions`` says per source up to which changelog offset its records have been applied.
    """

    def __init__(self, bootstrap: str, positions: Mapping[TopicPartition, int]) -> None:
        self.positions = dict(positions)
        self._bootstrap = bootstrap
        self._logs = sorted({_log_of(source) for source in positions})
        self._ends: dict[KafkaPartition, int] = {}
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A snapshot that was not committed belongs to a worker that died or was shut out.
            isolation_level="read_committed",
            max_partition_fetch_bytes=READ_BYTES,
        )

    async def __aenter__(self) -> "ChangelogReader":
        """Connect. Raises BrokerError when no broker answers."""
        try:
            await patiently(self._bootstrap, self._reader.start)
            # Before anything is fetched: behind a fetch that waits, the broker would let this question wait.
            self._ends = await patiently(self._bootstrap, lambda: self._reader.end_offsets(self._logs))
        except BaseException:
            # Another rebalance may have cancelled it; nobody will leave what was not entered.
            await self._reader.stop()
            raise
        self._reader.assign(self._logs)
        for log in self._logs:
            self._reader.seek(log, min(offset for source, offset in self.positions.items() if _log_of(source) == log))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._reader.stop()

    async def fetch(self) -> Read:
        """Return what comes next, as soon as there is something, or nothing after a second."""
        return await next_columns(
            self._reader._fetcher, lambda: self._reader.getmany(max_records=READ_RECORDS), READ_TIMEOUT_S
        )

    async def apply(self, read: Read, apply: Apply) -> int:
        """Apply what was fetched, move ``positions`` behind it and return the number of records applied."""
        applied = 0
        for log, fetched in read.items():
            for source, position in self.positions.items():
                if _log_of(source) == log:
                    found = _of_source(fetched, source, position)
                    if len(found):
                        await apply(source, found)
                    applied += len(found)
                    self.positions[source] = fetched.offset + 1
        return applied

    async def to_end(self, apply: Apply) -> int:
        """Apply everything up to where the logs ended when this was opened; return the number of records applied."""
        applied = 0
        while any([await self._reader.position(log) < self._ends[log] for log in self._logs]):
            applied += await self.apply(await self.fetch(), apply)
        return applied


def _log_of(source: TopicPartition) -> KafkaPartition:
    return KafkaPartition(SESSIONS_CHANGELOG, source.partition)


def _of_source(fetched: Fetched, source: TopicPartition, position: int) -> Records:
    """Return a source's records from a changelog offset on, their keys without its prefix."""
    prefix = np.frombuffer(prefix_of(source), np.uint8)
    keys = fetched.records.keys
    rows = np.flatnonzero((keys.lengths >= len(prefix)) & (fetched.offsets >= position))
    begins = keys.data[keys.starts[rows, None] + np.arange(len(prefix))]
    rows = rows[(begins == prefix).all(axis=1)]
    rest = Slices(keys.data, keys.starts[rows] + len(prefix), keys.lengths[rows] - len(prefix))
    return Records(rest, fetched.records.values.at(rows))
