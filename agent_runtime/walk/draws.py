"""``agent_runtime.draws`` compiled: the same numbers, for loops that run over shoppers one by one."""

import numba as nb
import numpy as np

from schemas.machine import allocation_free

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _SPARE_BITS = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_UNIT = 2.0**-53


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> _30)) * _MULTIPLIER_1
    word = (word ^ (word >> _27)) * _MULTIPLIER_2
    return word ^ (word >> _31)


@allocation_free
def unit_of(seed: np.uint64, agent: int, step: int, purpose: int) -> float:
    """Return ``draws.draw`` of the same four: one number of [0, 1). ``seed`` must be a NumPy uint64."""
    word = _mix(seed + _GOLDEN)
    word = _mix(word + _GOLDEN * (np.uint64(step) + _ONE))
    word = _mix(word + _GOLDEN * np.uint64(purpose))
    word = _mix(word + _GOLDEN * (np.uint64(agent) + _ONE))
    return float((word >> _SPARE_BITS) * _UNIT)
