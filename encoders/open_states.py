"""Where an open session's recurrent state waits until the session comes again with further events, or closes.

A recurrent encoder that has read a session's first ``k`` events need not read them again: its state after them is all
that it knows of them; and a session that comes again with no further event has the latent it had. Both lie in a table
of fixed size, found by the session's first event. They count only if the session still begins with the very events that
were read, so one that a late event has changed is read anew, as is one whose place another session has taken.
"""

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import I32, I64, Events
from schemas.machine import address, prefetch

F32 = npt.NDArray[np.float32]

#: Sessions that are kept, at most: some 90 MiB at 64 + 24 numbers each, of which only what is used is ever taken.
CAPACITY = 1 << 18

#: What a session is recognised by: the hash of the events that were read, how many they were, and the last one's time.
HEAD = np.dtype([("prefix", "<u8"), ("count", "<i8"), ("ended_ms", "<i8")])
Heads = npt.NDArray[np.void]
_HEAD_BYTES = HEAD.itemsize
#: Sessions ahead of the one in hand whose places are loaded: the table is larger than any cache.
_AHEAD = 8

# Multipliers of MurmurHash3's 64-bit finisher, then odd ones that tell an event's fields apart.
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_OF_TIME, _OF_PRODUCT, _OF_QUERY = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_SHIFT, _HALF, _BYTE = np.uint64(33), np.uint64(32), np.uint64(8)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of ``n`` sessions.

    read     (n,) int32 events that have been read, 0 of a session that is not known
    states   (n, W) float32 after them, 0 of a session that is not known
    latents  (n, D) float32 of those that have been read to their end; of others they mean nothing
    places   (n,) int64 where the table keeps each; heads (n,) HEAD what it will be recognised by
    """

    read: I32
    states: F32
    latents: F32
    places: I64
    heads: Heads


class OpenStates:
    """Keeps up to about ``capacity`` (a power of two) sessions. For one thread at a time."""

    def __init__(self, width: int, latent_width: int, capacity: int = CAPACITY) -> None:
        """``width`` numbers make a state, ``latent_width`` a latent."""
        self._heads = np.zeros(capacity, HEAD)
        self._states = np.zeros((capacity, width), np.float32)
        self._latents = np.zeros((capacity, latent_width), np.float32)

    def recall(self, events: Events, starts: I64, lengths: I64) -> Known:
        """Return what is known of the sessions ``events[starts[i]:starts[i] + lengths[i]]``, of one event or more."""
        n = len(starts)
        known = Known(
            np.zeros(n, np.int32),
            np.zeros((n, self._states.shape[1]), np.float32),
            np.empty((n, self._latents.shape[1]), np.float32),
            np.empty(n, np.int64),
            np.empty(n, HEAD),
        )
        _recall(
            events, starts, lengths, self._heads, self._states, self._latents,
            known.read, known.states, known.latents, known.places, known.heads,
        )  # fmt: skip
        return known

    def keep(self, known: Known, rows: I64) -> None:
        """Keep some rows of ``recall``'s answer, whose states and latents are by now those of the whole sessions."""
        _keep(rows, known.states, known.latents, known.places, known.heads, self._heads, self._states, self._latents)


@nb.njit(cache=True, nogil=True, inline="always")
def _mixed(state: np.uint64, value: np.uint64) -> np.uint64:
    state = (state ^ value) * _MIX_1
    return (state ^ (state >> _SHIFT)) * _MIX_2


@nb.njit(cache=True, nogil=True, inline="always")
def _value(event: Any) -> np.uint64:
    """Return a number for an event: its id stands for what it says, the rest for careless ids."""
    value = np.uint64(event.id) + np.uint64(event.t) * _OF_TIME
    value += ((np.uint64(event.product) << _HALF) | np.uint64(event.category)) * _OF_PRODUCT
    return value + ((np.uint64(event.query) << _BYTE) | np.uint64(event.event)) * _OF_QUERY


@nb.njit(cache=True, nogil=True, inline="always")
def _places(first_event: np.uint64, mask: np.uint64) -> tuple[np.int64, np.int64]:
    """Return the two places at which a session may be whose first event has this hash."""
    return np.int64((first_event >> _HALF) & mask), np.int64((first_event >> _BYTE) & mask)


@nb.njit(cache=True, nogil=True)
def _recall(
    events: Events,
    starts: I64,
    lengths: I64,
    kept_heads: Heads,
    kept_states: F32,
    kept_latents: F32,
    read: I32,
    states: F32,
    latents: F32,
    places: I64,
    heads: Heads,
) -> None:
    mask = np.uint64(len(kept_heads) - 1)
    for row in range(len(starts)):
        if row + _AHEAD < len(starts):
            prefix = _mixed(np.uint64(0), _value(events[starts[row + _AHEAD]]))
            first, second = _places(prefix, mask)
            prefetch(address(kept_heads) + first * _HEAD_BYTES)
            prefetch(address(kept_heads) + second * _HEAD_BYTES)
        start, length = starts[row], np.int64(lengths[row])
        prefix = np.uint64(0)
        first = second = np.int64(0)
        found = np.int64(-1)
        for count in range(1, length + 1):
            prefix = _mixed(prefix, _value(events[start + count - 1]))
            if count == 1:
                first, second = _places(prefix, mask)
            if kept_heads[first].count == count and kept_heads[first].prefix == prefix:
                found = first
            elif kept_heads[second].count == count and kept_heads[second].prefix == prefix:
                found = second
        if found >= 0:
            read[row] = kept_heads[found].count
            states[row] = kept_states[found]
            latents[row] = kept_latents[found]
        else:
            # In the place of whoever clicked last the longer time ago.
            found = first if kept_heads[first].ended_ms <= kept_heads[second].ended_ms else second
        places[row] = found
        heads[row].prefix, heads[row].count, heads[row].ended_ms = prefix, length, events[start + length - 1].t


@nb.njit(cache=True, nogil=True)
def _keep(
    rows: I64,
    states: F32,
    latents: F32,
    places: I64,
    heads: Heads,
    kept_heads: Heads,
    kept_states: F32,
    kept_latents: F32,
) -> None:
    for row in rows:
        place = places[row]
        kept_heads[place] = heads[row]
        kept_states[place] = states[row]
        kept_latents[place] = latents[row]
