"""Asking for a client's memory before it is read: with a million of them nothing of theirs is in the cache.

A client is a chain of loads that depend on each other: index, slot, then key and events. Waiting for each in turn would
make an event three times as dear as with ten thousand clients. So loops over clients ask a step at a time, ``AHEAD``
rows between one load and the next of the same client, and its use.
"""

import numba as nb
import numpy as np

from schemas.events import I32, I64, U64
from schemas.machine import address, prefetch
from streams.sessions.lookup import SLOT_BYTES, home, likely
from streams.sessions.table import MASK, UNIT_BYTES, WORD_BYTES, Table

AHEAD = 8
LINE_BYTES = 64
#: Bytes of a client's latest events that are loaded ahead.
LATEST_BYTES = 10 * UNIT_BYTES


@nb.njit(cache=True, nogil=True)
def load_by_hash(table: Table, key_hash: U64, r: int) -> None:
    """Ask for what the rows behind row ``r`` of a batch will read of their clients."""
    if r + 3 * AHEAD < len(key_hash):
        load_entry(table, key_hash[r + 3 * AHEAD])
    if r + 2 * AHEAD < len(key_hash):
        s = likely(table, key_hash[r + 2 * AHEAD])
        if s >= 0:
            load_slot(table, s)
    if r + AHEAD < len(key_hash):
        s = likely(table, key_hash[r + AHEAD])
        if s >= 0:
            load_key(table, s)
            load_events(table, s)


@nb.njit(cache=True, nogil=True)
def load_entry(table: Table, key_hash: np.uint64) -> None:
    """Ask for where the index's search for a hash begins."""
    prefetch(address(table.lookup) + home(key_hash, table.counts[MASK]) * 8)


@nb.njit(cache=True, nogil=True)
def load_slot(table: Table, s: int) -> None:
    """Ask for a slot."""
    prefetch(address(table.slots) + s * SLOT_BYTES)


@nb.njit(cache=True, nogil=True)
def load_key(table: Table, s: int) -> None:
    """Ask for a client's key; its slot is read."""
    slot = table.slots[s]
    key = address(table.words) + slot.key_at * WORD_BYTES
    prefetch(key)
    prefetch(key + slot.key_n - 1)


@nb.njit(cache=True, nogil=True)
def load_events(table: Table, s: int) -> None:
    """Ask for a client's latest events and the place of the next one; its slot is read."""
    slot = table.slots[s]
    begin = address(table.events) + slot.at * UNIT_BYTES
    end = begin + (np.int64(slot.n) + 1) * UNIT_BYTES
    for line in range(max(begin, end - LATEST_BYTES), end, LINE_BYTES):
        prefetch(line)
    prefetch(end - 1)


@nb.njit(cache=True, nogil=True)
def load_slots(table: Table, slots: I32 | I64, i: int) -> None:
    """Ask for the slot of an entry behind place ``i`` of a list of slots."""
    if i + AHEAD < len(slots):
        load_slot(table, slots[i + AHEAD])
