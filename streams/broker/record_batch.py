"""Kafka's record batches, written from columns in one go instead of record by record.

aiokafka's own builder takes a call per record, more than a microsecond each, and compresses on the event loop; here one
compiled loop writes a whole batch, and compression happens where the batch is made. Snappy it is: aiokafka asks lz4 for
its level 9, at 15 to 18 ns a byte, where snappy takes 2 and leaves a tenth more.
Source: message format version 2, https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Iterable
from typing import Any

import numba as nb
import numpy as np
from aiokafka.codec import snappy_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from schemas.avro_writer import put_varint
from schemas.events import I64, U8
from schemas.machine import copy_bytes
from schemas.read_only import read_only
from streams.broker.record_columns import Record, Records
from streams.errors import StreamError

#: Most bytes of one batch before compression, or of a single record after it; below the broker's default limit of 1 MiB
#: for a message set.
BATCH_BYTES = 768 * 1024

#: Base offset, length of what follows, leader epoch, magic, CRC.
_HEAD = struct.Struct(">qiibI")
#: What the CRC covers before the records: attributes, last offset delta, first and last timestamp, producer id and
#: epoch, base sequence, number of records.
_BODY = struct.Struct(">hiqqqhii")
_MAGIC = 2
_SNAPPY, _TRANSACTIONAL = 2, 0x10
_NO_LEADER_EPOCH = -1
#: Length, attributes, two deltas, lengths of key and value and the number of headers: none takes more than this.
_OVERHEAD = 32


class TooLargeError(StreamError):
    """A record does not fit into any batch."""


class RecordBatch(BatchBuilder):  # type: ignore[misc]
    """A finished batch that an aiokafka producer sends like one of its own."""

    def __init__(self, records: bytes, count: int, timestamp_ms: int, transactional: bool) -> None:
        """``records`` are ``count`` encoded records, all of one time."""
        compressed = snappy_encode(records)
        smaller = len(compressed) < len(records)
        self._records = compressed if smaller else records
        self._attributes = (_SNAPPY if smaller else 0) | (_TRANSACTIONAL if transactional else 0)
        self._count = count
        self._timestamp_ms = timestamp_ms
        self._producer = (-1, -1, -1)
        self._buffer: bytes | None = None

    def append(self, **_: Any) -> None:
        """Take nothing more."""
        return

    def close(self) -> None:
        """Do nothing: it was closed from the beginning."""

    def closed(self) -> bool:
        """Return that it is."""
        return True

    def size(self) -> int:
        """Return its size in bytes."""
        return _HEAD.size + _BODY.size + len(self._records)

    def record_count(self) -> int:
        """Return how many records it has."""
        return self._count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        """Return its bytes, the same at every call: a repeated request must be recognised as one."""
        if self._buffer is None:
            last = self._count - 1
            times = (self._timestamp_ms, self._timestamp_ms)
            body = _BODY.pack(self._attributes, last, *times, *self._producer, self._count) + self._records
            length = len(body) + _HEAD.size - struct.calcsize(">qi")
            self._buffer = _HEAD.pack(0, length, _NO_LEADER_EPOCH, _MAGIC, calc_crc32c(body)) + body
        return self._buffer


def packed(
    records: Records | Iterable[Record], timestamp_ms: int, transactional: bool = False, prefix: bytes = b""
) -> list[RecordBatch]:
    """Return as few batches as hold the records, in order, every key behind ``prefix``.

    Raises TooLargeError on a record that is too large for any, compressed.
    """
    columns = records if isinstance(records, Records) else Records.of(list(records))
    keys, values = columns.keys, columns.values
    sizes = _OVERHEAD + len(prefix) + np.maximum(keys.lengths, 0) + np.maximum(values.lengths, 0)
    before_key = np.frombuffer(prefix, np.uint8)
    batches, first = [], 0
    ends = np.cumsum(sizes)
    while first < len(sizes):
        before = ends[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + BATCH_BYTES, side="right")))
        rows = slice(first, end)
        out = np.empty(int(ends[end - 1] - before), np.uint8)
        written = _write(
            before_key, read_only(keys.data), keys.starts[rows], keys.lengths[rows],
            read_only(values.data), values.starts[rows], values.lengths[rows], out,
        )  # fmt: skip
        batch = RecordBatch(out[:written].tobytes(), end - first, timestamp_ms, transactional)
        if batch.size() > BATCH_BYTES and end - first == 1:
            raise TooLargeError(f"A record of {sizes[first]} bytes is larger than a batch may be.")
        batches.append(batch)
        first = end
    return batches


@nb.njit(cache=True, nogil=True)
def _varint_bytes(value: int) -> int:
    rest = np.uint64((value << 1) ^ (value >> 63))
    count = 1
    while rest >= np.uint64(0x80):
        rest >>= np.uint64(7)
        count += 1
    return count


@nb.njit(cache=True, nogil=True)
def _write(
    prefix: U8, keys: U8, key_at: I64, key_lengths: I64, values: U8, value_at: I64, value_lengths: I64, out: U8
) -> np.int64:
    pos = np.int64(0)
    for row in range(len(key_at)):
        key_n, value_n = key_lengths[row], value_lengths[row]
        whole_n = key_n + len(prefix) if len(prefix) else key_n
        # Attributes, timestamp delta and number of headers: a zero byte each.
        size = 3 + _varint_bytes(row) + _varint_bytes(whole_n) + _varint_bytes(value_n)
        pos = put_varint(out, pos, size + max(whole_n, 0) + max(value_n, 0))
        out[pos] = 0
        out[pos + 1] = 0
        pos = put_varint(out, pos + 2, np.int64(row))
        pos = put_varint(out, pos, whole_n)
        for byte in prefix:
            out[pos] = byte
            pos += 1
        copy_bytes(out, pos, keys, key_at[row], key_n)
        pos = put_varint(out, pos + max(key_n, 0), value_n)
        copy_bytes(out, pos, values, value_at[row], value_n)
        pos += max(value_n, 0)
        out[pos] = 0
        pos += 1
    return pos
