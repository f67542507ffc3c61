"""Where open sessions live: plain arrays, one ``Table`` per partition.

A client costs 64 bytes of slot, some 17 of index, its name and 40 bytes an event. Objects of a Python class cost 770
bytes and 4 µs per session; this costs a fraction of a microsecond, and the compiled code runs without the
interpreter's lock. The arrays are as large as they may ever become (``sessions.memory``): nothing is moved
as they fill.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import EVENT, I32, I64, U8, U64, Events
from schemas.machine import address, prefetch
from streams.sessions.cut import PIECE, Pieces
from streams.sessions.memory import Reservation

#: One client at one merchant: one cache line.
SLOT = np.dtype(
    [
        ("hash", "<u8"),  # schemas.hashing.hash_key of merchant and client
        ("applied", "<i8"),  # largest source offset that this client's state has seen
        ("close_ms", "<i8"),  # watermark after which the first piece is final
        ("key_at", "<u4"),  # first word of the key's bytes (merchant, then client)
        ("at", "<u4"),  # first unit of the events
        ("n", "<i4"),  # events in the buffer
        ("tail", "<i4"),  # start of the last piece
        ("long", "<i4"),  # place in ``longs``, -1 for none
        ("gap", "<i4"),  # 0 for the usual gap, else 1 + place in the list of other gaps
        ("next", "<i4"),  # next slot in its bucket of the wheel, -1 for none; in a free slot the next free one
        ("prev", "<i4"),  # slot before it; -1 when in no bucket, -2 - bucket for the first one
        ("key_n", "<u2"),
        ("merchant_n", "<u2"),
        ("size", "i1"),  # size class of the buffer, -1 for none
        ("marks", "u1"),
        ("spare", "<u2"),
    ]
)
#: What only few clients need: those whose run goes on from sessions that are final already, and *hot* ones, whose
#: buffer is longer than ``Limits.block`` events. Absolute indices count a hot client's events since it became hot.
LONG = np.dtype(
    [
        ("run_t", "<i8"),  # first event of the run that the first buffered event continues
        ("run_id", "<u8"),
        ("run_n", "<i8"),  # events of that run already final; 0 when the first event begins a run
        ("first", "<i8"),  # absolute index of the first event
        ("dirty", "<i8"),  # absolute index from which on the changelog must be written again
        ("pieces_at", "<u4"),  # first unit of the pieces that the buffer is cut into, kept while hot
        ("pieces_n", "<i4"),
        ("head", "<i4"),  # units in front of the first event that are free again
        ("blocks_from", "<u4"),  # blocks [from, to) have records in the changelog
        ("blocks_to", "<u4"),
        ("pieces_size", "i1"),
        ("hot", "u1"),  # HOT, EXPECTED or 0
        ("spare", "<u2"),
    ]
)
#: An id that must be superseded: the session's old id and the event that it began at.
PENDING = np.dtype([("slot", "<i8"), ("old", "<u8"), ("t", "<i8"), ("id", "<u8")])

# Marks of a slot. LISTED and AWAITED: it stands in the list ``touched``, ``changed``.
USED, OPEN, DIRTY, CHANGED, LISTED, AWAITED = 1, 2, 4, 8, 16, 32

#: A client whose pieces are kept; one of whose record only the head has been restored.
HOT, EXPECTED = 1, 2

# Places in ``counts``.
(
    HIGH, FREE_SLOT, UNITS, LIVE_UNITS, WORDS, LONGS, FREE_LONG, KEYS, OPEN_KEYS, OPEN_EVENTS, PENDINGS, TOUCHED,
    AWAITING, MASK, CURSOR, WATERMARK, SEEN,
) = range(17)  # fmt: skip
FREE_UNITS = 17  # heads of the slab's free lists, one per size class
SIZES = 56
FREE_WORDS = FREE_UNITS + SIZES  # heads of the key area's, one per number of words
#: Words of 8 bytes that the longest admissible key takes, with room to spare.
KEY_WORDS = 96
_COUNTS = FREE_WORDS + KEY_WORDS + 1

#: Before anything was seen; far from overflow when lateness is subtracted.
NO_WATERMARK = -(1 << 62)
NO_OFFSET = -1
UNIT_BYTES = EVENT.itemsize
WORD_BYTES = 8
#: ``close_ms`` of a slot that has nothing to close.
NEVER = 1 << 62
#: ``dirty`` of a hot client of which nothing must be written.
CLEAN = 1 << 62

#: The wheel: a slot waits in the bucket of its closing time, or in an earlier one if that has moved on meanwhile.
BUCKET_BITS = 10  # a bucket is 1.024 s of event time …
BUCKETS = 4096  # … and the wheel 70 minutes; a slot beyond that is looked at once per turn

# The most of everything. Places are 32 bits wide, and only what is used takes memory.
_SLOTS, _UNITS, _WORDS, _PENDINGS, _PIECES = 1 << 27, 1 << 31, 1 << 31, 1 << 26, 1 << 26
_FIRST_MASK = 511


class Table(NamedTuple):
    """The arrays. Slots, units and words below their count in ``counts`` are in use or on a free list."""

    lookup: U64  # open addressing below MASK: upper half of the hash, then 1 + slot; 0 for none
    slots: npt.NDArray[np.void]  # SLOT
    events: Events  # the slab …
    pieces: Pieces  # … and the same memory as pieces
    keys: U8  # the key area …
    words: I64  # … and the same memory as words
    before: Pieces  # scratch: what a client's events were cut into …
    after: Pieces  # … and what they are after an event came in
    longs: npt.NDArray[np.void]  # LONG
    pending: npt.NDArray[np.void]  # PENDING
    touched: I32  # slots that the next snapshot must look at
    changed: I32  # slots with sessions that have changed since they were emitted
    wheel: I32  # first slot of every bucket, -1 for none
    counts: I64
    places: I64  # address and length of each of these arrays, for ``sessions.lent``


#: What the arrays of a table hold, in order.
ARRAYS: dict[str, npt.DTypeLike] = {
    "lookup": np.uint64,
    "slots": SLOT,
    "events": EVENT,
    "pieces": PIECE,
    "keys": np.uint8,
    "words": np.int64,
    "before": PIECE,
    "after": PIECE,
    "longs": LONG,
    "pending": PENDING,
    "touched": np.int32,
    "changed": np.int32,
    "wheel": np.int32,
    "counts": np.int64,
}


def empty_table(folder: Path | None = None) -> tuple[Table, Reservation]:
    """Return a table without clients and the memory behind it; ``folder`` as in ``Reservation``."""
    memory = Reservation(folder)
    slab = memory.array(np.uint8, _UNITS * UNIT_BYTES)
    slab = slab[: len(slab) // UNIT_BYTES * UNIT_BYTES]
    words = memory.array(np.int64, _WORDS)
    counts = np.zeros(_COUNTS, np.int64)
    slots = memory.array(SLOT, _SLOTS)
    counts[CURSOR] = NO_WATERMARK >> BUCKET_BITS
    counts[WATERMARK], counts[SEEN] = NO_WATERMARK, NO_OFFSET
    table = Table(
        lookup=memory.array(np.uint64, 2 * _SLOTS),
        slots=slots,
        events=slab.view(EVENT),
        pieces=slab.view(PIECE),
        keys=words.view(np.uint8),
        words=words,
        before=memory.array(PIECE, _PIECES),
        after=memory.array(PIECE, _PIECES),
        longs=memory.array(LONG, _SLOTS),
        pending=memory.array(PENDING, _PENDINGS),
        touched=memory.array(np.int32, _SLOTS),
        changed=memory.array(np.int32, _SLOTS),
        wheel=np.empty(BUCKETS, np.int32),
        counts=counts,
        places=np.empty(0, np.int64),
    )
    arrays = (getattr(table, name) for name in ARRAYS)
    table = table._replace(places=np.array([(array.ctypes.data, len(array)) for array in arrays], np.int64).reshape(-1))
    clear(table)
    return table, memory


@nb.njit(cache=True, nogil=True)
def clear(table: Table) -> None:
    """Forget every client, in place; watermark, offset and the wheel's position stay."""
    counts = table.counts
    for s in range(counts[HIGH]):
        table.slots[s].marks = 0
    table.lookup[: counts[MASK] + 1] = 0
    table.wheel[:] = -1
    counts[:CURSOR] = 0
    counts[MASK] = _FIRST_MASK
    counts[FREE_SLOT] = counts[FREE_LONG] = -1
    counts[FREE_UNITS:] = -1


def used_bytes(table: Table) -> int:
    """Return the bytes of the arrays that have been written to."""
    counts = table.counts
    used: list[tuple[npt.NDArray[Any], int]] = [
        (table.lookup, MASK),
        (table.slots, HIGH),
        (table.events, UNITS),
        (table.words, WORDS),
        (table.longs, LONGS),
    ]
    return int(sum(array.itemsize * int(counts[place]) for array, place in used)) + table.wheel.nbytes


# The slab: blocks of units in size classes, freed blocks on one list per class.


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
    """Return the first unit of a block; the caller has made sure of room."""
    counts = table.counts
    counts[LIVE_UNITS] += capacity(size)
    at = counts[FREE_UNITS + size]
    if at >= 0:
        following = table.events[at].t  # a free block names the next one in its first bytes
        counts[FREE_UNITS + size] = following
        prefetch(address(table.events) + following * UNIT_BYTES)  # for whoever takes it
        return int(at)
    at = counts[UNITS]
    counts[UNITS] += capacity(size)
    return int(at)


@nb.njit(cache=True, nogil=True)
def free(table: Table, at: int, size: int) -> None:
    """Give a block back to its size class."""
    table.counts[LIVE_UNITS] -= capacity(size)
    table.events[at].t = table.counts[FREE_UNITS + size]
    table.counts[FREE_UNITS + size] = at


@nb.njit(cache=True, nogil=True)
def allocate_words(table: Table, words: int) -> int:
    """Return the first word of a place for a key; the caller has made sure of room."""
    at = table.counts[FREE_WORDS + words]
    if at >= 0:
        following = table.words[at]
        table.counts[FREE_WORDS + words] = following
        prefetch(address(table.words) + following * WORD_BYTES)
        return int(at)
    at = table.counts[WORDS]
    table.counts[WORDS] += words
    return int(at)


@nb.njit(cache=True, nogil=True)
def free_words(table: Table, at: int, words: int) -> None:
    """Give a key's place back."""
    table.words[at] = table.counts[FREE_WORDS + words]
    table.counts[FREE_WORDS + words] = at
