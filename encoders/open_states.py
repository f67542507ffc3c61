"""Where an open session's recurrent state waits until the session comes again with further events, or closes.

A recurrent encoder that has read a session's first ``k`` events need not read them again: its state after them is all
that it knows of them; and a session that comes again with no further event has the latent it had. Both lie in a table
of fixed size, found by the session's first event. They count only if the session still begins with the very events that
were read, so one that a late event has changed is read anew, as is one whose place another session has taken.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import I32, I64, U64, Events

F32 = npt.NDArray[np.float32]

#: Sessions that are kept, at most: some 90 MiB at 64 + 24 numbers each, of which only what is used is ever taken.
CAPACITY = 1 << 18

# Multipliers of MurmurHash3's 64-bit finisher.
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT, _HALF, _BYTE = np.uint64(33), np.uint64(32), np.uint64(8)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of ``n`` sessions.

    read     (n,) int32 events that have been read, 0 of a session that is not known
    states   (n, W) float32 after them
    latents  (n, D) float32 of those that have been read to their end; of others they mean nothing
    """

    read: I32
    states: F32
    latents: F32

    @staticmethod
    def nothing(sessions: int, width: int, latent_width: int) -> "Known":
        """Return that nothing has been read of some sessions."""
        return Known(
            np.zeros(sessions, np.int32),
            np.zeros((sessions, width), np.float32),
            np.empty((sessions, latent_width), np.float32),
        )


class OpenStates:
    """Keeps up to about ``capacity`` (a power of two) sessions. For one thread at a time."""

    def __init__(self, width: int, latent_width: int, capacity: int = CAPACITY) -> None:
        """``width`` numbers make a state, ``latent_width`` a latent."""
        self._prefixes = np.zeros(capacity, np.uint64)
        self._counts = np.zeros(capacity, np.int32)
        self._ended_ms = np.zeros(capacity, np.int64)
        self._states = np.zeros((capacity, width), np.float32)
        self._latents = np.zeros((capacity, latent_width), np.float32)

    def recall(self, events: Events, starts: I64, lengths: I64) -> Known:
        """Return what is known of the sessions ``events[starts[i]:starts[i] + lengths[i]]``."""
        known = Known.nothing(len(starts), self._states.shape[1], self._latents.shape[1])
        _recall(
            events, starts, lengths, self._prefixes, self._counts, self._states, self._latents,
            known.read, known.states, known.latents,
        )  # fmt: skip
        return known

    def keep(self, events: Events, starts: I64, lengths: I64, states: F32, latents: F32) -> None:
        """Keep the states (n, W) and latents (n, D) that reading these sessions to their ends has led to."""
        _keep(
            events, starts, lengths, states, latents,
            self._prefixes, self._counts, self._ended_ms, self._states, self._latents,
        )  # fmt: skip


@nb.njit(cache=True, nogil=True, inline="always")
def _mixed(state: np.uint64, value: np.uint64) -> np.uint64:
    state = (state ^ value) * _MIX_1
    return (state ^ (state >> _SHIFT)) * _MIX_2


@nb.njit(cache=True, nogil=True)
def _prefix(events: Events, start: int, count: int) -> np.uint64:
    """Return the hash of ``count`` events; an event's id stands for what it says, the rest for careless ids."""
    state = np.uint64(count)
    for i in range(start, start + count):
        event = events[i]
        state = _mixed(state, np.uint64(event.id))
        state = _mixed(state, np.uint64(event.t))
        state = _mixed(state, (np.uint64(event.product) << _HALF) | np.uint64(event.category))
        state = _mixed(state, (np.uint64(event.query) << _BYTE) | np.uint64(event.event))
    return state


@nb.njit(cache=True, nogil=True)
def _places(events: Events, start: int, capacity: int) -> tuple[np.int64, np.int64]:
    """Return the two places at which a session that begins with this event may be."""
    mixed = _mixed(_mixed(np.uint64(0), np.uint64(events[start].id)), np.uint64(events[start].t))
    mask = np.uint64(capacity - 1)
    return np.int64((mixed >> _HALF) & mask), np.int64((mixed >> _BYTE) & mask)


@nb.njit(cache=True, nogil=True)
def _recall(
    events: Events,
    starts: I64,
    lengths: I64,
    prefixes: U64,
    counts: I32,
    kept_states: F32,
    kept_latents: F32,
    read: I32,
    states: F32,
    latents: F32,
) -> None:
    for row in range(len(starts)):
        for place in _places(events, starts[row], len(counts)):
            count = counts[place]
            if 0 < count <= lengths[row] and prefixes[place] == _prefix(events, starts[row], count):
                read[row] = count
                states[row] = kept_states[place]
                latents[row] = kept_latents[place]
                break


@nb.njit(cache=True, nogil=True)
def _keep(
    events: Events,
    starts: I64,
    lengths: I64,
    states: F32,
    latents: F32,
    prefixes: U64,
    counts: I32,
    ended_ms: I64,
    kept_states: F32,
    kept_latents: F32,
) -> None:
    for row in range(len(starts)):
        start, length = starts[row], np.int64(lengths[row])
        first, second = _places(events, start, len(counts))
        # Where it lay before; else in the place of whoever clicked last the longer time ago.
        place = first if ended_ms[first] <= ended_ms[second] else second
        for candidate in (first, second):
            count = np.int64(counts[candidate])
            if 0 < count <= length and prefixes[candidate] == _prefix(events, start, count):
                place = candidate
        prefixes[place] = _prefix(events, start, length)
        counts[place] = length
        ended_ms[place] = events[start + length - 1].t
        kept_states[place] = states[row]
        kept_latents[place] = latents[row]
