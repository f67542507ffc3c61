"""What a fetch brought, in columns: record batches read by one compiled loop each instead of record by record.

aiokafka makes an object of every record, which a chunk would only take apart again: a microsecond each. What may be
read (checksums, aborted transactions, control batches, where the next fetch begins) stays aiokafka's business: its
reader goes over the batches as ever, and each batch yields one record that stands for all of its own.
Source: message format version 2, https://kafka.apache.org/documentation/#recordbatch
"""

import asyncio
import struct
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numba as nb
import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from schemas.events import I64, U8
from schemas.slices import NULL, Slices
from streams.broker.record_columns import Records

T = TypeVar("T")

#: Length of a batch behind its first two fields, the base offset and that length itself.
_LENGTH = struct.Struct(">q i")
_HEAD = struct.Struct(">qiibIhiqqqhii")
_MAGIC = 2
_LOG_APPEND_TIME = 0x08
_CODEC = 0x07
_DECODERS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """``n`` records of one partition in offset order.

    offsets, timestamps_ms  (n,) int64; keys and values lie in one buffer, in the order of the records
    """

    records: Records
    offsets: I64
    timestamps_ms: I64

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def offset(self) -> int:
        """The last record's offset: what aiokafka takes a batch for."""
        return int(self.offsets[-1])

    def part(self, first: int, end: int) -> "Fetched":
        """Return the records ``first <= row < end``, on no more of the buffer than they take."""
        rows = slice(first, end)
        keys, values = self.records.keys.at(rows), self.records.values.at(rows)
        low = int(keys.starts[0]) if len(keys) else 0
        high = int(values.starts[-1] + max(values.lengths[-1], 0)) if len(keys) else 0
        return Fetched(_on(keys.data[low:high], keys, values, -low), self.offsets[rows], self.timestamps_ms[rows])

    @staticmethod
    def joined(parts: Sequence["Fetched"]) -> "Fetched":
        """Return several batches' records, one after another, again on one buffer."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Fetched(Records.of([]), np.zeros(0, np.int64), np.zeros(0, np.int64))
        keys = Slices.joined([part.records.keys for part in parts])
        sizes = np.array([len(part.records.values.data) for part in parts])
        starts = [
            part.records.values.starts + shift for part, shift in zip(parts, np.cumsum(sizes) - sizes, strict=True)
        ]
        lengths = np.concatenate([part.records.values.lengths for part in parts])
        return Fetched(
            Records(keys, Slices(keys.data, np.concatenate(starts), lengths)),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.timestamps_ms for part in parts]),
        )


def _on(data: U8, keys: Slices, values: Slices, shift: int) -> Records:
    return Records(Slices(data, keys.starts + shift, keys.lengths), Slices(data, values.starts + shift, values.lengths))


class RawRecords:
    """aiokafka's ``MemoryRecords`` that can also hand out whole batches; it does so once ``columns`` is set."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._batches = MemoryRecords(data)
        self._at = 0
        self.columns = False

    def size_in_bytes(self) -> int:
        """Return the size of what was fetched."""
        return int(self._batches.size_in_bytes())

    def has_next(self) -> bool:
        """Say whether there is another batch."""
        return bool(self._batches.has_next())

    def next_batch(self) -> Any:
        """Return the next batch, None behind the last one."""
        batch, first = self._batches.next_batch(), self._at
        if batch is None or not self.columns:
            return batch
        self._at += _LENGTH.size + _LENGTH.unpack_from(self._data, first)[1]
        return _WholeBatch(batch, memoryview(self._data)[first : self._at])


class _WholeBatch:
    """One of aiokafka's batches, which yields all its records as one."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        columns = read_batch(self._data)
        if len(columns):
            yield columns


# The one place where a fetched buffer passes by; nothing changes for readers that do not ask for columns.
fetcher.MemoryRecords = RawRecords


def in_columns(waiting: fetcher.Fetcher) -> None:
    """Have the fetches that wait in an aiokafka fetcher be handed out as ``Fetched``."""
    for result in waiting._records.values():
        if isinstance(result, FetchResult) and result.has_more() and not hasattr(result, "rest"):
            partition_records = result._partition_records
            partition_records._records.columns = True
            partition_records._consumer_record = _as_it_is
            result.rest = None
            # Weakly: a fetch that held on to itself would keep its megabytes until garbage is collected.
            result.getall = partial(_getall, weakref.ref(result))


async def next_columns(waiting: fetcher.Fetcher, fetch: Callable[[], Awaitable[T]], timeout_s: float | None) -> T:
    """Return what ``fetch`` hands out of a fetcher without waiting, in columns; else what it does after an arrival.

    An empty answer when nothing arrives in time, or without a time at once.
    """
    in_columns(waiting)
    found = await fetch()
    if not found and timeout_s and not waiting._closed:
        arrival = waiting._create_fetch_waiter()
        try:
            arrived, _ = await asyncio.wait([arrival], timeout=timeout_s)
        finally:
            arrival.cancel()
        if arrived:
            in_columns(waiting)
            found = await fetch()
    return found


def _as_it_is(_: Any, record: Any) -> Any:
    return record


def _getall(fetch: Callable[[], Any], max_records: int | None = None) -> Fetched | Sequence[Any]:
    """Do for ``Fetched`` what ``FetchResult.getall`` does for a list of records."""
    result = fetch()
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return ()
    source = result._partition_records
    if result.rest is None:
        begins = source.next_fetch_offset
        try:
            whole = Fetched.joined(list(source))
        except BaseException:
            # Nothing of it was handed out: it is all fetched again.
            source.next_fetch_offset = begins
            raise
        result.ends = source.next_fetch_offset
        # A batch is sent whole, although its first records may have been read before.
        result.rest = whole.part(int(np.searchsorted(whole.offsets, begins)), len(whole))
    rest: Fetched = result.rest
    count = len(rest) if max_records is None else min(max_records, len(rest))
    taken, result.rest = rest.part(0, count), rest.part(count, len(rest))
    source.next_fetch_offset = int(result.rest.offsets[0]) if len(result.rest) else result.ends
    result._update_position()
    if not len(result.rest):
        result._partition_records = result.rest = None
    return taken


def read_batch(data: memoryview) -> Fetched:
    """Return the records of a batch as it lies in Kafka's log. Raises CorruptRecordException when it cannot be one."""
    first, _, _, magic, _, attributes, _, first_ms, last_ms, _, _, _, count = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise CorruptRecordException(f"Record batch of format {magic}; Apache Kafka 4 has only format {_MAGIC}.")
    body = data[_HEAD.size :]
    if attributes & _CODEC:
        body = _DECODERS[attributes & _CODEC](bytes(body))
    buffer = np.frombuffer(body, np.uint8)
    table = np.empty((6, count), np.int64)
    if _read(buffer, *table) != len(buffer):
        raise CorruptRecordException("A record batch's records do not fill it.")
    deltas_ms, deltas, keys, key_lengths, values, value_lengths = table
    timestamps_ms = np.full(count, last_ms) if attributes & _LOG_APPEND_TIME else first_ms + deltas_ms
    return Fetched(
        Records(Slices(buffer, keys, key_lengths), Slices(buffer, values, value_lengths)), first + deltas, timestamps_ms
    )


@nb.njit(cache=True, nogil=True)
def _varint(data: U8, pos: int) -> tuple[np.int64, int]:
    """Return a zigzag varint and the place behind it; a place behind the end when there is none."""
    value, shift = np.uint64(0), np.uint64(0)
    while pos < len(data) and shift < np.uint64(64):
        byte = np.uint64(data[pos])
        value |= (byte & np.uint64(0x7F)) << shift
        pos += 1
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), pos
        shift += np.uint64(7)
    return np.int64(0), len(data) + 1


@nb.njit(cache=True, nogil=True)
def _read(data, deltas_ms, deltas, keys, key_lengths, values, value_lengths):  # type: ignore[no-untyped-def]
    """Fill the columns and return the place behind the last record; -1 when a length leads out of its record."""
    pos = 0
    for row in range(len(deltas)):
        size, pos = _varint(data, pos)
        end = pos + size
        if size < 0 or end > len(data):
            return -1
        deltas_ms[row], pos = _varint(data, pos + 1)  # behind the attributes, which are not used
        deltas[row], pos = _varint(data, pos)
        key_lengths[row], keys[row] = _varint(data, pos)
        pos = keys[row] + max(key_lengths[row], 0)
        if key_lengths[row] < NULL or pos > end:
            return -1
        value_lengths[row], values[row] = _varint(data, pos)
        pos = values[row] + max(value_lengths[row], 0)
        if value_lengths[row] < NULL or pos > end:
            return -1
        pos = end  # headers are not used
    return pos
