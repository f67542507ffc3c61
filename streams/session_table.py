"""Where open sessions live: an open-addressing table of clients over slabs of events, in plain arrays.

One ``Table`` holds one partition. Objects of a Python class cost 770 bytes and 4 µs per session; this costs the events
plus about 200 bytes and a fraction of a microsecond, and the compiled code runs without the interpreter's lock.
"""

from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import EVENT, I32, I64, U8, Events

#: One client at one merchant. Key bytes (merchant, then client) and events lie in the slab, in units of one event.
SLOT = np.dtype(
    [
        ("hash", "<u8"),  # schemas.hashing.hash_key of merchant and client
        ("key_at", "<i8"),  # first unit of the key's bytes
        ("at", "<i8"),  # first unit of the events; in a free slot the next free one
        ("run_t", "<i8"),  # first event of the run that the first buffered event continues
        ("run_id", "<u8"),
        ("run_n", "<i8"),  # events of that run already final; 0 when the first event begins a run
        ("gap_ms", "<i8"),
        ("applied", "<i8"),  # largest source offset that this client's state has seen
        ("n", "<i4"),  # events in the buffer
        ("tail", "<i4"),  # start of the last piece
        ("size", "<i2"),  # size class of the buffer, -1 for none
        ("key_n", "<u2"),
        ("merchant_n", "<u2"),
    ],
    align=True,
)
#: An id that must be superseded: the session's old id and the event that it began at.
PENDING = np.dtype([("slot", "<i8"), ("old", "<u8"), ("t", "<i8"), ("id", "<u8")])

# Marks of a slot.
USED, OPEN, DIRTY, CHANGED = 1, 2, 4, 8

# Places in ``counts``.
HIGH, FREE_SLOT, UNITS, KEYS, OPEN_KEYS, OPEN_EVENTS, PENDINGS, WATERMARK, SEEN = range(9)
FREE_UNITS = 9  # heads of the free lists, one per size class
SIZES = 56

#: Before anything was seen; far from overflow when lateness is subtracted.
NO_WATERMARK = -(1 << 62)
NO_OFFSET = -1
UNIT_BYTES = EVENT.itemsize
#: Units that the longest admissible key may take, rounded up to its size class.
KEY_UNITS = 16
#: ``close_ms`` of a slot that has nothing to close.
NEVER = 1 << 62


class Table(NamedTuple):
    """The arrays; replaced by larger ones as they fill up (``grown``)."""

    lookup: I32  # (power of two,) slot, -1 for none; at most half full
    slots: npt.NDArray[np.void]  # SLOT
    close_ms: I64  # watermark after which the slot's first piece is final
    marks: U8
    events: Events  # the slab as events …
    units: U8  # … and the same memory as bytes
    pending: npt.NDArray[np.void]  # PENDING
    counts: I64


def empty_table(slots: int = 256, units: int = 4096) -> Table:
    """Return a table without clients; ``slots`` is a power of two."""
    slab = np.zeros(units * UNIT_BYTES, np.uint8)
    counts = np.zeros(FREE_UNITS + SIZES, np.int64)
    counts[FREE_SLOT] = counts[SEEN] = NO_OFFSET
    counts[FREE_UNITS:] = -1
    counts[WATERMARK] = NO_WATERMARK
    return Table(
        lookup=np.full(2 * slots, -1, np.int32),
        slots=np.zeros(slots, SLOT),
        close_ms=np.full(slots, NEVER, np.int64),
        marks=np.zeros(slots, np.uint8),
        events=slab.view(EVENT),
        units=slab,
        pending=np.zeros(64, PENDING),
        counts=counts,
    )


def grown(table: Table, slots: int, units: int, pending: int) -> Table:
    """Return a table with room for at least so many more slots, units and pending ids; arrays with room are kept."""
    counts = table.counts
    if counts[FREE_SLOT] < 0 and counts[HIGH] + slots > len(table.slots):
        more = len(table.slots)
        table = table._replace(
            slots=np.concatenate([table.slots, np.zeros(more, SLOT)]),
            close_ms=np.concatenate([table.close_ms, np.full(more, NEVER, np.int64)]),
            marks=np.concatenate([table.marks, np.zeros(more, np.uint8)]),
            lookup=np.full(4 * more, -1, np.int32),
        )
        _reindex(table)
    if counts[UNITS] + units > len(table.events):
        # Half as much again: memory is the state's price, and copying a slab is cheap beside filling it.
        more = max(len(table.events) // 2, units)
        slab = np.concatenate([table.units, np.zeros(more * UNIT_BYTES, np.uint8)])
        table = table._replace(units=slab, events=slab.view(EVENT))
    if counts[PENDINGS] + pending > len(table.pending):
        more = max(len(table.pending), pending)
        table = table._replace(pending=np.concatenate([table.pending, np.zeros(more, PENDING)]))
    return table


@nb.njit(cache=True, nogil=True)
def _reindex(table: Table) -> None:
    for s in range(table.counts[HIGH]):
        if table.marks[s] & USED:
            _place(table.lookup, table.slots[s].hash, s)


@nb.njit(cache=True, nogil=True)
def _home(index: I32, key_hash: np.uint64) -> np.int64:
    # Signed at once: numba makes floats of signed and unsigned integers together.
    return np.int64(key_hash & np.uint64(len(index) - 1))


@nb.njit(cache=True, nogil=True)
def _place(index: I32, key_hash: np.uint64, slot: int) -> None:
    i = _home(index, key_hash)
    while index[i] >= 0:
        i = (i + 1) & (len(index) - 1)
    index[i] = slot


@nb.njit(cache=True, nogil=True)
def _same(units: U8, key_at: int, text: U8, start: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 - a generator would be slower compiled
        if units[key_at + i] != text[start + i]:
            return False
    return True


@nb.njit(cache=True, nogil=True)
def find(
    table: Table, key_hash: np.uint64, text: U8, merchant_at: int, merchant_n: int, client_at: int, client_n: int
) -> int:
    """Return the slot of a client, -1 without one; the key's bytes decide, the hash only leads there."""
    i = _home(table.lookup, key_hash)
    while table.lookup[i] >= 0:
        s = table.lookup[i]
        slot = table.slots[s]
        if slot.hash == key_hash and slot.merchant_n == merchant_n and slot.key_n == merchant_n + client_n:
            at = slot.key_at * UNIT_BYTES
            if _same(table.units, at, text, merchant_at, merchant_n) and _same(
                table.units, at + merchant_n, text, client_at, client_n
            ):
                return int(s)
        i = (i + 1) & (len(table.lookup) - 1)
    return -1


@nb.njit(cache=True, nogil=True)
def capacity(size: int) -> int:
    """Return the units of a size class: 1, 2, 3, 4, 6, 8, 12, 16, …"""
    return 1 if size == 0 else (2 + ((size - 1) & 1)) << ((size - 1) >> 1)


@nb.njit(cache=True, nogil=True)
def size_for(units: int) -> int:
    """Return the smallest size class that holds so many units."""
    size = 0
    while capacity(size) < units:
        size += 1
    return size


@nb.njit(cache=True, nogil=True)
def allocate(table: Table, size: int) -> int:
    """Return the first unit of a block; the caller has made sure of room (``grown``)."""
    at = table.counts[FREE_UNITS + size]
    if at >= 0:
        table.counts[FREE_UNITS + size] = table.events[at].t  # a free block names the next one in its first bytes
        return int(at)
    at = table.counts[UNITS]
    table.counts[UNITS] += capacity(size)
    return int(at)


@nb.njit(cache=True, nogil=True)
def free(table: Table, at: int, size: int) -> None:
    """Give a block back to its size class."""
    table.events[at].t = table.counts[FREE_UNITS + size]
    table.counts[FREE_UNITS + size] = at


@nb.njit(cache=True, nogil=True)
def enter(
    table: Table,
    key_hash: np.uint64,
    text: U8,
    merchant_at: int,
    merchant_n: int,
    client_at: int,
    client_n: int,
    gap_ms: int,
) -> int:
    """Make a slot without events for a client that has none; the caller has made sure of room."""
    counts = table.counts
    s = counts[FREE_SLOT]
    if s >= 0:
        counts[FREE_SLOT] = table.slots[s].at
    else:
        s = counts[HIGH]
        counts[HIGH] += 1
    slot = table.slots[s]
    key_n = merchant_n + client_n
    slot.hash, slot.key_n, slot.merchant_n, slot.gap_ms = key_hash, key_n, merchant_n, gap_ms
    slot.n, slot.tail, slot.size, slot.at = 0, 0, -1, -1
    slot.run_n, slot.run_t, slot.run_id, slot.applied = 0, 0, np.uint64(0), NO_OFFSET
    slot.key_at = allocate(table, size_for((key_n + UNIT_BYTES - 1) // UNIT_BYTES))
    at = slot.key_at * UNIT_BYTES
    for i in range(merchant_n):
        table.units[at + i] = text[merchant_at + i]
    for i in range(client_n):
        table.units[at + merchant_n + i] = text[client_at + i]
    table.marks[s], table.close_ms[s] = USED, NEVER
    _place(table.lookup, key_hash, s)
    counts[KEYS] += 1
    return int(s)


@nb.njit(cache=True, nogil=True)
def vacate(table: Table, s: int) -> None:
    """Forget a slot's events; the client stays known with its applied offset."""
    slot = table.slots[s]
    if table.marks[s] & OPEN:
        table.counts[OPEN_KEYS] -= 1
        table.counts[OPEN_EVENTS] -= slot.n
    if slot.size >= 0:
        free(table, slot.at, slot.size)
    slot.n, slot.tail, slot.size, slot.run_n = 0, 0, -1, 0
    table.close_ms[s] = NEVER
    table.marks[s] &= ~np.uint8(OPEN | CHANGED)


@nb.njit(cache=True, nogil=True)
def leave(table: Table, s: int) -> None:
    """Forget a client altogether. The last one to leave hands the whole slab back."""
    vacate(table, s)
    counts, index, slot = table.counts, table.lookup, table.slots[s]
    free(table, slot.key_at, size_for((slot.key_n + UNIT_BYTES - 1) // UNIT_BYTES))
    mask = len(index) - 1
    hole = _home(index, slot.hash)
    while index[hole] != s:
        hole = (hole + 1) & mask
    # Backward-shift deletion: no tombstones, so the table never fills up with them.
    i = (hole + 1) & mask
    while index[i] >= 0:
        home = _home(index, table.slots[index[i]].hash)
        if (i - home) & mask >= (i - hole) & mask:
            index[hole] = index[i]
            hole = i
        i = (i + 1) & mask
    index[hole] = -1
    table.marks[s] = 0
    slot.at = counts[FREE_SLOT]
    counts[FREE_SLOT] = s
    counts[KEYS] -= 1
    if counts[KEYS] == 0:
        counts[HIGH], counts[FREE_SLOT], counts[UNITS] = 0, -1, 0
        counts[FREE_UNITS:] = -1
