"""Counter-based random numbers: every visit and every event owns a stream, so results never depend on chunking.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the
state walks by a fixed odd constant and is scrambled by a bijection of 64-bit integers.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from schemas.events import U64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
#: 2**-53: the upper 53 bits of an integer become a float in [0, 1).
_UNIT = 1.0 / 9007199254740992.0


@numba.njit(cache=True, nogil=True)
def scramble(x: np.uint64) -> np.uint64:
    """Return SplitMix64's bijective scramble of one 64-bit integer."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def keys(root: int, *counters: npt.NDArray[np.integer] | int) -> U64:
    """Return one 64-bit key per row from a root seed and integer counters (arrays or scalars), independent by counter.

    Keys of different roots or counters seed streams that do not overlap in practice; the same arguments always give
    the same keys.
    """
    with np.errstate(over="ignore"):
        key = _scramble_array(np.asarray(root % 2**64, dtype=np.uint64) + GOLDEN)
        for counter in counters:
            key = _scramble_array(key ^ (np.asarray(counter, dtype=np.uint64) + GOLDEN) * _MIX_2)
    return key


def uniforms(key: U64, stream: int) -> npt.NDArray[np.float64]:
    """Return one number in [0, 1) per key; different ``stream`` numbers give independent draws of the same keys."""
    return (keys(stream, key) >> np.uint64(11)).astype(np.float64) * _UNIT


def _scramble_array(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def uniform(state: U64) -> float:
    """Advance a one-element state and return a number in [0, 1)."""
    state[0] += GOLDEN
    return float(scramble(state[0]) >> np.uint64(11)) * _UNIT


@numba.njit(cache=True, nogil=True)
def normal(state: U64) -> float:
    """Advance a one-element state and return a standard normal number (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@numba.njit(cache=True, nogil=True)
def gamma(state: U64, shape: int) -> float:
    """Advance a one-element state and return a gamma number of whole ``shape`` and mean 1 (a sum of exponentials)."""
    total = 0.0
    for _ in range(shape):
        total -= math.log(1.0 - uniform(state))
    return total / shape
