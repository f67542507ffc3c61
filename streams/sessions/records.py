"""Open sessions as changelog records: what is written at a commit. Reading them back is ``sessions.restore``.

A client's record has the key ``u16 length of merchant, merchant, client``. Its value is, little-endian, HEADER, the raw
EVENT bytes and the pending ids. A hot client's, a *head*, has HEADER, the absolute index of its first event and the
pending ids; its events are in block records, whose key is the client's with BLOCK_BIT set in the length and the block's
number (u32) behind it, and whose value is BLOCK and the events. Only blocks that changed are written again, and blocks
that are left behind get tombstones. The partition's own record has the empty key and holds the watermark.

All records of one snapshot must become durable together: head and blocks of a client only make sense as a whole.
"""

import itertools
import struct
from collections.abc import Mapping

import numba as nb
import numpy as np

from schemas.events import I64, U8
from schemas.machine import copy_bytes
from schemas.slices import Slices
from streams.broker.record_columns import Record, Records
from streams.sessions.ahead import AHEAD, load_entry, load_events, load_slots
from streams.sessions.hot import is_hot
from streams.sessions.lent import lent
from streams.sessions.lookup import leave, release_long
from streams.sessions.sweep import keys_of
from streams.sessions.table import (
    CLEAN,
    DIRTY,
    HOT,
    LISTED,
    OPEN,
    PENDINGS,
    TOUCHED,
    UNIT_BYTES,
    USED,
    Table,
)

#: First byte of every value; another layout gets another number. Version 1 knew neither heads nor blocks.
VERSION = 2
#: Second byte: all of a client, a hot client's head, one of its blocks.
WHOLE, HEAD, BLOCK_OF_EVENTS = 0, 1, 2
WATERMARK_KEY = b""
HEADER = np.dtype(
    {
        "names": ["version", "kind", "block", "n", "run_t", "run_id", "run_n", "applied"],
        "formats": ["u1", "u1", "<u2", "<u4", "<i8", "<u8", "<i8", "<i8"],
        "offsets": [0, 1, 2, 4, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
HEADER_BYTES = HEADER.itemsize
HEAD_BYTES = HEADER_BYTES + 8
#: A block's value: version, kind, events in it, absolute index of the first of them.
BLOCK = struct.Struct("<BB2xIq")
BLOCK_NUMBER = struct.Struct("<I")
#: Set in the length that a block's key begins with; no id is so long.
BLOCK_BIT = 0x8000
STORED_PENDING = np.dtype([("old", "<u8"), ("t", "<i8"), ("id", "<u8")])
PENDING_BYTES = STORED_PENDING.itemsize
WATERMARK = struct.Struct("<B7xq")
_MERCHANT_LENGTH = struct.Struct("<H")
_WORD = 8


def changed_records(table: Table, committed_offset: int, block: int) -> Records:
    """Return the records of every client that changed and clear their marks; a null value is a tombstone.

    A client without events leaves (tombstone, and out of the table) only if its last event's offset has been committed:
    until then a crash would replay that event, and an unknown client would begin a session that is over. Up to then its
    record is a header alone, whose ``applied`` recognises the replay.
    """
    changed, gone = _changed(table, committed_offset)
    left: list[Record] = []
    for s in gone[table.slots["long"][gone] >= 0].tolist():
        left += _block_records(table, s, block)
    gone_keys = Slices.between(*_keys(table, gone))
    _leave_all(table, gone)
    heads = Records(Slices.between(*_keys(table, changed)), Slices.between(*_packed(table, changed, block)))
    long = np.flatnonzero(table.slots["long"][changed] >= 0).tolist()
    blocks = {i: some for i in long if (some := _block_records(table, int(changed[i]), block))}
    if blocks:
        heads = _with_blocks(heads, blocks)
    return Records.joined([Records.of(left), Records(gone_keys, Slices.nulls(len(gone))), heads])


def _with_blocks(heads: Records, blocks: Mapping[int, list[Record]]) -> Records:
    """Put blocks behind their clients' heads.

    Where the broker has no transactions, what lies close together most likely travels in one batch, which is whole or
    absent.
    """
    of_blocks = Records.of(list(itertools.chain.from_iterable(blocks.values())))
    owner = np.repeat(list(blocks), [len(some) for some in blocks.values()])
    order = np.argsort(np.concatenate([np.arange(len(heads)), owner]), kind="stable")
    return Records.joined([heads, of_blocks]).at(order)


@nb.njit(cache=True, nogil=True)
def _changed(table: Table, committed_offset: int) -> tuple[I64, I64]:
    """Return the slots whose records must be written and those that leave; who may leave later stays listed."""
    table = lent(table)
    count = table.counts[TOUCHED]
    touched = np.sort(table.touched[:count])
    changed, gone = np.empty(count, np.int64), np.empty(count, np.int64)
    changes, leaves, kept = 0, 0, 0
    for i, s in enumerate(touched):
        load_slots(table, touched, i)
        slot = table.slots[s]
        closed = slot.marks & USED and not slot.marks & OPEN
        if closed and slot.applied <= committed_offset:
            slot.marks &= ~np.uint8(LISTED | DIRTY)
            gone[leaves] = s
            leaves += 1
            continue
        if slot.marks & DIRTY:
            slot.marks &= ~np.uint8(DIRTY)
            changed[changes] = s
            changes += 1
        if closed:
            table.touched[kept] = s
            kept += 1
        else:
            slot.marks &= ~np.uint8(LISTED)
    table.counts[TOUCHED] = kept
    return changed[:changes], gone[:leaves]


@nb.njit(cache=True, nogil=True)
def _leave_all(table: Table, slots: I64) -> None:
    table = lent(table)
    for i, s in enumerate(slots):
        if i + AHEAD < len(slots):
            load_entry(table, table.slots[slots[i + AHEAD]].hash)
        leave(table, s)


@nb.njit(cache=True, nogil=True)
def forget_closed(table: Table) -> None:
    """Let every client without events leave, where no event can come again (the offline pass writes no changelog)."""
    table = lent(table)
    for i in range(table.counts[TOUCHED]):
        s = np.int64(table.touched[i])
        slot = table.slots[s]
        slot.marks &= ~np.uint8(LISTED)
        if slot.marks & USED and not slot.marks & OPEN:
            leave(table, s)
    table.counts[TOUCHED] = 0


@nb.njit(cache=True, nogil=True)
def _packed(table: Table, slots: I64, block: int) -> tuple[U8, I64]:
    """Return the values of some slots' records, one after another, and the (k + 1,) bounds of each one's bytes."""
    table = lent(table)
    pending = np.zeros(len(slots), np.int64)
    for i in range(table.counts[PENDINGS]):
        where = np.searchsorted(slots, table.pending[i].slot)
        if where < len(slots) and slots[where] == table.pending[i].slot:
            pending[where] += 1
    bounds = np.zeros(len(slots) + 1, np.int64)
    for i in range(len(slots)):
        load_slots(table, slots, i)
        inline = _WORD if is_hot(table, slots[i]) else UNIT_BYTES * table.slots[slots[i]].n
        bounds[i + 1] = bounds[i] + HEADER_BYTES + inline + PENDING_BYTES * pending[i]
    values = np.empty(bounds[-1], np.uint8)
    words = values.view(np.int64)
    for i in range(len(slots)):
        if i + AHEAD < len(slots):
            load_events(table, slots[i + AHEAD])
        slot, hot = table.slots[slots[i]], is_hot(table, slots[i])
        at = bounds[i] // _WORD
        words[at] = VERSION | np.int64(hot) << 8 | block << 16 | np.int64(slot.n) << 32
        words[at + 1 : at + 4] = 0
        if slot.long >= 0:
            long = table.longs[slot.long]
            words[at + 1], words[at + 2], words[at + 3] = long.run_t, np.int64(long.run_id), long.run_n
        words[at + 4] = slot.applied
        if hot:
            words[at + 5] = table.longs[slot.long].first
        elif slot.n:
            copy_bytes(values, bounds[i] + HEADER_BYTES, table.events, slot.at * UNIT_BYTES, slot.n * UNIT_BYTES)
        pending[i] = bounds[i + 1] - PENDING_BYTES * pending[i]
    for i in range(table.counts[PENDINGS]):
        entry = table.pending[i]
        where = np.searchsorted(slots, entry.slot)
        if where < len(slots) and slots[where] == entry.slot:
            at = pending[where] // _WORD
            words[at], words[at + 1], words[at + 2] = np.int64(entry.old), entry.t, np.int64(entry.id)
            pending[where] += PENDING_BYTES
    return values, bounds


def _block_records(table: Table, s: int, block: int) -> list[Record]:
    """Return the records of a client's blocks: the changed ones, and tombstones for those that are left behind."""
    slot = table.slots[s]
    long = table.longs[slot["long"]]
    key = _keys(table, np.array([s]))[0].tobytes()
    written = range(int(long["blocks_from"]), int(long["blocks_to"]))
    blocks = range(0)
    records: list[Record] = []
    if long["hot"] == HOT:
        first, n, at = int(long["first"]), int(slot["n"]), int(slot["at"])
        blocks = range(first // block, (first + n - 1) // block + 1)
        for number in range(max(blocks.start, min(int(long["dirty"]) // block, blocks.stop)), blocks.stop):
            start, end = max(first, number * block), min(first + n, (number + 1) * block)
            events = table.events[at + start - first : at + end - first]
            value = BLOCK.pack(VERSION, BLOCK_OF_EVENTS, end - start, start) + events.tobytes()
            records.append((block_key(key, number), value))
        long["dirty"] = CLEAN
    records += [(block_key(key, number), None) for number in written if number not in blocks]
    long["blocks_from"], long["blocks_to"] = blocks.start, blocks.stop
    _release(table, s)
    return records


@nb.njit(cache=True, nogil=True)
def _release(table: Table, s: int) -> None:
    release_long(lent(table), s)


def block_key(key: bytes, number: int) -> bytes:
    """Return the key of a hot client's block."""
    return _MERCHANT_LENGTH.pack(len(merchant_of(key)) | BLOCK_BIT) + key[2:] + BLOCK_NUMBER.pack(number)


def is_block(key: bytes) -> bool:
    """Say whether a record's key is a block's."""
    return len(key) >= 2 and bool(_MERCHANT_LENGTH.unpack_from(key)[0] & BLOCK_BIT)


def client_and_block(key: bytes) -> tuple[bytes, int]:
    """Split a block's key into its client's key and its number."""
    length = _MERCHANT_LENGTH.unpack_from(key)[0] & ~BLOCK_BIT
    return _MERCHANT_LENGTH.pack(length) + key[2 : -BLOCK_NUMBER.size], BLOCK_NUMBER.unpack(key[-BLOCK_NUMBER.size :])[
        0
    ]


def merchant_of(key: bytes) -> bytes:
    """Return the merchant of a client's key."""
    return key[2 : 2 + _MERCHANT_LENGTH.unpack_from(key)[0]]


def watermark_record(watermark_ms: int) -> Record:
    """Return the partition's own record."""
    return WATERMARK_KEY, WATERMARK.pack(VERSION, watermark_ms)


@nb.njit(cache=True, nogil=True)
def _keys(table: Table, slots: I64) -> tuple[U8, I64]:
    """Return the keys of some slots' records, one after another, and the (n + 1,) edges of each one's bytes."""
    text, offsets, merchant_n = keys_of(table, slots)
    edges = offsets + 2 * np.arange(len(offsets))
    keys = np.empty(edges[-1], np.uint8)
    for i in range(len(slots)):
        at = edges[i]
        keys[at], keys[at + 1] = merchant_n[i] & 0xFF, merchant_n[i] >> 8
        copy_bytes(keys, at + 2, text, offsets[i], offsets[i + 1] - offsets[i])
    return keys, edges
