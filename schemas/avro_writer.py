"""Columns to Avro records without a Python object per record: the mirror of ``avro_columns`` for flat records.

Each record is written into one buffer by a compiled loop; the caller slices it. Source: Avro 1.12 binary encoding.
"""

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import I64, U8
from schemas.machine import copy_bytes

_MAX_VARINT_BYTES = 10
_FLOAT_BYTES = 4

#: Field kinds, in schema order.
TEXT, INT, BOOL, FLOAT = range(4)


def write_records(
    header: U8, kinds: I64, texts: U8, starts: I64, lengths: I64, ints: I64, floats: npt.NDArray[np.float32]
) -> tuple[bytes, I64]:
    """Return (all records joined, (n + 1,) offsets of each).

    kinds (k,) gives each field's kind; text fields take the next row of ``starts``/``lengths`` (t, n), int and bool
    fields the next row of ``ints`` (i, n), float fields the next row of ``floats`` (f, n). None may be null.
    """
    n = max(starts.shape[1], ints.shape[1], floats.shape[1])
    fixed = len(header) + len(kinds) * _MAX_VARINT_BYTES
    out = np.empty(n * fixed + int(lengths.sum()), dtype=np.uint8)
    offsets = np.zeros(n + 1, dtype=np.int64)
    _write(header, kinds, texts, starts, lengths, ints, floats.view(np.uint8), out, offsets)
    return out[: offsets[-1]].tobytes(), offsets


@nb.njit(cache=True, nogil=True, inline="always")
def put_varint(out, pos, value):  # type: ignore[no-untyped-def]
    """Write a zigzag varint (Avro's and Kafka's) at ``pos`` and return the place behind it."""
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest >= np.uint64(0x80):
        out[pos] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest >>= np.uint64(7)
        pos += 1
    out[pos] = np.uint8(rest)
    return pos + 1


@nb.njit(cache=True, nogil=True)
def _write(header, kinds, texts, starts, lengths, ints, float_bytes, out, offsets):  # type: ignore[no-untyped-def]
    pos = np.int64(0)
    for row in range(len(offsets) - 1):
        for byte in header:
            out[pos] = byte
            pos += 1
        text_at = int_at = float_at = 0
        for kind in kinds:
            if kind == TEXT:
                length = lengths[text_at, row]
                pos = put_varint(out, pos, length)
                copy_bytes(out, pos, texts, starts[text_at, row], length)
                pos += length
                text_at += 1
            elif kind == INT:
                pos = put_varint(out, pos, ints[int_at, row])
                int_at += 1
            elif kind == BOOL:
                out[pos] = np.uint8(ints[int_at, row])
                pos += 1
                int_at += 1
            else:
                for i in range(_FLOAT_BYTES):
                    out[pos + i] = float_bytes[float_at, row * _FLOAT_BYTES + i]
                pos += _FLOAT_BYTES
                float_at += 1
        offsets[row + 1] = pos
