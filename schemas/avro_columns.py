"""Avro records to columns without a Python object per record.

A writer schema is compiled to a small table of operations; one numba loop walks the joined bytes with it. It is strict
where fastavro is lenient: every byte must be consumed, ints must fit 32 bits, union indices and booleans must be valid,
text must be UTF-8. Fields the reader does not know are skipped; fields the writer does not know keep their default.
Source: https://avro.apache.org/docs/1.12.0/specification/ (binary encoding).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.errors import SimpersonaError
from schemas.events import I32, I64, U8
from schemas.framing import HEADER_BYTES
from schemas.packaged import Schema

#: Value of a null or absent integer column, and length of a null or absent text column.
NULL_INT = np.iinfo(np.int64).min
NULL_LENGTH = -1

_TEXT, _LONG, _INT, _BOOL, _BYTES, _FLOAT, _DOUBLE, _TEXT_MAP = range(8)
_KINDS = {
    "string": _TEXT,
    "long": _LONG,
    "int": _INT,
    "boolean": _BOOL,
    "bytes": _BYTES,
    "float": _FLOAT,
    "double": _DOUBLE,
}
_NOT_NULLABLE, _NULL_FIRST, _NULL_SECOND = range(3)
_SKIP = -1
_BAD = np.int64(-1)
_MAX_VARINT_SHIFT = 63


class UnsupportedSchemaError(SimpersonaError):
    """A writer schema has a field of a shape that the columnar decoder does not read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """``n`` records. Which row of a matrix belongs to which field is ``ColumnarDecoder.row_of``.

    ok       (n,) uint8, 1 where the bytes were a valid record
    ints     (i, n) int64: long, int and boolean fields; NULL_INT for null
    floats   (f, n) float64: float and double fields; NaN for null
    starts   (s, n) int64, lengths (s, n) int32: text and bytes fields as slices of the data, NULL_LENGTH for null
    """

    ok: U8
    ints: I64
    floats: npt.NDArray[np.float64]
    starts: I64
    lengths: I32


def _shape_of(field_type: object) -> tuple[int, int]:
    """Return (kind, nullability) of an Avro type. Raises KeyError on any other shape."""
    if isinstance(field_type, list):
        if len(field_type) != 2 or "null" not in field_type:
            raise KeyError(field_type)
        at = field_type.index("null")
        return _shape_of(field_type[1 - at])[0], _NULL_FIRST if at == 0 else _NULL_SECOND
    if isinstance(field_type, dict):
        if field_type["type"] == "map" and field_type["values"] == "string":
            return _TEXT_MAP, _NOT_NULLABLE
        return _shape_of(field_type["type"])
    return _KINDS[str(field_type)], _NOT_NULLABLE


class ColumnarDecoder:
    """Decode records written with any compatible writer schema into the columns of one reader schema."""

    def __init__(self, reader: Schema) -> None:
        """Compile nothing yet; raise UnsupportedSchemaError if the reader itself has a shape we do not read."""
        self.row_of: dict[str, int] = {}
        self._kind_of: dict[str, int] = {}
        counts = [0, 0, 0]
        defaults: list[list[float]] = [[], [], []]
        for field in reader["fields"]:
            kind = _compile_field(reader, field)[0]
            if kind == _TEXT_MAP:
                continue
            matrix = _matrix_of(kind)
            self.row_of[field["name"]] = counts[matrix]
            self._kind_of[field["name"]] = kind
            counts[matrix] += 1
            defaults[matrix].append(_default_of(field.get("default"), matrix))
        self._counts = counts
        self._int_defaults = np.array(defaults[0], dtype=np.int64)
        self._operations: dict[int, npt.NDArray[np.int64]] = {}

    def learn(self, schema_id: int, writer: Schema) -> None:
        """Compile a writer schema; raise UnsupportedSchemaError, which names the field, if it cannot be read."""
        table = []
        for field in writer["fields"]:
            kind, nullable = _compile_field(writer, field)
            known = self._kind_of.get(field["name"])
            if known is not None and _matrix_of(known) != _matrix_of(kind):
                raise UnsupportedSchemaError(
                    f"Schema {schema_id}: field {field['name']!r} changed to an incompatible type; "
                    "give the new field a new name."
                )
            table.append((kind, nullable, self.row_of.get(field["name"], _SKIP) if kind != _TEXT_MAP else _SKIP))
        self._operations[schema_id] = np.array(table, dtype=np.int64).reshape(-1, 3)

    def knows(self, schema_id: int) -> bool:
        """Say whether a writer schema of this id was learned."""
        return schema_id in self._operations

    def decode(self, data: U8, starts: I64, lengths: I64, ids: I64) -> Columns:
        """Return the columns of n framed records; rows whose schema id was not learned have ``ok`` 0."""
        n = len(starts)
        columns = Columns(
            ok=np.zeros(n, dtype=np.uint8),
            ints=np.repeat(self._int_defaults[:, None], n, axis=1),
            floats=np.full((self._counts[1], n), np.nan),
            starts=np.zeros((self._counts[2], n), dtype=np.int64),
            lengths=np.full((self._counts[2], n), NULL_LENGTH, dtype=np.int32),
        )
        for schema_id, operations in self._operations.items():
            rows = np.flatnonzero(ids == schema_id)
            if len(rows):
                _decode_rows(
                    data, starts, lengths, rows, operations,
                    columns.ok, columns.ints, columns.floats, columns.starts, columns.lengths,
                )  # fmt: skip
        return columns


def _compile_field(schema: Schema, field: Mapping[str, object]) -> tuple[int, int]:
    try:
        return _shape_of(field["type"])
    except (KeyError, TypeError) as error:
        raise UnsupportedSchemaError(
            f"Schema {schema.get('name')!r}: field {field.get('name')!r} has type {field.get('type')!r}, which is not "
            "a primitive, a nullable primitive or a map of strings; change the schema or decode it with fastavro."
        ) from error


def _matrix_of(kind: int) -> int:
    return {_LONG: 0, _INT: 0, _BOOL: 0, _FLOAT: 1, _DOUBLE: 1}.get(kind, 2)


def _default_of(default: object, matrix: int) -> float:
    if matrix == 0:
        return int(default) if isinstance(default, bool | int) else NULL_INT
    return 0


@nb.njit(cache=True, nogil=True, inline="always")
def _varint(data, pos, end):  # type: ignore[no-untyped-def]
    """Return (value, next position); the position is _BAD when the bytes end early or overflow 64 bits."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while pos < end:
        byte = data[pos]
        pos += 1
        if shift == _MAX_VARINT_SHIFT and byte > 1:
            return np.int64(0), _BAD
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), pos
        shift += np.uint64(7)
        if shift > _MAX_VARINT_SHIFT:
            return np.int64(0), _BAD
    return np.int64(0), _BAD


@nb.njit(cache=True, nogil=True)
def _is_utf8(data, pos, end):  # type: ignore[no-untyped-def]
    """Check well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing above U+10FFFF."""
    while pos < end:
        first = data[pos]
        if first < 0x80:
            pos += 1
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            following = 1
        elif 0xE0 <= first <= 0xEF:
            following = 2
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            following = 3
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return False
        if pos + following >= end:
            return False
        if data[pos + 1] < low or data[pos + 1] > high:
            return False
        for i in range(pos + 2, pos + following + 1):
            if data[i] < 0x80 or data[i] > 0xBF:
                return False
        pos += following + 1
    return True


@nb.njit(cache=True, nogil=True, inline="always")
def _text(data, pos, end, check):  # type: ignore[no-untyped-def]
    """Return (start, length, next position) of length-prefixed bytes; next position is _BAD when they are not valid."""
    length, pos = _varint(data, pos, end)
    if pos == _BAD or length < 0 or length > end - pos:
        return np.int64(0), np.int64(0), _BAD
    if check and not _is_utf8(data, pos, pos + length):
        return np.int64(0), np.int64(0), _BAD
    return pos, length, pos + length


@nb.njit(cache=True, nogil=True)
def _skip_map(data, pos, end):  # type: ignore[no-untyped-def]
    """Return the position after a map of strings, or _BAD."""
    while True:
        count, pos = _varint(data, pos, end)
        if pos == _BAD or count == 0:
            return pos
        block_end = _BAD
        if count < 0:
            size, pos = _varint(data, pos, end)
            if pos == _BAD or size < 0 or size > end - pos or count == np.iinfo(np.int64).min:
                return _BAD
            count, block_end = -count, pos + size
        if count > end - pos:
            return _BAD
        for _ in range(2 * count):
            _start, _length, pos = _text(data, pos, end, True)
            if pos == _BAD:
                return _BAD
        if block_end not in (_BAD, pos):
            return _BAD


@nb.njit(cache=True, nogil=True)
def _decode_rows(data, starts, lengths, rows, operations, ok, ints, floats, text_starts, text_lengths):  # type: ignore[no-untyped-def]
    scratch = np.zeros(8, dtype=np.uint8)
    for row in rows:
        pos = starts[row] + HEADER_BYTES
        end = starts[row] + lengths[row]
        for operation in range(len(operations)):
            kind, nullable, target = operations[operation]
            if nullable != _NOT_NULLABLE:
                branch, pos = _varint(data, pos, end)
                if pos == _BAD or branch < 0 or branch > 1:
                    pos = _BAD
                    break
                if (branch == 0) == (nullable == _NULL_FIRST):
                    if target != _SKIP and (kind in (_LONG, _INT, _BOOL)):
                        ints[target, row] = NULL_INT
                    continue
            if kind in (_TEXT, _BYTES):
                start, length, pos = _text(data, pos, end, kind == _TEXT)
                if pos == _BAD:
                    break
                if target != _SKIP:
                    text_starts[target, row] = start
                    text_lengths[target, row] = length
            elif kind in (_LONG, _INT):
                value, pos = _varint(data, pos, end)
                if pos == _BAD or (kind == _INT and (value < -2147483648 or value > 2147483647)):
                    pos = _BAD
                    break
                if target != _SKIP:
                    ints[target, row] = value
            elif kind == _BOOL:
                if pos >= end or data[pos] > 1:
                    pos = _BAD
                    break
                if target != _SKIP:
                    ints[target, row] = data[pos]
                pos += 1
            elif kind == _TEXT_MAP:
                pos = _skip_map(data, pos, end)
                if pos == _BAD:
                    break
            else:
                width = 4 if kind == _FLOAT else 8
                if end - pos < width:
                    pos = _BAD
                    break
                if target != _SKIP:
                    scratch[:width] = data[pos : pos + width]
                    if kind == _FLOAT:
                        floats[target, row] = scratch.view(np.float32)[0]
                    else:
                        floats[target, row] = scratch.view(np.float64)[0]
                pos += width
        ok[row] = np.uint8(pos == end)
