"""Which slot a client has: an index by hash over slots, with the key's bytes to decide."""

import numba as nb
import numpy as np

from schemas.events import U8
from schemas.machine import address, copy_bytes, prefetch
from streams.sessions.table import (
    AWAITED,
    DIRTY,
    FREE_LONG,
    FREE_SLOT,
    HIGH,
    HOT,
    KEYS,
    LISTED,
    LONGS,
    MASK,
    NEVER,
    NO_OFFSET,
    OPEN,
    OPEN_EVENTS,
    OPEN_KEYS,
    SLOT,
    USED,
    WORD_BYTES,
    Table,
    allocate_words,
    free,
    free_words,
)
from streams.sessions.wheel import set_close

SLOT_BYTES = SLOT.itemsize
_TAG_SHIFT = np.uint64(32)
_SLOT_BITS = np.uint64(0xFFFFFFFF)
_NONE = np.uint64(0)


@nb.njit(cache=True, nogil=True, inline="always")
def home(key_hash: np.uint64, mask: int) -> np.int64:
    """Return where in the index the search for a hash begins: by its upper half, which the entries hold."""
    # Signed at once: numba makes floats of signed and unsigned integers together.
    return np.int64(key_hash >> _TAG_SHIFT) & mask


@nb.njit(cache=True, nogil=True, inline="always")
def _entry(key_hash: np.uint64, s: int) -> np.uint64:
    return np.uint64(((key_hash >> _TAG_SHIFT) << _TAG_SHIFT) | np.uint64(s + 1))


@nb.njit(cache=True, nogil=True)
def likely(table: Table, key_hash: np.uint64) -> int:
    """Return the slot that a hash most likely means, -1 for none; for loading it ahead of ``find``."""
    mask = table.counts[MASK]
    i = home(key_hash, mask)
    while table.lookup[i] != _NONE:
        if table.lookup[i] >> _TAG_SHIFT == key_hash >> _TAG_SHIFT:
            return int(np.int64(table.lookup[i] & _SLOT_BITS) - 1)
        i = (i + 1) & mask
    return -1


@nb.njit(cache=True, nogil=True)
def _same(keys: U8, key_at: int, text: U8, start: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 - a generator would be slower compiled
        if keys[key_at + i] != text[start + i]:
            return False
    return True


@nb.njit(cache=True, nogil=True)
def find(
    table: Table, key_hash: np.uint64, text: U8, merchant_at: int, merchant_n: int, client_at: int, client_n: int
) -> int:
    """Return the slot of a client, -1 without one; the key's bytes decide, the hash only leads there."""
    mask = table.counts[MASK]
    i = home(key_hash, mask)
    while table.lookup[i] != _NONE:
        if table.lookup[i] >> _TAG_SHIFT == key_hash >> _TAG_SHIFT:
            s = np.int64(table.lookup[i] & _SLOT_BITS) - 1
            slot = table.slots[s]
            if slot.hash == key_hash and slot.merchant_n == merchant_n and slot.key_n == merchant_n + client_n:
                at = slot.key_at * WORD_BYTES
                if _same(table.keys, at, text, merchant_at, merchant_n) and _same(
                    table.keys, at + merchant_n, text, client_at, client_n
                ):
                    return int(s)
        i = (i + 1) & mask
    return -1


@nb.njit(cache=True, nogil=True)
def enter(
    table: Table,
    key_hash: np.uint64,
    text: U8,
    merchant_at: int,
    merchant_n: int,
    client_at: int,
    client_n: int,
    gap: int,
) -> int:
    """Make a slot without events for a client that has none; the caller has made sure of room."""
    counts = table.counts
    s = counts[FREE_SLOT]
    if s >= 0:
        counts[FREE_SLOT] = table.slots[s].next
        prefetch(address(table.slots) + counts[FREE_SLOT] * SLOT_BYTES)
    else:
        s = counts[HIGH]
        counts[HIGH] += 1
    slot = table.slots[s]
    key_n = merchant_n + client_n
    slot.hash, slot.key_n, slot.merchant_n, slot.gap = key_hash, key_n, merchant_n, gap
    slot.n, slot.tail, slot.size, slot.at, slot.long = 0, 0, -1, 0, -1
    slot.applied, slot.close_ms, slot.next, slot.prev = NO_OFFSET, NEVER, -1, -1
    slot.marks = USED | (slot.marks & (LISTED | AWAITED))
    slot.key_at = allocate_words(table, _words(key_n))
    at = slot.key_at * WORD_BYTES
    copy_bytes(table.keys, at, text, merchant_at, merchant_n)
    copy_bytes(table.keys, at + merchant_n, text, client_at, client_n)
    counts[KEYS] += 1
    if 3 * (counts[MASK] + 1) < 4 * counts[KEYS]:
        _widen(table)
    else:
        _index(table, key_hash, s)
    return int(s)


@nb.njit(cache=True, nogil=True)
def _words(key_n: int) -> int:
    return max(1, (key_n + WORD_BYTES - 1) // WORD_BYTES)


@nb.njit(cache=True, nogil=True)
def _index(table: Table, key_hash: np.uint64, s: int) -> None:
    mask = table.counts[MASK]
    i = home(key_hash, mask)
    while table.lookup[i] != _NONE:
        i = (i + 1) & mask
    table.lookup[i] = _entry(key_hash, s)


@nb.njit(cache=True, nogil=True)
def _widen(table: Table) -> None:
    """Double the index, in place: what lies behind it is zero."""
    counts = table.counts
    table.lookup[: counts[MASK] + 1] = _NONE
    counts[MASK] = 2 * counts[MASK] + 1
    for s in range(counts[HIGH]):
        if table.slots[s].marks & USED:
            _index(table, table.slots[s].hash, s)


@nb.njit(cache=True, nogil=True)
def vacate(table: Table, s: int) -> None:
    """Forget a slot's events; the client stays known with its applied offset."""
    slot = table.slots[s]
    if slot.marks & OPEN:
        table.counts[OPEN_KEYS] -= 1
        table.counts[OPEN_EVENTS] -= slot.n
    head = np.int64(0)
    if slot.long >= 0:
        long = table.longs[slot.long]
        head = np.int64(long.head)
        if long.hot == HOT:
            free(table, np.int64(long.pieces_at), np.int64(long.pieces_size))
        long.hot, long.head, long.run_n, long.run_t, long.run_id = 0, 0, 0, 0, np.uint64(0)
        release_long(table, s)
    if slot.size >= 0:
        free(table, np.int64(slot.at) - head, np.int64(slot.size))
    slot.n, slot.tail, slot.size = 0, 0, -1
    set_close(table, s, np.int64(NEVER))
    slot.marks &= USED | DIRTY | LISTED | AWAITED


@nb.njit(cache=True, nogil=True)
def leave(table: Table, s: int) -> None:
    """Forget a client altogether; records of blocks that it has in the changelog are forgotten too."""
    vacate(table, s)
    counts, slot = table.counts, table.slots[s]
    if slot.long >= 0:
        long = table.longs[slot.long]
        long.blocks_from = long.blocks_to = 0
        release_long(table, s)
    free_words(table, slot.key_at, _words(np.int64(slot.key_n)))
    mask = counts[MASK]
    hole = home(slot.hash, mask)
    while table.lookup[hole] != _entry(slot.hash, s):
        hole = (hole + 1) & mask
    # Backward-shift deletion: no tombstones, so the index never fills up with them.
    i = (hole + 1) & mask
    while table.lookup[i] != _NONE:
        at = home(table.lookup[i], mask)
        if (i - at) & mask >= (i - hole) & mask:
            table.lookup[hole] = table.lookup[i]
            hole = i
        i = (i + 1) & mask
    table.lookup[hole] = _NONE
    slot.marks &= LISTED | AWAITED
    slot.next = counts[FREE_SLOT]
    counts[FREE_SLOT] = s
    counts[KEYS] -= 1


@nb.njit(cache=True, nogil=True)
def long_of(table: Table, s: int) -> int:
    """Return the place of a slot's long-lived part, made if it has none; the caller has made sure of room."""
    slot, counts = table.slots[s], table.counts
    if slot.long < 0:
        place = counts[FREE_LONG]
        if place >= 0:
            counts[FREE_LONG] = table.longs[place].first
        else:
            place = counts[LONGS]
            counts[LONGS] += 1
        long = table.longs[place]
        long.run_t, long.run_id, long.run_n = 0, np.uint64(0), 0
        long.first, long.head, long.hot, long.pieces_n = 0, 0, 0, 0
        long.blocks_from, long.blocks_to = 0, 0
        slot.long = place
    return int(slot.long)


@nb.njit(cache=True, nogil=True)
def release_long(table: Table, s: int) -> None:
    """Drop a slot's long-lived part if nothing needs it any more."""
    slot = table.slots[s]
    long = table.longs[slot.long]
    if long.hot or long.run_n or long.head or long.blocks_to > long.blocks_from:
        return
    long.first = table.counts[FREE_LONG]
    table.counts[FREE_LONG] = slot.long
    slot.long = -1
