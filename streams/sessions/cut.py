"""The cut: which sessions a sorted list of one client's events falls into. Pure, and the whole definition of a session.

Everything else about session windows follows from cutting again: an event that extends a session backwards, merges two
or shifts a cap simply changes the list, so the order in which events arrive cannot matter.
"""

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import FLAG_BOT, Events
from schemas.taxonomy import STRATUM_OF_EVENT
from streams.sessions.rules import ROBOTIC_EVENTS, ROBOTIC_GAP_MS, Limits

#: One session within a client's events ``[start, end)``. A *run* is a maximal stretch without a pause over the gap;
#: caps cut it into pieces, each a session. ``run_t``, ``run_id`` name the run's first event, ``run_n`` counts the run's
#: events before this piece, ``total`` all its events known so far; ``last`` is 1 for the piece that ends the run.
PIECE = np.dtype(
    [
        ("run_t", "<i8"),
        ("run_id", "<u8"),
        ("run_n", "<i8"),
        ("start", "<i4"),
        ("end", "<i4"),
        ("total", "<i4"),
        ("last", "<i4"),
    ]
)
Pieces = npt.NDArray[np.void]
#: ``total`` counts no further; an endless run's revisions end there.
TOTAL_MAX = (1 << 29) - 1

_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(33)
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


@nb.njit(cache=True, nogil=True)
def cut(
    events: Events, at: int, n: int, run_t: int, run_id: np.uint64, run_n: int, gap_ms: int, limits: Limits, out: Pieces
) -> int:
    """Cut ``events[at:at + n]``, sorted by (t, id), into ``out``; return how many pieces there are (at most n).

    ``run_n > 0`` says that the first event continues a run that began at (``run_t``, ``run_id``) and already has
    ``run_n`` events in sessions that are final.
    """
    if n == 0:
        return 0
    if run_n == 0:
        run_t, run_id = events[at].t, events[at].id
    pieces, first_of_run, start = 0, 0, 0
    for j in range(1, n + 1):
        run_ends = j == n or events[at + j].t - events[at + j - 1].t > gap_ms
        if not run_ends and events[at + j].t - events[at + start].t <= limits.max_ms and j - start < limits.max_events:
            continue
        piece = out[pieces]
        piece.start, piece.end, piece.last = start, j, np.int64(run_ends)
        piece.run_t, piece.run_id, piece.run_n = run_t, run_id, run_n
        pieces += 1
        run_n += j - start
        start = j
        if run_ends:
            for k in range(first_of_run, pieces):
                out[k].total = min(run_n, TOTAL_MAX)
            first_of_run, run_n = pieces, 0
            if j < n:
                run_t, run_id = events[at + j].t, events[at + j].id
    return pieces


@nb.njit(cache=True, nogil=True)
def closes_ms(events: Events, at: int, start: int, end: int, last: int, gap_ms: int, lateness_ms: int) -> int:
    """Return the watermark that a piece outlives at most: it is final once the watermark is greater.

    An event that is not late has ``t >= watermark - lateness``. The end of a run stands once such an event can no
    longer be within the gap of it; a piece cut by a cap once such an event can no longer come before the next piece.
    """
    if last:
        return int(events[at + end - 1].t + gap_ms + lateness_ms)
    return int(events[at + end].t + lateness_ms)


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(value: np.uint64) -> np.uint64:
    value ^= value >> _SHIFT
    value *= _MIX_1
    value ^= value >> _SHIFT
    value *= _MIX_2
    return value ^ (value >> _SHIFT)


@nb.njit(cache=True, nogil=True)
def session_hash(key_hash: np.uint64, run_t: int, run_id: np.uint64, start_t: int, start_id: np.uint64) -> np.uint64:
    """Return the 64-bit session id: client and merchant, the run's first event and the session's first event.

    The mixer is MurmurHash3's finaliser, chained over the words.
    """
    state = _mix(key_hash + _GOLDEN)
    state = _mix((state ^ np.uint64(run_t)) + _GOLDEN)
    state = _mix((state ^ run_id) + _GOLDEN)
    state = _mix((state ^ np.uint64(start_t)) + _GOLDEN)
    return np.uint64(_mix((state ^ start_id) + _GOLDEN))


@nb.njit(cache=True, nogil=True)
def hexadecimal(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Return (n, 16) uint8: the values as 16 hexadecimal digits each."""
    out = np.empty((len(values), 16), np.uint8)
    for i in range(len(values)):
        value = values[i]
        for digit in range(15, -1, -1):
            out[i, digit] = _HEX[np.int64(value & np.uint64(15))]
            value >>= np.uint64(4)
    return out


@nb.njit(cache=True, nogil=True)
def deepest_stratum(events: Events, start: int, end: int) -> np.uint8:
    """Return the deepest funnel stratum that ``events[start:end]`` reach."""
    deepest = np.uint8(0)
    for i in range(start, end):
        deepest = max(deepest, STRATUM_OF_EVENT[events[i].event])
    return deepest


@nb.njit(cache=True, nogil=True)
def looks_robotic(events: Events, start: int, end: int, max_events: int) -> bool:
    """Say whether a session is a bot's: marked so at the edge, cut by the cap on events, or clicked too fast.

    Too fast means ROBOTIC_EVENTS or more with at least half of the gaps under ROBOTIC_GAP_MS.
    """
    n = end - start
    quick = 0
    for i in range(start, end):
        if events[i].flags & FLAG_BOT:
            return True
        if i > start and events[i].t - events[i - 1].t < ROBOTIC_GAP_MS:
            quick += 1
    return n >= max_events or (n >= ROBOTIC_EVENTS and 2 * quick >= n - 1)
