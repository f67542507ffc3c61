"""One hash for everything that only has to be compared: the same value from Python bytes, Avro bytes and Arrow buffers.

FNV-1a over the bytes (http://www.isthe.com/chongo/tech/comp/fnv/) finished with the 64-bit mixer of MurmurHash3, which
spreads the last bytes over all bits. Not keyed: pseudonymisation of client ids happens at the edge, before this.
"""

import numba as nb
import numpy as np

from schemas.events import U8, U64

_OFFSET = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
#: Byte between merchant and client in a key's hash: it cannot occur in valid UTF-8 text ids we accept.
KEY_SEPARATOR = np.uint64(0x1F)


@nb.njit(cache=True, nogil=True, inline="always")
def _feed(state: np.uint64, text: U8, start: int, length: int) -> np.uint64:
    for i in range(start, start + length):
        state = (state ^ np.uint64(text[i])) * _PRIME
    return state


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(state: np.uint64) -> np.uint64:
    state ^= state >> _SHIFT
    state *= _MIX_1
    state ^= state >> _SHIFT
    state *= _MIX_2
    return state ^ (state >> _SHIFT)


@nb.njit(cache=True, nogil=True)
def hash_slice(text: U8, start: int, length: int) -> np.uint64:
    """Return the 64-bit hash of ``text[start:start + length]``."""
    return np.uint64(_mix(_feed(_OFFSET, text, start, length)))


@nb.njit(cache=True, nogil=True)
def hash_key(text: U8, merchant_start: int, merchant_length: int, client_start: int, client_length: int) -> np.uint64:
    """Return the 64-bit hash of ``merchant 0x1F client``, whose two halves may lie anywhere in ``text``."""
    state = _feed(_OFFSET, text, merchant_start, merchant_length)
    state = (state ^ KEY_SEPARATOR) * _PRIME
    return np.uint64(_mix(_feed(state, text, client_start, client_length)))


@nb.njit(cache=True, nogil=True, inline="always")
def fold32(value: np.uint64) -> np.uint32:
    """Fold a 64-bit hash to 32 bits; never 0, which means "absent"."""
    folded = np.uint32((value ^ (value >> _HALF)) & np.uint64(0xFFFFFFFF))
    return folded if folded != 0 else np.uint32(1)


def hash64(data: bytes) -> int:
    """Return the 64-bit hash of some bytes; equals ``hash_slice`` over them."""
    return int(hash_slice(np.frombuffer(data, dtype=np.uint8), 0, len(data)))


def hash32(data: bytes) -> int:
    """Return the 32-bit hash of some bytes, never 0; empty text hashes like any other."""
    return int(fold32(np.uint64(hash64(data))))


@nb.njit(cache=True, nogil=True)
def hash_column(text: U8, start: np.ndarray, length: np.ndarray) -> U64:  # type: ignore[type-arg]
    """Return (n,) uint64 hashes of n slices; used for whole Arrow string columns."""
    out = np.empty(len(start), dtype=np.uint64)
    for i in range(len(start)):
        out[i] = hash_slice(text, start[i], length[i])
    return out
