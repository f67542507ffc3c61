"""One event put in its place among its client's: the session it extends, starts, merges or shifts is cut again."""

import numba as nb
import numpy as np

from schemas.events import FLAG_BOT, FLAG_EMITTED, Events
from streams.session_cut import Pieces, closes_ms, cut, session_hash
from streams.session_rules import Limits
from streams.session_table import (
    CHANGED,
    OPEN,
    OPEN_EVENTS,
    OPEN_KEYS,
    PENDINGS,
    Table,
    allocate,
    capacity,
    free,
)

#: Private bit of ``flags``: the session starting here has changed since it was last emitted provisionally.
FLAG_CHANGED = 4


@nb.njit(cache=True, nogil=True)
def place(
    table: Table, scratch: tuple[Pieces, Pieces], limits: Limits, s: int, position: int, source: Events, r: int, t: int
) -> None:
    """Put row ``r`` of ``source`` at ``position`` of its client's buffer, at time ``t``, and cut again where needed."""
    slot = table.slots[s]
    in_order = position == slot.n
    known = 0
    if not in_order:
        known = cut(table.events, slot.at, slot.n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, scratch[0])
    _make_place(table, s, position)
    event = table.events[slot.at + position]
    table.events[slot.at + position] = source[r]
    event.t = t
    event.flags = source[r].flags & FLAG_BOT
    if not table.marks[s] & OPEN:
        table.marks[s] |= OPEN
        table.counts[OPEN_KEYS] += 1
    table.counts[OPEN_EVENTS] += 1
    if in_order:
        _append(table, limits, s)
    else:
        _recut(table, scratch, limits, s, position, known)


@nb.njit(cache=True, nogil=True)
def _make_place(table: Table, s: int, position: int) -> None:
    """Move the events from ``position`` on one place up, into a larger block when the old one is full."""
    slot, events = table.slots[s], table.events
    at, n = slot.at, slot.n
    if slot.size < 0 or n == capacity(slot.size):
        slot.at = allocate(table, slot.size + 1)
        for i in range(position):
            events[slot.at + i] = events[at + i]
        for i in range(position, n):
            events[slot.at + i + 1] = events[at + i]
        if slot.size >= 0:
            free(table, at, slot.size)
        slot.size += 1
    else:
        for i in range(n, position, -1):
            events[at + i] = events[at + i - 1]
    slot.n = n + 1


@nb.njit(cache=True, nogil=True)
def _append(table: Table, limits: Limits, s: int) -> None:
    """Bring the slot up to date after its latest event: the last session grew, or a new one began."""
    slot, events = table.slots[s], table.events
    at, last = slot.at, slot.n - 1
    t = events[at + last].t
    if last == 0:
        slot.tail = 0
        table.close_ms[s] = t + slot.gap_ms + limits.lateness_ms
        return
    if t - events[at + last - 1].t > slot.gap_ms:
        slot.tail = last
        return
    if t - events[at + slot.tail].t > limits.max_ms or last - slot.tail >= limits.max_events:
        if slot.tail == 0:
            table.close_ms[s] = t + limits.lateness_ms
        slot.tail = last
        return
    if slot.tail == 0:
        table.close_ms[s] = t + slot.gap_ms + limits.lateness_ms
    events[at + slot.tail].flags |= FLAG_EMITTED | FLAG_CHANGED
    table.marks[s] |= CHANGED


@nb.njit(cache=True, nogil=True)
def _recut(table: Table, scratch: tuple[Pieces, Pieces], limits: Limits, s: int, position: int, known: int) -> None:
    """Cut again after an event came in between; ids that no longer stand wait in ``pending`` to be superseded.

    FLAG_EMITTED marks the start of every session that has ever had two events under its present id: only such an id can
    have been emitted. Marking on insertion, not on emission, makes the superseded rows a function of the order of
    arrival alone, so that a crash between an emission and the changelog cannot leave an id behind that nobody recalls.
    """
    before, pieces = scratch
    slot, events = table.slots[s], table.events
    at = slot.at
    k = cut(events, at, slot.n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, pieces)
    q = 0
    for b in range(known):
        old = before[b]
        start = old.start + np.int64(old.start >= position)
        first = events[at + start]
        if not first.flags & FLAG_EMITTED:
            continue
        while q < k and pieces[q].start < start:
            q += 1
        stands = q < k and pieces[q].start == start
        if not (stands and pieces[q].run_t == old.run_t and pieces[q].run_id == old.run_id):
            first.flags &= FLAG_BOT
            entry = table.pending[table.counts[PENDINGS]]
            entry.slot, entry.t, entry.id = s, first.t, first.id
            entry.old = session_hash(slot.hash, old.run_t, old.run_id, first.t, first.id)
            table.counts[PENDINGS] += 1
    touched = 0
    while pieces[touched].end <= position:
        touched += 1
    for q in range(touched, k):
        p = pieces[q]
        if p.run_t != pieces[touched].run_t or p.run_id != pieces[touched].run_id:
            break
        if p.end - p.start >= 2:
            events[at + p.start].flags |= FLAG_EMITTED
        if events[at + p.start].flags & FLAG_EMITTED:
            events[at + p.start].flags |= FLAG_CHANGED
            table.marks[s] |= CHANGED
    slot.tail = pieces[k - 1].start
    table.close_ms[s] = closes_ms(
        events, at, pieces[0].start, pieces[0].end, pieces[0].last, slot.gap_ms, limits.lateness_ms
    )
