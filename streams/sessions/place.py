"""One event put in its place among its client's: the session it extends, starts, merges or shifts is cut again."""

import numba as nb
import numpy as np

from schemas.events import FLAG_BOT, FLAG_EMITTED, Events
from streams.sessions.cut import closes_ms
from streams.sessions.hot import (
    FLAG_CHANGED,
    append_piece,
    become_hot,
    cut_slot,
    extend_piece,
    is_hot,
    mark_changed,
    mark_from,
    move_events,
    recut_hot,
    refit,
    roomy,
    supersede_later,
)
from streams.sessions.rules import Limits
from streams.sessions.table import OPEN, OPEN_EVENTS, OPEN_KEYS, Table, allocate, capacity, free
from streams.sessions.wheel import await_emission, set_close


@nb.njit(cache=True, nogil=True)
def place(table: Table, limits: Limits, s: int, position: int, source: Events, r: int, t: int) -> None:
    """Put row ``r`` of ``source`` at ``position`` of its client's buffer, at time ``t``, and cut again where needed."""
    slot = table.slots[s]
    in_order, hot = position == slot.n, is_hot(table, s)
    known = 0
    if not in_order and not hot:
        known = cut_slot(table, limits, s, table.before)
    _make_place(table, s, position)
    event = table.events[slot.at + position]
    table.events[slot.at + position] = source[r]
    event.t = t
    event.flags = source[r].flags & FLAG_BOT
    if not slot.marks & OPEN:
        slot.marks |= OPEN
        table.counts[OPEN_KEYS] += 1
    table.counts[OPEN_EVENTS] += 1
    if in_order:
        _append(table, limits, s, hot)
    elif hot:
        recut_hot(table, limits, s, position)
    else:
        _recut(table, limits, s, position, known)
    if not hot and slot.n > limits.block:
        become_hot(table, limits, s)


@nb.njit(cache=True, nogil=True)
def _make_place(table: Table, s: int, position: int) -> None:
    """Move the events from ``position`` on one place up, into a larger block when the old one is full."""
    slot = table.slots[s]
    n, head = np.int64(slot.n), np.int64(0)
    if slot.long >= 0:
        head = np.int64(table.longs[slot.long].head)
    if slot.size < 0 or head + n == capacity(np.int64(slot.size)):
        if 2 * head > n:
            # What has closed in front is room enough: the gap there costs less than a larger block.
            at = np.int64(slot.at)
            move_events(table, at - head, at, n)
            slot.at = at - head
            table.longs[slot.long].head = 0
        elif head:
            refit(table, s, roomy(n))
        else:
            at, size = np.int64(slot.at), np.int64(slot.size)
            to = allocate(table, size + 1)
            move_events(table, to, at, position)
            move_events(table, to + position + 1, at + position, n - position)
            if size >= 0:
                free(table, at, size)
            slot.at, slot.size, slot.n = to, size + 1, n + 1
            return
    at = np.int64(slot.at)
    move_events(table, at + position + 1, at + position, n - position)
    slot.n = n + 1


@nb.njit(cache=True, nogil=True)
def _append(table: Table, limits: Limits, s: int, hot: bool) -> None:
    """Bring the slot up to date after its latest event: the last session grew, or a new one began."""
    slot, events = table.slots[s], table.events
    at, last, gap_ms = np.int64(slot.at), np.int64(slot.n) - 1, limits.gaps_ms[slot.gap]
    t = events[at + last].t
    if hot:
        mark_from(table, s, last)
    if last == 0:
        slot.tail = 0
        set_close(table, s, t + gap_ms + limits.lateness_ms)
        return
    begins_run = t - events[at + last - 1].t > gap_ms
    if begins_run or t - events[at + slot.tail].t > limits.max_ms or last - slot.tail >= limits.max_events:
        if slot.tail == 0 and not begins_run:
            set_close(table, s, t + limits.lateness_ms)
        slot.tail = last
        if hot:
            append_piece(table, s, begins_run)
        return
    if slot.tail == 0:
        set_close(table, s, t + gap_ms + limits.lateness_ms)
    first = events[at + slot.tail]
    if hot:
        extend_piece(table, s)
        if first.flags & FLAG_EMITTED == 0 or first.flags & FLAG_CHANGED == 0:
            mark_from(table, s, np.int64(slot.tail))
    first.flags |= FLAG_EMITTED | FLAG_CHANGED
    await_emission(table, s)


@nb.njit(cache=True, nogil=True)
def _recut(table: Table, limits: Limits, s: int, position: int, known: int) -> None:
    """Cut again after an event came in between; ids that no longer stand wait in ``pending`` to be superseded.

    FLAG_EMITTED marks the start of every session that has ever had two events under its present id: only such an id can
    have been emitted. Marking on insertion, not on emission, makes the superseded rows a function of the order of
    arrival alone, so that a crash between an emission and the changelog cannot leave an id behind that nobody recalls.
    """
    before, pieces = table.before, table.after
    slot, events = table.slots[s], table.events
    at = np.int64(slot.at)
    k = cut_slot(table, limits, s, pieces)
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
            supersede_later(table, s, old.run_t, old.run_id, at + start)
    touched = 0
    while pieces[touched].end <= position:
        touched += 1
    mark_changed(table, s, pieces, touched, k)
    slot.tail = pieces[k - 1].start
    p = pieces[0]
    gap_ms = limits.gaps_ms[slot.gap]
    set_close(table, s, closes_ms(events, at, p.start, p.end, p.last, gap_ms, limits.lateness_ms))
