"""Text in columns: slices of one buffer of UTF-8, which become Python strings only where somebody asks for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import I64, U8
from schemas.hashing import hash_column
from schemas.machine import copy_bytes
from schemas.read_only import read_only
from schemas.slices import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """``n`` texts; text ``i`` is ``data[starts[i]:starts[i] + lengths[i]]``, which is valid UTF-8.

    data (b,) uint8, may be shared with other columns and hold more; starts, lengths (n,) int64
    """

    data: U8
    starts: I64
    lengths: I64

    @staticmethod
    def of(values: Sequence[str]) -> "Texts":
        """Return these texts; one that comes often is kept once."""
        places: dict[str, int] = {}
        which = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)
        return Texts.chosen(list(places), which)

    @staticmethod
    def chosen(choices: Sequence[str], which: npt.NDArray[np.integer[Any]]) -> "Texts":
        """Return ``choices[which]``; ``which`` (n,) may be negative, as indices in Python."""
        encoded = [choice.encode() for choice in choices]
        lengths = np.array([len(one) for one in encoded], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        return Texts(np.frombuffer(b"".join(encoded), np.uint8), starts[which], lengths[which])

    @staticmethod
    def fixed(values: npt.NDArray[np.bytes_]) -> "Texts":
        """Return the texts of an array of fixed width (n,), without what pads them."""
        width = values.dtype.itemsize
        data = np.ascontiguousarray(values).view(np.uint8)
        return Texts(data, np.arange(len(values), dtype=np.int64) * width, np.char.str_len(values).astype(np.int64))

    @staticmethod
    def joined(parts: Sequence["Texts"]) -> "Texts":
        """Return the texts of several columns (one or more), one after another."""
        if len(parts) == 1:
            return parts[0]
        sizes = np.array([len(part.data) for part in parts])
        shifts = np.repeat(np.cumsum(sizes) - sizes, [len(part) for part in parts])
        return Texts(
            np.concatenate([part.data for part in parts]),
            np.concatenate([part.starts for part in parts]) + shifts,
            np.concatenate([part.lengths for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: Rows) -> "Texts": ...
    def __getitem__(self, rows: int | Rows) -> "str | Texts":
        """Return one text, or some of them as a column on the same buffer."""
        if isinstance(rows, (int, np.integer)):
            start = self.starts[rows]
            return self.data[start : start + self.lengths[rows]].tobytes().decode()
        return Texts(self.data, self.starts[rows], self.lengths[rows])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def tolist(self) -> list[str]:
        """Return them as strings; equal ones are one object."""
        data, offsets = self.packed()
        raw, edges = data.tobytes(), offsets.tolist()
        known: dict[bytes, str] = {}
        texts = []
        for i in range(len(self)):
            value = raw[edges[i] : edges[i + 1]]
            text = known.get(value)
            texts.append(text if text is not None else known.setdefault(value, value.decode()))
        return texts

    def packed(self) -> tuple[U8, I64]:
        """Return their bytes one after another, and (n + 1,) offsets of each and the end."""
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        out = np.empty(offsets[-1], np.uint8)
        _pack(read_only(self.data), self.starts, offsets, out)
        return out, offsets

    def distinct(self) -> tuple[I64, I64]:
        """Return the rows of (k,) different texts, and (n,) which of them each text is.

        Texts are told apart by their 64-bit hashes: among the few thousand rows of a call two of them meet once in 10¹²
        calls.
        """
        hashes = hash_column(read_only(self.data), self.starts, self.lengths)
        _, rows, which = np.unique(hashes, return_index=True, return_inverse=True)
        return rows, which.reshape(-1)


@nb.njit(cache=True, nogil=True)
def _pack(data: U8, starts: I64, offsets: I64, out: U8) -> None:
    for row in range(len(starts)):
        copy_bytes(out, offsets[row], data, starts[row], offsets[row + 1] - offsets[row])
