"""Finding what is due without looking at every client: a timing wheel of closing times, and two lists of slots.

Scheme 6 of Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), made lazy: a closing time that moves
on, as it does with every event, leaves its slot where it is, and the bucket's turn puts it further.
"""

import numba as nb

from streams.sessions.table import (
    AWAITED,
    AWAITING,
    BUCKET_BITS,
    BUCKETS,
    CHANGED,
    CURSOR,
    DIRTY,
    LISTED,
    NEVER,
    TOUCHED,
    Table,
)


@nb.njit(cache=True, nogil=True)
def set_close(table: Table, s: int, close_ms: int) -> None:
    """Note when a slot's first piece becomes final; NEVER takes it off the wheel."""
    slot = table.slots[s]
    earlier = close_ms < slot.close_ms
    slot.close_ms = close_ms
    if close_ms == NEVER:
        _unlink(table, s)
    elif slot.prev == -1:
        link(table, s)
    elif earlier:
        _unlink(table, s)
        link(table, s)


@nb.njit(cache=True, nogil=True)
def link(table: Table, s: int) -> None:
    """Put a slot that is in no bucket into that of its closing time, the present one if that is past."""
    slot = table.slots[s]
    bucket = max(slot.close_ms >> BUCKET_BITS, table.counts[CURSOR]) & (BUCKETS - 1)
    first = table.wheel[bucket]
    slot.next, slot.prev = first, -2 - bucket
    if first >= 0:
        table.slots[first].prev = s
    table.wheel[bucket] = s


@nb.njit(cache=True, nogil=True)
def _unlink(table: Table, s: int) -> None:
    slot = table.slots[s]
    if slot.prev == -1:
        return
    if slot.prev >= 0:
        table.slots[slot.prev].next = slot.next
    else:
        table.wheel[-2 - slot.prev] = slot.next
    if slot.next >= 0:
        table.slots[slot.next].prev = slot.prev
    slot.next = slot.prev = -1


@nb.njit(cache=True, nogil=True)
def touch(table: Table, s: int) -> None:
    """Note that a slot's record must be written again."""
    slot = table.slots[s]
    if not slot.marks & LISTED:
        table.touched[table.counts[TOUCHED]] = s
        table.counts[TOUCHED] += 1
    slot.marks |= DIRTY | LISTED


@nb.njit(cache=True, nogil=True)
def await_emission(table: Table, s: int) -> None:
    """Note that a slot has a session that has changed since it was last emitted."""
    slot = table.slots[s]
    if not slot.marks & AWAITED:
        table.changed[table.counts[AWAITING]] = s
        table.counts[AWAITING] += 1
    slot.marks |= CHANGED | AWAITED
