"""Giving memory back: a table most of which is free is moved into a new one of the right size."""

from pathlib import Path

import numba as nb
import numpy as np

from schemas.machine import address, move_bytes
from streams.sessions.lent import lent
from streams.sessions.lookup import enter, long_of
from streams.sessions.memory import Reservation
from streams.sessions.table import (
    AWAITED,
    AWAITING,
    CURSOR,
    HIGH,
    HOT,
    KEYS,
    LISTED,
    LIVE_UNITS,
    OPEN_EVENTS,
    OPEN_KEYS,
    PENDINGS,
    SEEN,
    TOUCHED,
    UNIT_BYTES,
    UNITS,
    USED,
    WATERMARK,
    WORD_BYTES,
    Table,
    allocate,
    clear,
    empty_table,
    size_for,
)
from streams.sessions.wheel import set_close

#: Below this much nothing is worth moving.
_LEAST_SLOTS, _LEAST_UNITS = 1 << 14, 1 << 16


def compacted(table: Table, memory: Reservation, folder: Path | None) -> tuple[Table, Reservation]:
    """Return a table with the same clients that holds less memory where much of it is free, else the same one.

    Moving costs as much as the clients that stay, at most a quarter of the slots or half of the slab, and comes after
    at least as many have left.
    """
    counts = table.counts
    if counts[KEYS] == 0 and counts[HIGH] < _LEAST_SLOTS and counts[UNITS] < _LEAST_UNITS:
        if counts[HIGH]:
            clear(table)
        return table, memory
    few = counts[HIGH] >= _LEAST_SLOTS and 4 * counts[KEYS] < counts[HIGH]
    sparse = counts[UNITS] >= _LEAST_UNITS and 2 * counts[LIVE_UNITS] < counts[UNITS]
    if counts[PENDINGS] or not (few or sparse):
        return table, memory
    return moved(table, folder)


def moved(table: Table, folder: Path | None) -> tuple[Table, Reservation]:
    """Return a table with the same clients and no more room than they take; the old one is not touched."""
    smaller, its_memory = empty_table(folder)
    _move_all(table, smaller)
    return smaller, its_memory


@nb.njit(cache=True, nogil=True)
def _move_all(old: Table, new: Table) -> None:
    old, new = lent(old), lent(new)
    for place in (CURSOR, WATERMARK, SEEN, OPEN_KEYS, OPEN_EVENTS):
        new.counts[place] = old.counts[place]
    for s in range(old.counts[HIGH]):
        if old.slots[s].marks & USED:
            _move(old, new, s)


@nb.njit(cache=True, nogil=True)
def _move(old: Table, new: Table, s: int) -> None:
    slot = old.slots[s]
    key_at, merchant_n = np.int64(slot.key_at) * WORD_BYTES, np.int64(slot.merchant_n)
    client_at, client_n = key_at + merchant_n, np.int64(slot.key_n) - merchant_n
    to = enter(new, slot.hash, old.keys, key_at, merchant_n, client_at, client_n, np.int64(slot.gap))
    moved = new.slots[to]
    moved.applied, moved.n, moved.tail, moved.marks = slot.applied, slot.n, slot.tail, slot.marks
    if slot.n:
        n = np.int64(slot.n)
        size = size_for(n)
        at = allocate(new, size)
        moved.size, moved.at = size, at
        _copy(old, new, np.int64(slot.at), at, n)
        set_close(new, to, slot.close_ms)
    if slot.long >= 0:
        place = long_of(new, to)
        new.longs[place] = old.longs[slot.long]
        long = new.longs[place]
        long.head = 0
        if long.hot == HOT:
            at = allocate(new, np.int64(long.pieces_size))
            _copy(old, new, np.int64(long.pieces_at), at, np.int64(long.pieces_n))
            long.pieces_at = at
    if slot.marks & LISTED:
        new.touched[new.counts[TOUCHED]] = to
        new.counts[TOUCHED] += 1
    if slot.marks & AWAITED:
        new.changed[new.counts[AWAITING]] = to
        new.counts[AWAITING] += 1


@nb.njit(cache=True, nogil=True)
def _copy(old: Table, new: Table, source: int, target: int, units: int) -> None:
    origin = address(old.events) + source * UNIT_BYTES
    move_bytes(address(new.events) + target * UNIT_BYTES, origin, units * UNIT_BYTES)
