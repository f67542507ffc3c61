"""The compiled loop that walks Avro records along a table of operations, strict to the last byte.

Every byte must be consumed, ints must fit 32 bits, union indices, booleans and block sizes must be true, text must be
UTF-8. A varint may have leading zero groups, which the specification does not forbid, in ten bytes at most. Source:
https://avro.apache.org/docs/1.12.0/specification/ (binary encoding).
"""

import numba as nb
import numpy as np

from schemas.avro_resolution import NOT_NULLABLE, NULL_FIRST, OTHER, SKIP
from schemas.avro_shapes import (
    ARRAY,
    BOOL,
    BYTES,
    DEEPEST,
    ENUM,
    FIXED,
    FLOAT,
    INT,
    LONG,
    MAP,
    NULL,
    RECORD,
    TEXT,
    TEXT_MAP,
    UNION,
)  # fmt: skip
from schemas.framing import HEADER_BYTES

#: Value of a null or absent integer column.
NULL_INT = np.iinfo(np.int64).min

_BAD = np.int64(-1)
_MAX_VARINT_SHIFT = 63
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


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
def _block(data, pos, end):  # type: ignore[no-untyped-def]
    """Return (items, end of the block or _BAD where it is not told, next position or _BAD) of a map's or array's block.

    No item is without bytes, so more items than bytes are a lie.
    """
    count, pos = _varint(data, pos, end)
    block_end = _BAD
    if pos != _BAD and count < 0:
        size, pos = _varint(data, pos, end)
        if pos == _BAD or size < 0 or size > end - pos or count == NULL_INT:
            return np.int64(0), _BAD, _BAD
        count, block_end = -count, pos + size
    return (count, block_end, pos) if pos == _BAD or count <= end - pos else (np.int64(0), _BAD, _BAD)


@nb.njit(cache=True, nogil=True)
def _skip_map(data, pos, end):  # type: ignore[no-untyped-def]
    """Return the position after a map of strings, or _BAD."""
    while True:
        count, block_end, pos = _block(data, pos, end)
        if pos == _BAD or count == 0:
            return pos
        for _ in range(2 * count):
            _start, _length, pos = _text(data, pos, end, True)
            if pos == _BAD:
                return _BAD
        if block_end not in (_BAD, pos):
            return _BAD


@nb.njit(cache=True, nogil=True)
def _leaf(kind, a, data, pos, end):  # type: ignore[no-untyped-def]
    """Return the position after a value that holds no other, or _BAD; ``a`` is that of the node."""
    if kind in (TEXT, BYTES):
        _start, _length, pos = _text(data, pos, end, kind == TEXT)
        return pos
    if kind in (LONG, INT, ENUM):
        value, pos = _varint(data, pos, end)
        if kind == INT and (value < _INT_MIN or value > _INT_MAX):
            return _BAD
        return _BAD if kind == ENUM and (value < 0 or value >= a) else pos
    if kind == BOOL:
        return pos + 1 if pos < end and data[pos] <= 1 else _BAD
    if kind == NULL:
        return pos
    width = a if kind == FIXED else 4 if kind == FLOAT else 8
    return pos + width if width <= end - pos else _BAD


@nb.njit(cache=True, nogil=True)
def _pass_over(nodes, children, node, data, pos, end, stack):  # type: ignore[no-untyped-def]
    """Return the position after a value of any shape, or _BAD; ``stack`` is (DEEPEST, 4) int64 of room to work in.

    A frame is (kind, next child or item, how many are left, end of the block). No function that calls itself: numba
    0.68 crashes now and then when it loads such a one from its cache.
    """
    depth = 0
    while True:
        kind, a, b = nodes[node]
        if kind == UNION:
            branch, pos = _varint(data, pos, end)
            if pos == _BAD or branch < 0 or branch >= b:
                return _BAD
            node = children[a + branch]
            continue
        if kind in (RECORD, ARRAY, MAP):
            if depth == DEEPEST:
                return _BAD
            stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3] = kind, a, b, _BAD
            depth += 1
        else:
            pos = _leaf(kind, a, data, pos, end)
            if pos == _BAD:
                return _BAD
        # Find the next value to pass over: the innermost record or collection that has one left.
        while True:
            if depth == 0:
                return pos
            top = stack[depth - 1]
            if top[2] == 0 and top[0] != RECORD:
                if top[3] not in (_BAD, pos):
                    return _BAD
                top[2], top[3], pos = _block(data, pos, end)
                if pos == _BAD:
                    return _BAD
            if top[2] > 0:
                break
            depth -= 1
        top[2] -= 1
        if top[0] == RECORD:
            node = children[top[1]]
            top[1] += 1
        else:
            if top[0] == MAP:
                _start, _length, pos = _text(data, pos, end, True)
                if pos == _BAD:
                    return _BAD
            node = top[1]


@nb.njit(cache=True, nogil=True)
def walk(  # type: ignore[no-untyped-def]
    data, starts, lengths, rows, operations, nodes, children, ok, ints, floats, text_starts, text_lengths
):
    """Fill the columns of some rows, record by record; ``ok`` tells which were valid.

    data (b,) uint8; starts, lengths (n,) int64 of framed records in it; rows (m,) int64, those to read; operations,
    nodes and children are those of ``schemas.avro_resolution.Plan``. The columns are those of
    ``schemas.avro_columns.Columns``; those of an invalid row are left half filled.
    """
    scratch = np.zeros(8, dtype=np.uint8)
    stack = np.empty((DEEPEST, 4), dtype=np.int64)
    for row in rows:
        pos = starts[row] + HEADER_BYTES
        end = starts[row] + lengths[row]
        for operation in range(len(operations)):
            kind, nullable, target, null_allowed, node = operations[operation]
            if nullable != NOT_NULLABLE:
                branch, pos = _varint(data, pos, end)
                if pos == _BAD or branch < 0 or branch > 1:
                    pos = _BAD
                    break
                if (branch == 0) == (nullable == NULL_FIRST):
                    if not null_allowed:
                        pos = _BAD
                        break
                    if target != SKIP and (kind in (LONG, INT, BOOL)):
                        ints[target, row] = NULL_INT
                    continue
            if kind in (TEXT, BYTES):
                start, length, pos = _text(data, pos, end, kind == TEXT)
                if pos == _BAD:
                    break
                if target != SKIP:
                    text_starts[target, row] = start
                    text_lengths[target, row] = length
            elif kind in (LONG, INT):
                value, pos = _varint(data, pos, end)
                if pos == _BAD or (kind == INT and (value < _INT_MIN or value > _INT_MAX)):
                    pos = _BAD
                    break
                if target != SKIP:
                    # Where null can be, the one number that would read as null is stored as its neighbour.
                    ints[target, row] = value + 1 if null_allowed and value == NULL_INT else value
            elif kind == BOOL:
                if pos >= end or data[pos] > 1:
                    pos = _BAD
                    break
                if target != SKIP:
                    ints[target, row] = data[pos]
                pos += 1
            elif kind == TEXT_MAP:
                pos = _skip_map(data, pos, end)
                if pos == _BAD:
                    break
            elif kind == OTHER:
                pos = _pass_over(nodes, children, node, data, pos, end, stack)
                if pos == _BAD:
                    break
            else:
                width = 4 if kind == FLOAT else 8
                if end - pos < width:
                    pos = _BAD
                    break
                if target != SKIP:
                    scratch[:width] = data[pos : pos + width]
                    if kind == FLOAT:
                        floats[target, row] = scratch.view(np.float32)[0]
                    else:
                        floats[target, row] = scratch.view(np.float64)[0]
                pos += width
        ok[row] = np.uint8(pos == end)
