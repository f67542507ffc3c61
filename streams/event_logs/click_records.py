"""Event-log rows as records of a click topic, written by compiled code: the bytes that ``encode_click`` makes.

Source: Avro 1.12 binary encoding; Kafka's default partitioner (murmur2, Apache Kafka's Utils.java).
"""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import I32, I64, U8
from schemas.framing import HEADER_BYTES
from schemas.machine import copy_bytes
from schemas.packaged import CLICK_EVENT_ID, packaged_schema

#: How a field is written. A nullable field is a union ["null", type]: one byte for the branch, then the value.
_TEXT, _INTEGER, _BOOLEAN, _MAP = range(4)
_KIND_OF_TYPE = {"string": _TEXT, "long": _INTEGER, "int": _INTEGER, "boolean": _BOOLEAN, "map": _MAP}
_MAX_VARINT_BYTES = 10

_MURMUR_SEED, _MURMUR_MIX, _MURMUR_SHIFT = np.uint32(0x9747B28C), np.uint32(0x5BD1E995), np.uint32(24)
_SIGN_MASK = np.uint32(0x7FFFFFFF)


@dataclass(frozen=True, slots=True)
class ClickRecords:
    """``n`` records in the rows' order: keys, values and the (n,) int32 partition each belongs to."""

    keys: list[bytes]
    values: list[bytes]
    partition: I32


class ClickWriter:
    """Writes event-log batches as records of the packaged ClickEvent schema for a topic of so many partitions."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        fields = packaged_schema(CLICK_EVENT_ID)["fields"]
        self._names = [field["name"] for field in fields]
        self._nullable = np.array([isinstance(field["type"], list) for field in fields])
        self._kinds = np.array([_KIND_OF_TYPE[_plain_type(field["type"])] for field in fields])
        self._header = np.frombuffer(b"\x00" + CLICK_EVENT_ID.to_bytes(HEADER_BYTES - 1, "big"), dtype=np.uint8)

    def records(self, batch: pa.RecordBatch) -> ClickRecords:
        """Return one record per row of a batch with the event log's columns, byte for byte as ``encode_click``'s."""
        columns = _Columns.of(batch, self._names, self._kinds)
        # Per field its value and a length or branch; per map entry two lengths; a map has a count and an end.
        room = len(self._header) + len(self._names) * (_MAX_VARINT_BYTES + 1) + 2 * _MAX_VARINT_BYTES
        size = batch.num_rows * room + int(columns.lengths.sum()) + len(columns.text)
        size += 2 * _MAX_VARINT_BYTES * int(columns.entries.sum())
        out = np.empty(size, dtype=np.uint8)
        ends = np.zeros(batch.num_rows + 1, dtype=np.int64)
        _write(
            self._header, self._kinds, self._nullable, columns.text, columns.starts, columns.lengths, columns.integers,
            columns.present, columns.entries, columns.first_entry, columns.entry_starts, columns.entry_lengths,
            out, ends,
        )  # fmt: skip
        keys = pc.binary_join_element_wise(batch.column("merchant_id"), batch.column("client_id"), "|")
        key_text, key_starts, key_lengths = _slices(keys)
        partition = np.empty(batch.num_rows, dtype=np.int32)
        _partition(key_text, key_starts, key_lengths, self._partitions, partition)
        key_ends = np.append(key_starts, len(key_text))
        return ClickRecords(_cut(key_text.tobytes(), key_ends), _cut(out[: ends[-1]].tobytes(), ends), partition)


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka clients put a key into by default."""
    found = np.empty(1, dtype=np.int32)
    text = np.frombuffer(key, dtype=np.uint8)
    _partition(text, np.zeros(1, dtype=np.int64), np.array([len(key)], dtype=np.int32), partitions, found)
    return int(found[0])


@dataclass(frozen=True, slots=True)
class _Columns:
    """All columns of one batch in flat arrays: text rows (t, n), integer rows (i, n), presence (f, n) by field."""

    text: U8
    starts: I64
    lengths: I32
    integers: I64
    present: npt.NDArray[np.bool_]
    entries: I32
    first_entry: I64
    entry_starts: I64
    entry_lengths: I32

    @classmethod
    def of(cls, batch: pa.RecordBatch, names: list[str], kinds: I64) -> "_Columns":
        rows = batch.num_rows
        texts: list[U8] = []
        starts: list[I64] = []
        lengths: list[I32] = []
        integers: list[I64] = []
        present = np.ones((len(names), rows), dtype=np.bool_)
        entries, first_entry = np.zeros(rows, dtype=np.int32), np.zeros(rows, dtype=np.int64)
        entry_starts, entry_lengths = np.empty((2, 0), dtype=np.int64), np.empty((2, 0), dtype=np.int32)
        base = 0
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            column = batch.column(name)
            if column.null_count:
                present[number] = pc.is_valid(column).to_numpy(zero_copy_only=False)
            if kind == _TEXT:
                text, start, length = _slices(column)
                texts.append(text)
                starts.append(start + base)
                lengths.append(length)
                base += len(text)
            elif kind == _MAP:
                bounds = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + rows + 1]
                entries = np.where(present[number], np.diff(bounds), 0).astype(np.int32)
                first_entry = bounds[:-1].astype(np.int64)
                halves = [_slices(column.keys), _slices(column.items)]
                entry_starts = np.stack([halves[0][1] + base, halves[1][1] + base + len(halves[0][0])])
                entry_lengths = np.stack([halves[0][2], halves[1][2]])
                texts.extend(half[0] for half in halves)
                base += len(halves[0][0]) + len(halves[1][0])
            else:
                integers.append(pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy())
        return cls(
            text=np.concatenate(texts),
            starts=np.stack(starts),
            lengths=np.stack(lengths),
            integers=np.stack(integers),
            present=present,
            entries=entries,
            first_entry=first_entry,
            entry_starts=entry_starts,
            entry_lengths=entry_lengths,
        )


def _plain_type(declared: object) -> str:
    """Return the Avro type of a field without its union with null and its logical type."""
    if isinstance(declared, list):
        declared = next(branch for branch in declared if branch != "null")
    return str(declared["type"] if isinstance(declared, dict) else declared)


def _slices(column: pa.Array) -> tuple[U8, I64, I32]:
    """Return (bytes, (n,) starts into them, (n,) lengths) of a string column; a null has length 0."""
    rows = len(column)
    _, offsets, data = column.buffers()
    if not rows or data is None:
        return np.empty(0, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, np.int32)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + rows + 1]
    first, last = int(bounds[0]), int(bounds[-1])
    return np.frombuffer(data, np.uint8)[first:last], (bounds[:-1] - first).astype(np.int64), np.diff(bounds)


def _cut(joined: bytes, ends: I64) -> list[bytes]:
    at = ends.tolist()
    return [joined[start:end] for start, end in pairwise(at)]


@numba.njit(cache=True, nogil=True)
def _put_varint(out: U8, at: int, value: int) -> int:
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest >= np.uint64(0x80):
        out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@numba.njit(cache=True, nogil=True)
def _put_text(out: U8, at: int, text: U8, start: int, length: int) -> int:
    at = _put_varint(out, at, length)
    copy_bytes(out, at, text, start, length)
    return at + length


@numba.njit(cache=True, nogil=True)
def _write(
    header: U8,
    kinds: I64,
    nullable: npt.NDArray[np.bool_],
    text: U8,
    starts: I64,
    lengths: I32,
    integers: I64,
    present: npt.NDArray[np.bool_],
    entries: I32,
    first_entry: I64,
    entry_starts: I64,
    entry_lengths: I32,
    out: U8,
    ends: I64,
) -> None:
    at = 0
    for row in range(len(ends) - 1):
        for byte in header:
            out[at] = byte
            at += 1
        text_row = integer_row = 0
        for field in range(len(kinds)):
            kind = kinds[field]
            here = present[field, row]
            if nullable[field]:
                # The branch's index as a varint: 0 = null, 1 = the value.
                out[at] = 2 if here else 0
                at += 1
            if kind == _TEXT:
                if here:
                    at = _put_text(out, at, text, starts[text_row, row], lengths[text_row, row])
                text_row += 1
            elif kind == _MAP:
                count = entries[row]
                if count:
                    at = _put_varint(out, at, count)
                    for entry in range(first_entry[row], first_entry[row] + count):
                        at = _put_text(out, at, text, entry_starts[0, entry], entry_lengths[0, entry])
                        at = _put_text(out, at, text, entry_starts[1, entry], entry_lengths[1, entry])
                out[at] = 0
                at += 1
            else:
                value = integers[integer_row, row]
                if here and kind == _BOOLEAN:
                    out[at] = np.uint8(value)
                    at += 1
                elif here:
                    at = _put_varint(out, at, value)
                integer_row += 1
        ends[row + 1] = at


@numba.njit(cache=True, nogil=True)
def _partition(text: U8, starts: I64, lengths: I32, partitions: int, out: I32) -> None:
    for row in range(len(out)):
        start, length = starts[row], lengths[row]
        h = _MURMUR_SEED ^ np.uint32(length)
        whole = length // 4 * 4
        for i in range(start, start + whole, 4):
            k = np.uint32(text[i]) | np.uint32(text[i + 1]) << np.uint32(8)
            k |= np.uint32(text[i + 2]) << np.uint32(16) | np.uint32(text[i + 3]) << np.uint32(24)
            k = np.uint32(k * _MURMUR_MIX)
            k ^= k >> _MURMUR_SHIFT
            k = np.uint32(k * _MURMUR_MIX)
            h = np.uint32(np.uint32(h * _MURMUR_MIX) ^ k)
        rest = length - whole
        if rest >= 3:
            h ^= np.uint32(text[start + whole + 2]) << np.uint32(16)
        if rest >= 2:
            h ^= np.uint32(text[start + whole + 1]) << np.uint32(8)
        if rest >= 1:
            h = np.uint32(np.uint32(h ^ np.uint32(text[start + whole])) * _MURMUR_MIX)
        h ^= h >> np.uint32(13)
        h = np.uint32(h * _MURMUR_MIX)
        h ^= h >> np.uint32(15)
        out[row] = np.int32((h & _SIGN_MASK) % np.uint32(partitions))
