"""Cutting a hot client again from the pieces it had: only what follows the new event, and only at the pieces' ends."""

import numba as nb
import numpy as np

from schemas.events import Events
from streams.sessions.cut import Pieces
from streams.sessions.rules import Limits
from streams.sessions.table import Table


@nb.njit(cache=True, nogil=True)
def piece_before(pieces: Pieces, at: int, count: int, position: int) -> int:
    """Return the last piece that starts before ``position``, the first one when none does."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if pieces[at + middle].start < position:
            low = middle + 1
        else:
            high = middle
    return max(low - 1, 0)


@nb.njit(cache=True, nogil=True)
def cut_on(table: Table, limits: Limits, s: int, position: int, kept: int) -> int:
    """Cut into ``after`` from the start of piece ``kept`` on; return how many pieces there are.

    Where a run ends is known from the old pieces but for the neighbours of the new event, so no event is looked at
    but those at the pieces' ends.
    """
    slot, events = table.slots[s], table.events
    long = table.longs[slot.long]
    at, n, gap_ms = np.int64(slot.at), np.int64(slot.n), limits.gaps_ms[slot.gap]
    old, known = np.int64(long.pieces_at), np.int64(long.pieces_n)
    joins_left = position > 0 and events[at + position].t - events[at + position - 1].t <= gap_ms
    joins_right = position + 1 < n and events[at + position + 1].t - events[at + position].t <= gap_ms
    p = table.pieces[old + kept]
    start, run_t, run_id, run_n = np.int64(p.start), p.run_t, p.run_id, p.run_n
    if position == 0:
        start, run_t, run_id, run_n = np.int64(0), long.run_t, long.run_id, long.run_n
        if run_n == 0:
            run_t, run_id = events[at].t, events[at].id
    count, b, run_end = 0, kept, np.int64(0)
    while start < n:
        if run_end <= start:
            at_boundary = b == kept and position > 0 and table.pieces[old + b].end == position
            at_boundary = at_boundary and table.pieces[old + b].last == 1
            if position == 0 and start == 0 and not joins_right:
                run_end = np.int64(1)
            elif at_boundary and start < position and not joins_left:
                run_end = np.int64(position)
            elif at_boundary and start <= position and not joins_right:
                run_end = np.int64(position + 1)
            else:
                b += int(at_boundary)
                while b < known - 1 and not table.pieces[old + b].last:
                    b += 1
                run_end = np.int64(table.pieces[old + b].end) + 1
                b += 1
        end = _piece_end(events, at, start, min(start + limits.max_events, run_end), limits.max_ms)
        piece = table.after[count]
        piece.start, piece.end, piece.last = start, end, np.int64(end == run_end)
        piece.run_t, piece.run_id, piece.run_n = run_t, run_id, run_n
        count += 1
        run_n += end - start
        start = end
        if end == run_end and start < n:
            run_t, run_id, run_n = events[at + start].t, events[at + start].id, np.int64(0)
    return count


@nb.njit(cache=True, nogil=True)
def _piece_end(events: Events, at: int, start: int, end: int, max_ms: int) -> int:
    """Return ``end``, or the first event before it that is too long after ``start``."""
    begun = events[at + start].t
    if events[at + end - 1].t - begun <= max_ms:
        return end
    low, high = start + 1, end - 1
    while low < high:
        middle = (low + high) // 2
        if events[at + middle].t - begun > max_ms:
            high = middle
        else:
            low = middle + 1
    return low
