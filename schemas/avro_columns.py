"""Avro records to columns without a Python object per record.

A writer schema is resolved to a small table of operations (``avro_resolution``); one compiled loop walks the joined
bytes with it (``avro_walk``). Fields the reader does not know are skipped; fields the writer does not know have the
reader's default.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.avro_resolution import FLOATS, INTS, SLICES, Plan, fields_of, resolve
from schemas.avro_shapes import UnsupportedSchemaError
from schemas.avro_walk import NULL_INT, walk
from schemas.events import I32, I64, U8
from schemas.packaged import Schema
from schemas.read_only import read_only
from schemas.slices import Slices

__all__ = ["NULL_INT", "NULL_LENGTH", "ColumnarDecoder", "Columns", "UnsupportedSchemaError"]

#: Length of a null text column.
NULL_LENGTH = -1


@dataclass(frozen=True, slots=True)
class Columns:
    """``n`` records. Which row of a matrix belongs to which field is ``ColumnarDecoder.row_of``.

    ok       (n,) uint8, 1 where the bytes were a valid record; the other columns of invalid rows mean nothing
    ints     (i, n) int64: long, int and boolean fields; NULL_INT for null (that very number of a
             nullable field is NULL_INT + 1)
    floats   (f, n) float64: float and double fields; NaN for null
    starts   (s, n) int64, lengths (s, n) int32: text and bytes fields as slices of the data, NULL_LENGTH for null
    """

    ok: U8
    ints: I64
    floats: npt.NDArray[np.float64]
    starts: I64
    lengths: I32


class ColumnarDecoder:
    """Decode records written with any fitting writer schema into the columns of one reader schema."""

    def __init__(self, reader: Schema) -> None:
        """Raise UnsupportedSchemaError if the reader itself has a shape or a default that is not read."""
        self.row_of: dict[str, int] = {}
        self._reader = {field.name: field for field in fields_of(reader)}
        defaults: list[list[float]] = [[], [], []]
        for field in self._reader.values():
            if field.matrix is not None:
                self.row_of[field.name] = len(defaults[field.matrix])
                defaults[field.matrix].append(_default_of(field.name, field.default, field.matrix))
        self._ints = np.array(defaults[INTS], dtype=np.int64)
        self._floats = np.array(defaults[FLOATS], dtype=np.float64)
        self._lengths = np.array(defaults[SLICES], dtype=np.int32)
        self._plans: dict[int, Plan] = {}

    def learn(self, schema_id: int, writer: Schema) -> None:
        """Resolve a writer schema. Raises UnsupportedSchemaError, which names the field, if it cannot be read."""
        self._plans[schema_id] = resolve(writer, self._reader, self.row_of)

    def knows(self, schema_id: int) -> bool:
        """Say whether a writer schema of this id was learned."""
        return schema_id in self._plans

    def decode(self, values: Slices, ids: I64) -> Columns:
        """Return the columns of n framed records of (n,) schema ids; rows whose id was not learned have ``ok`` 0."""
        n = len(values)
        columns = Columns(
            ok=np.zeros(n, dtype=np.uint8),
            ints=np.repeat(self._ints[:, None], n, axis=1),
            floats=np.repeat(self._floats[:, None], n, axis=1),
            starts=np.zeros((len(self._lengths), n), dtype=np.int64),
            lengths=np.repeat(self._lengths[:, None], n, axis=1),
        )
        data = read_only(values.data)
        for schema_id, plan in self._plans.items():
            rows = np.flatnonzero(ids == schema_id)
            if len(rows):
                walk(
                    data, values.starts, values.lengths, rows, plan.operations, plan.nodes, plan.children,
                    columns.ok, columns.ints, columns.floats, columns.starts, columns.lengths,
                )  # fmt: skip
        return columns


def _default_of(name: str, default: Any, matrix: int) -> float:
    """Return what a column holds where the writer has no such field: the default, or what stands for null."""
    if default is None:
        return {INTS: NULL_INT, FLOATS: np.nan, SLICES: NULL_LENGTH}[matrix]
    if matrix == SLICES:
        if default:
            raise UnsupportedSchemaError(f"Field {name!r} has the default {default!r}; only empty text can be one.")
        return 0
    return float(default) if matrix == FLOATS else int(default)
