"""Byte strings in columns: slices of one buffer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.events import I64, U8

#: Length of a string that is null.
NULL = -1

#: Rows of a column: a mask, indices or a range.
Rows = npt.NDArray[Any] | slice


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
        taken = np.maximum(lengths, 0)
        return Slices(
            np.frombuffer(b"".join([value for value in values if value]), np.uint8), np.cumsum(taken) - taken, lengths
        )

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

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes | None:
        """Return one string."""
        start, length = self.starts[row], self.lengths[row]
        return None if length == NULL else self.data[start : start + length].tobytes()

    def at(self, rows: Rows) -> "Slices":
        """Return some of the strings, on the same buffer."""
        return Slices(self.data, self.starts[rows], self.lengths[rows])

    def tolist(self) -> list[bytes | None]:
        """Return them as objects."""
        raw = self.data.tobytes()
        pairs = zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        return [None if length == NULL else raw[start : start + length] for start, length in pairs]
