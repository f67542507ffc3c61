"""Hot clients, with thousands of events in open sessions: their pieces are kept, so an event costs what it moves.

A client is hot while its buffer holds more than ``Limits.block`` events. Cutting them all at every event out of order,
every emission and every superseded id would cost a pass over the buffer each time; from kept pieces only those after
the event are found again, one step per piece, and what is closed is dropped by moving the buffer's beginning.
"""

import numba as nb
import numpy as np

from schemas.events import FLAG_BOT, FLAG_EMITTED
from schemas.machine import address, move_bytes
from streams.sessions.cut import TOTAL_MAX, Pieces, closes_ms, cut, session_hash
from streams.sessions.lookup import long_of, release_long
from streams.sessions.recut import cut_on, piece_before
from streams.sessions.rules import Limits
from streams.sessions.table import (
    HOT,
    PENDINGS,
    UNIT_BYTES,
    Table,
    allocate,
    capacity,
    free,
    size_for,
)
from streams.sessions.wheel import await_emission, set_close

#: Private bit of ``flags``: the session starting here has changed since it was last emitted provisionally.
FLAG_CHANGED = 4


@nb.njit(cache=True, nogil=True)
def is_hot(table: Table, s: int) -> bool:
    """Say whether a client's pieces are kept."""
    long = table.slots[s].long
    return bool(long >= 0 and table.longs[long].hot == HOT)


@nb.njit(cache=True, nogil=True)
def cut_slot(table: Table, limits: Limits, s: int, out: Pieces) -> int:
    """Cut all of a client's events into ``out``; return how many pieces there are."""
    slot = table.slots[s]
    run_t, run_id, run_n = np.int64(0), np.uint64(0), np.int64(0)
    if slot.long >= 0:
        long = table.longs[slot.long]
        run_t, run_id, run_n = long.run_t, long.run_id, long.run_n
    at, n, gap_ms = np.int64(slot.at), np.int64(slot.n), limits.gaps_ms[slot.gap]
    return int(cut(table.events, at, n, run_t, run_id, run_n, gap_ms, limits, out))


@nb.njit(cache=True, nogil=True)
def pieces_of(table: Table, limits: Limits, s: int) -> tuple[Pieces, int, int]:
    """Return a client's pieces: the array, the place of the first one, and how many. Not to be changed."""
    if not is_hot(table, s):
        return table.before, 0, cut_slot(table, limits, s, table.before)
    long = table.longs[table.slots[s].long]
    pieces, at, count = table.pieces, int(long.pieces_at), int(long.pieces_n)
    for q in range(count - 1, -1, -1):
        p = pieces[at + q]
        p.total = min(p.run_n + p.end - p.start, TOTAL_MAX) if p.last else pieces[at + q + 1].total
    return pieces, at, count


@nb.njit(cache=True, nogil=True)
def move_events(table: Table, target: int, source: int, count: int) -> None:
    """Copy events within the slab; the stretches may overlap."""
    if count > 0:
        base = address(table.events)
        move_bytes(base + target * UNIT_BYTES, base + source * UNIT_BYTES, count * UNIT_BYTES)


@nb.njit(cache=True, nogil=True)
def become_hot(table: Table, limits: Limits, s: int) -> None:
    """Keep a client's pieces from now on."""
    count = cut_slot(table, limits, s, table.after)
    long = table.longs[long_of(table, s)]
    long.hot, long.first, long.dirty, long.pieces_n = HOT, 0, 0, 0
    size = size_for(count + 4)
    long.pieces_size, long.pieces_at = size, allocate(table, size)
    _keep(table, s, np.int64(0), np.int64(count))


@nb.njit(cache=True, nogil=True)
def _keep(table: Table, s: int, kept: int, count: int) -> None:
    """Let ``after[:count]`` follow the first ``kept`` pieces."""
    long = table.longs[table.slots[s].long]
    if kept + count > capacity(long.pieces_size):
        at, size = np.int64(long.pieces_at), size_for(kept + count)
        to = allocate(table, size)
        move_events(table, to, at, kept)  # a piece is as large as an event
        free(table, at, np.int64(long.pieces_size))
        long.pieces_at, long.pieces_size = to, size
    for q in range(count):
        table.pieces[long.pieces_at + kept + q] = table.after[q]
    long.pieces_n = kept + count


@nb.njit(cache=True, nogil=True)
def become_cold(table: Table, s: int) -> None:
    """Keep a client's pieces no longer; its events move to the front of a block of their size."""
    slot = table.slots[s]
    long = table.longs[slot.long]
    free(table, np.int64(long.pieces_at), np.int64(long.pieces_size))
    long.hot, long.pieces_n = 0, 0
    refit(table, s, np.int64(table.slots[s].n))
    release_long(table, s)


@nb.njit(cache=True, nogil=True)
def roomy(n: int) -> int:
    """Return the units for ``n`` events of a hot client: a quarter spare, so that moving them is paid by the next."""
    return n + n // 4 + 1


@nb.njit(cache=True, nogil=True)
def refit(table: Table, s: int, units: int) -> None:
    """Move a client's events, without a gap in front, into a block of at least so many units."""
    slot = table.slots[s]
    long = table.longs[slot.long]
    at, size = np.int64(slot.at), size_for(units)
    to = allocate(table, size)
    move_events(table, to, at, np.int64(slot.n))
    free(table, at - long.head, np.int64(slot.size))
    slot.at, slot.size, long.head = to, size, 0


@nb.njit(cache=True, nogil=True)
def mark_from(table: Table, s: int, position: int) -> None:
    """Note that a hot client's events from ``position`` on must be written again."""
    long = table.longs[table.slots[s].long]
    long.dirty = min(long.dirty, long.first + position)


@nb.njit(cache=True, nogil=True)
def append_piece(table: Table, s: int, begins_run: bool) -> None:
    """Begin a new piece with a hot client's latest event."""
    slot = table.slots[s]
    long = table.longs[slot.long]
    previous = table.pieces[long.pieces_at + long.pieces_n - 1]
    piece = table.after[0]
    start = slot.n - 1
    piece.start, piece.end, piece.last = start, slot.n, 1
    if begins_run:
        event = table.events[slot.at + start]
        piece.run_t, piece.run_id, piece.run_n = event.t, event.id, 0
    else:
        previous.last = 0
        piece.run_t, piece.run_id = previous.run_t, previous.run_id
        piece.run_n = previous.run_n + previous.end - previous.start
    _keep(table, s, np.int64(long.pieces_n), np.int64(1))


@nb.njit(cache=True, nogil=True)
def extend_piece(table: Table, s: int) -> None:
    """Let a hot client's latest event belong to its last piece."""
    long = table.longs[table.slots[s].long]
    table.pieces[long.pieces_at + long.pieces_n - 1].end += 1


@nb.njit(cache=True, nogil=True)
def drop_front(table: Table, limits: Limits, s: int, closed: int) -> None:
    """Remove the first ``closed`` pieces of a hot client, not all of them."""
    slot = table.slots[s]
    long = table.longs[slot.long]
    at = long.pieces_at
    dropped = table.pieces[at + closed - 1].end
    long.pieces_n -= closed
    for q in range(long.pieces_n):
        table.pieces[at + q] = table.pieces[at + q + closed]
        table.pieces[at + q].start -= dropped
        table.pieces[at + q].end -= dropped
    first = table.pieces[at]
    long.run_t, long.run_id, long.run_n = first.run_t, first.run_id, first.run_n
    long.first += dropped
    long.head += dropped
    slot.at += dropped
    slot.n -= dropped
    slot.tail -= dropped
    if slot.n <= limits.block:
        become_cold(table, s)
    elif 4 * slot.n < capacity(slot.size):
        refit(table, s, roomy(np.int64(slot.n)))


@nb.njit(cache=True, nogil=True)
def recut_hot(table: Table, limits: Limits, s: int, position: int) -> None:
    """Cut a hot client again after an event came in between at ``position``; as ``session_place.recut`` does."""
    slot, events = table.slots[s], table.events
    long = table.longs[slot.long]
    at, first_piece, known = np.int64(slot.at), np.int64(long.pieces_at), np.int64(long.pieces_n)
    kept = piece_before(table.pieces, first_piece, known, position)
    pieces = table.after
    count = cut_on(table, limits, s, position, kept)
    q = 0
    for b in range(kept, known):
        old = table.pieces[first_piece + b]
        start = old.start + np.int64(old.start >= position)
        first = events[at + start]
        if not first.flags & FLAG_EMITTED:
            continue
        while q < count and pieces[q].start < start:
            q += 1
        stands = q < count and pieces[q].start == start
        if not (stands and pieces[q].run_t == old.run_t and pieces[q].run_id == old.run_id):
            supersede_later(table, s, old.run_t, old.run_id, at + start)
    touched = 0
    while pieces[touched].end <= position:
        touched += 1
    mark_changed(table, s, pieces, touched, count)
    mark_from(table, s, min(position, np.int64(pieces[touched].start)))
    slot.tail = pieces[count - 1].start
    _keep(table, s, kept, count)
    p = table.pieces[long.pieces_at]
    gap_ms = limits.gaps_ms[slot.gap]
    set_close(table, s, closes_ms(events, at, p.start, p.end, p.last, gap_ms, limits.lateness_ms))


@nb.njit(cache=True, nogil=True)
def mark_changed(table: Table, s: int, pieces: Pieces, touched: int, count: int) -> None:
    """Mark the piece an event came into and those after it in its run: they changed, or count a larger total."""
    events, at = table.events, table.slots[s].at
    for q in range(touched, count):
        p = pieces[q]
        if p.run_t != pieces[touched].run_t or p.run_id != pieces[touched].run_id:
            break
        if p.end - p.start >= 2:
            events[at + p.start].flags |= FLAG_EMITTED
        if events[at + p.start].flags & FLAG_EMITTED:
            events[at + p.start].flags |= FLAG_CHANGED
            await_emission(table, s)


@nb.njit(cache=True, nogil=True)
def supersede_later(table: Table, s: int, run_t: int, run_id: np.uint64, at: int) -> None:
    """Let the id of the session that began at event ``at`` of the slab wait to be superseded."""
    first = table.events[at]
    first.flags &= FLAG_BOT
    entry = table.pending[table.counts[PENDINGS]]
    entry.slot, entry.t, entry.id = s, first.t, first.id
    entry.old = session_hash(table.slots[s].hash, run_t, run_id, first.t, first.id)
    table.counts[PENDINGS] += 1
