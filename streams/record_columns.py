"""Keys and values of records in columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.events import I64, U8

#: One record: key and value; a value of None is a tombstone.
Record = tuple[bytes | None, bytes | None]

#: Length of a key or a value that is null.
NULL = -1


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """``n`` byte strings; string ``i`` is ``data[starts[i]:starts[i] + lengths[i]]``, null where its length is -1.

    data (b,) uint8; starts, lengths (n,) int64
    """

    data: U8
    starts: I64
    lengths: I64

    @staticmethod
    def of(values: Sequence[bytes | None]) -> "Slices":
        """Return these byte strings."""
        lengths = np.array([NULL if value is None else len(value) for value in values], dtype=np.int64)
        data = np.frombuffer(b"".join([value for value in values if value]), np.uint8)
        return Slices(data, np.cumsum(np.maximum(lengths, 0)) - np.maximum(lengths, 0), lengths)

    @staticmethod
    def between(data: U8, edges: I64) -> "Slices":
        """Return what lies between (n + 1,) rising edges."""
        return Slices(data, edges[:-1], np.diff(edges))

    @staticmethod
    def nulls(count: int) -> "Slices":
        """Return nulls."""
        return Slices(np.zeros(0, np.uint8), np.zeros(count, np.int64), np.full(count, NULL, np.int64))

    @staticmethod
    def joined(parts: Sequence["Slices"]) -> "Slices":
        """Return the strings of several columns (one or more), one after another."""
        sizes = np.array([len(part.data) for part in parts])
        shifts = np.repeat(np.cumsum(sizes) - sizes, [len(part.starts) for part in parts])
        return Slices(
            np.concatenate([part.data for part in parts]),
            np.concatenate([part.starts for part in parts]) + shifts,
            np.concatenate([part.lengths for part in parts]),
        )

    def tolist(self) -> list[bytes | None]:
        """Return them as objects."""
        raw = self.data.tobytes()
        pairs = zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        return [None if length == NULL else raw[start : start + length] for start, length in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """``n`` records: their keys and their values."""

    keys: Slices
    values: Slices

    @staticmethod
    def of(records: Sequence[Record]) -> "Records":
        """Return these records."""
        return Records(Slices.of([key for key, _ in records]), Slices.of([value for _, value in records]))

    @staticmethod
    def joined(parts: Sequence["Records"]) -> "Records":
        """Return several lots of records (one or more), one after another."""
        return Records(Slices.joined([part.keys for part in parts]), Slices.joined([part.values for part in parts]))

    def __len__(self) -> int:
        return len(self.keys.starts)

    def tolist(self) -> list[Record]:
        """Return them as objects."""
        return list(zip(self.keys.tolist(), self.values.tolist(), strict=True))
