"""A set of session ids that holds a busy day's millions: most of them in one sorted array, at eight bytes each."""

import numpy as np
import numpy.typing as npt

from schemas.assignments import Bytes
from schemas.events import U64

#: The newest ids stand in a Python set (some 80 bytes each) until they are this many, and this share of the others.
RECENT_MAX = 1_024
RECENT_SHARE = 8
_FIRST_HALF, _SECOND_HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


def numbers_of(ids: Bytes) -> U64:
    """Return a number (n,) per session id (n, S16): among a million ids, two share one with a probability of 3e-8."""
    halves = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    numbers: U64 = halves[:, 0] * _FIRST_HALF + halves[:, 1] * _SECOND_HALF
    return numbers


class SessionIds:
    """Ids as numbers, see ``numbers_of``."""

    __slots__ = ("_recent", "_sorted")

    def __init__(self) -> None:
        self._sorted: U64 = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def add(self, numbers: U64) -> npt.NDArray[np.bool_]:
        """Add ids (n,) in order; return which of them (n,) were not in the set before, repeats among them included."""
        places = np.searchsorted(self._sorted, numbers)
        known = np.zeros(len(numbers), np.bool_)
        inside = places < len(self._sorted)
        known[inside] = self._sorted[places[inside]] == numbers[inside]
        new = ~known
        recent = self._recent
        for row in np.flatnonzero(new).tolist():
            number = int(numbers[row])
            if number in recent:
                new[row] = False
            else:
                recent.add(number)
        if len(recent) > max(RECENT_MAX, len(self._sorted) // RECENT_SHARE):
            self._sorted = np.sort(np.concatenate([self._sorted, np.fromiter(recent, np.uint64, len(recent))]))
            recent.clear()
        return new

    def __len__(self) -> int:
        """Ids in the set."""
        return len(self._sorted) + len(self._recent)
