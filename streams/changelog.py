"""Session state as records of a compacted topic: written at every commit, read back when a partition is assigned.

Not a Faust table: those write one message per change (76 µs) and need 39 s to read back what takes one second here.
A record lies in the partition of the same number as its source's; its key is ``topic|partition|`` and the state's key.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as KafkaPartition

from schemas.topics import SESSIONS_CHANGELOG
from streams.chunks import TopicPartition
from streams.emit import patiently
from streams.owner_writer import OwnerWriter
from streams.record_batch import RecordBatch
from streams.record_columns import Record, Records

#: Records read at once.
READ_RECORDS = 20_000
READ_BYTES = 8 * 1024 * 1024
READ_TIMEOUT_MS = 1_000

#: What aiokafka hands out: records by changelog partition.
Fetched = dict[KafkaPartition, list[Any]]
#: Applies records of one source, in log order.
Apply = Callable[[TopicPartition, list[tuple[bytes, bytes | None]]], Awaitable[None]]


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
        self._source_of_prefix = {prefix_of(source): source for source in positions}
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

    async def fetch(self) -> Fetched:
        """Return what comes next, as soon as there is something, or nothing after a second."""
        fetched: Fetched = await self._reader.getmany(timeout_ms=READ_TIMEOUT_MS, max_records=READ_RECORDS)
        return fetched

    async def apply(self, fetched: Fetched, apply: Apply) -> int:
        """Apply what was fetched, move ``positions`` behind it and return the number of records applied."""
        applied = 0
        for log, records in fetched.items():
            of_source: dict[TopicPartition, list[tuple[bytes, bytes | None]]] = {}
            for record in records:
                prefix, rest = _split(record.key)
                source = self._source_of_prefix.get(prefix)
                if source is not None and record.offset >= self.positions[source]:
                    of_source.setdefault(source, []).append((rest, record.value))
            for source, found in of_source.items():
                await apply(source, found)
                applied += len(found)
            for source in self.positions:
                if _log_of(source) == log:
                    self.positions[source] = records[-1].offset + 1
        return applied

    async def to_end(self, apply: Apply) -> int:
        """Apply everything up to where the logs ended when this was opened; return the number of records applied."""
        applied = 0
        while any([await self._reader.position(log) < self._ends[log] for log in self._logs]):
            applied += await self.apply(await self.fetch(), apply)
        return applied


def _log_of(source: TopicPartition) -> KafkaPartition:
    return KafkaPartition(SESSIONS_CHANGELOG, source.partition)


def _split(key: bytes) -> tuple[bytes, bytes]:
    """Split a record's key into its source's prefix and the state's key (which may itself hold the separator)."""
    end = key.index(b"|", key.index(b"|") + 1) + 1
    return key[:end], key[end:]
