"""Random numbers by counter: the draw of (seed, agent, step, purpose) is a function of these four and nothing else.

So an agent's choices do not depend on how many others are simulated beside it, and a run replays exactly. The idea is
that of counter-based generators (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"); the mixing is
SplitMix64's finaliser (Steele, Lea and Flood 2014), whose output passes BigCrush for consecutive counters.
"""

import hashlib
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from schemas.events import I64

F64 = npt.NDArray[np.float64]

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_WORD = (1 << 64) - 1
#: A double holds 53 bits; the upper ones are the better mixed.
_SPARE_BITS = 11
_UNIT = 2.0**-53
#: Seeds are 64 bits in the store.
_SEED_BYTES = 8


class Purpose(IntEnum):
    """What a draw is for: two draws of one agent's step must not be the same number."""

    TOKEN = 1
    CATEGORY_NEW = 2
    CATEGORY_RETURN = 3
    PRODUCT = 4
    QUERY = 5
    QUANTITY = 6
    PACE = 7
    START = 8
    PERSONA = 9
    ARRIVALS = 10
    COUPLED = 11
    REPLAY = 12


def _mix(word: int) -> int:
    word = ((word ^ (word >> 30)) * _MULTIPLIER_1) & _WORD
    word = ((word ^ (word >> 27)) * _MULTIPLIER_2) & _WORD
    return word ^ (word >> 31)


def _stream(seed: int, step: int, purpose: Purpose) -> int:
    word = _mix((seed + _GOLDEN) & _WORD)
    word = _mix((word + _GOLDEN * (step + 1)) & _WORD)
    return _mix((word + _GOLDEN * int(purpose)) & _WORD)


def draw(seed: int, agent: int, step: int, purpose: Purpose) -> float:
    """Return one number of [0, 1)."""
    word = _mix((_stream(seed, step, purpose) + _GOLDEN * (agent + 1)) & _WORD)
    return (word >> _SPARE_BITS) * _UNIT


def draws(seed: int, agents: I64, step: int, purpose: Purpose) -> F64:
    """Return (n,) float64 of [0, 1): ``draw`` of every agent at once, the same numbers."""
    golden, shift = np.uint64(_GOLDEN), np.uint64(_SPARE_BITS)
    with np.errstate(over="ignore"):
        word = np.uint64(_stream(seed, step, purpose)) + golden * (agents.astype(np.uint64) + np.uint64(1))
        word = (word ^ (word >> np.uint64(30))) * np.uint64(_MULTIPLIER_1)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(_MULTIPLIER_2)
        word ^= word >> np.uint64(31)
    return np.asarray((word >> shift).astype(np.float64) * _UNIT)


def seed_of(seed: int, merchant_id: str) -> int:
    """Return a merchant's own seed, so that two merchants' shoppers do not draw the same numbers."""
    digest = hashlib.sha256(f"{seed}:{merchant_id}".encode()).digest()
    return int.from_bytes(digest[:_SEED_BYTES])
