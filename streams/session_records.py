"""Open sessions as changelog records: what is written at a commit and read back at recovery.

A client's record has the key ``u16 length of merchant, merchant, client`` and the value ``HEADER, events, pending
ids``, little-endian, raw EVENT bytes. The partition's own record has the empty key and holds the watermark.
"""

import struct

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import EVENT, I64, Events
from schemas.hashing import hash_key
from streams.errors import SessionStateError
from streams.session_cut import Pieces, closes_ms, cut
from streams.session_rules import Limits
from streams.session_sweep import keys_of
from streams.session_table import (
    CHANGED,
    DIRTY,
    HIGH,
    KEY_UNITS,
    OPEN,
    OPEN_EVENTS,
    OPEN_KEYS,
    PENDINGS,
    USED,
    Table,
    allocate,
    enter,
    find,
    grown,
    leave,
    size_for,
)

#: First byte of every value; another layout gets another number.
VERSION = 1
WATERMARK_KEY = b""
HEADER = np.dtype(
    {
        "names": ["version", "pending", "n", "run_t", "run_id", "run_n", "applied"],
        "formats": ["u1", "<u2", "<u4", "<i8", "<u8", "<i8", "<i8"],
        "offsets": [0, 2, 4, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
_STORED_PENDING = np.dtype([("old", "<u8"), ("t", "<i8"), ("id", "<u8")])
_WATERMARK = struct.Struct("<B7xq")
_MERCHANT_LENGTH = struct.Struct("<H")


def watermark_value(watermark_ms: int) -> bytes:
    """Return the value of the partition's own record."""
    return _WATERMARK.pack(VERSION, watermark_ms)


def read_watermark(value: bytes) -> int:
    """Return the watermark of the partition's own record; raises SessionStateError."""
    if len(value) != _WATERMARK.size or value[0] != VERSION:
        raise SessionStateError(_damaged(WATERMARK_KEY, value))
    return int(_WATERMARK.unpack(value)[1])


def changed_records(table: Table, committed_offset: int) -> list[tuple[bytes, bytes | None]]:
    """Return the records of every client that changed and clear their marks; None is a tombstone.

    A client without events leaves (tombstone, and out of the table) only if its last event's offset has been committed:
    until then a crash would replay that event, and an unknown client would begin a session that is over. Up to then its
    record is a header alone, whose ``applied`` recognises the replay.
    """
    changed, gone = _changed(table, committed_offset)
    header, events, bounds = _packed(table, changed)
    pending = _pending_of(table)
    headers, slabs = header.tobytes(), events.tobytes()
    records: list[tuple[bytes, bytes | None]] = [(key, None) for key in _keys(table, gone)]
    for s in gone:
        leave(table, s)
    edges = (bounds * EVENT.itemsize).tolist()
    for i, key in enumerate(_keys(table, changed)):
        value = headers[i * HEADER.itemsize : (i + 1) * HEADER.itemsize] + slabs[edges[i] : edges[i + 1]]
        records.append((key, value + pending[int(changed[i])] if int(changed[i]) in pending else value))
    return records


@nb.njit(cache=True, nogil=True)
def _changed(table: Table, committed_offset: int) -> tuple[I64, I64]:
    high = table.counts[HIGH]
    changed, gone = np.empty(high, np.int64), np.empty(high, np.int64)
    changes, leaves = 0, 0
    for s in range(high):
        marks = table.marks[s]
        if marks & USED and not marks & OPEN and table.slots[s].applied <= committed_offset:
            gone[leaves] = s
            leaves += 1
        elif marks & DIRTY:
            table.marks[s] = marks & ~np.uint8(DIRTY)
            changed[changes] = s
            changes += 1
    return changed[:changes], gone[:leaves]


@nb.njit(cache=True, nogil=True)
def forget_closed(table: Table) -> None:
    """Let every client without events leave, where no event can come again (the offline pass writes no changelog)."""
    for s in range(table.counts[HIGH]):
        if table.marks[s] & USED and not table.marks[s] & OPEN:
            leave(table, s)


@nb.njit(cache=True, nogil=True)
def _packed(table: Table, slots: I64) -> tuple[npt.NDArray[np.void], Events, I64]:
    """Return (k,) headers, all their events and the (k + 1,) bounds of each one's."""
    bounds = np.zeros(len(slots) + 1, np.int64)
    header = np.zeros(len(slots), HEADER)
    for i in range(len(slots)):
        slot = table.slots[slots[i]]
        bounds[i + 1] = bounds[i] + slot.n
        head = header[i]
        head.version, head.n, head.applied = VERSION, slot.n, slot.applied
        head.run_t, head.run_id, head.run_n = slot.run_t, slot.run_id, slot.run_n
    for i in range(table.counts[PENDINGS]):
        where = np.searchsorted(slots, table.pending[i].slot)
        if where < len(slots) and slots[where] == table.pending[i].slot:
            header[where].pending += 1
    events = np.empty(bounds[-1], EVENT)
    for i in range(len(slots)):
        slot = table.slots[slots[i]]
        for j in range(slot.n):
            events[bounds[i] + j] = table.events[slot.at + j]
    return header, events, bounds


def _pending_of(table: Table) -> dict[int, bytes]:
    """Return slot -> its pending ids as stored; normally none, as every ``emit`` empties the list."""
    stored: dict[int, bytes] = {}
    for entry in table.pending[: table.counts[PENDINGS]]:
        stored[int(entry["slot"])] = stored.get(int(entry["slot"]), b"") + entry.tobytes()[8:]
    return stored


def _keys(table: Table, slots: I64) -> list[bytes]:
    text, offsets, merchant_n = keys_of(table, slots)
    data, edges = text.tobytes(), offsets.tolist()
    return [_MERCHANT_LENGTH.pack(n) + data[edges[i] : edges[i + 1]] for i, n in enumerate(merchant_n.tolist())]


def merchant_of(key: bytes) -> bytes:
    """Return the merchant of a record's key."""
    return key[2 : 2 + _MERCHANT_LENGTH.unpack_from(key)[0]]


def restored(table: Table, key: bytes, value: bytes | None, gap_ms: int) -> tuple[Table, int]:
    """Return the table (perhaps a larger one) with one client's state as the record says, and its slot to ``settle``.

    A value of None forgets the client; the slot is -1 where there are no events to settle.

    Raises SessionStateError when the record is of another release or damaged.
    """
    text = np.frombuffer(bytearray(key), np.uint8)  # writable, or numba would compile everything once more
    merchant_n = len(merchant_of(key))
    where = (text, 2, merchant_n, 2 + merchant_n, len(key) - 2 - merchant_n)
    key_hash = np.uint64(hash_key(*where))
    known = find(table, key_hash, *where)
    if known >= 0:
        _forget_pending(table, known)
        leave(table, known)
    if value is None:
        return table, -1
    if len(value) < HEADER.itemsize or value[0] != VERSION:
        raise SessionStateError(_damaged(key, value))
    head = np.frombuffer(value, HEADER, 1)[0]
    n, pending_n = int(head["n"]), int(head["pending"])
    if len(value) != HEADER.itemsize + n * EVENT.itemsize + pending_n * _STORED_PENDING.itemsize:
        raise SessionStateError(_damaged(key, value))
    table = grown(table, 1, KEY_UNITS + 2 * n + 2, pending_n)
    s = enter(table, key_hash, *where, gap_ms)
    slot = table.slots[s]
    for name in ("run_t", "run_id", "run_n", "applied"):
        slot[name] = head[name]
    if n:
        _fill(table, s, np.frombuffer(bytearray(value), EVENT, n, HEADER.itemsize))
    stored = np.frombuffer(value, _STORED_PENDING, pending_n, HEADER.itemsize + n * EVENT.itemsize)
    for entry in stored:
        target = table.pending[table.counts[PENDINGS]]
        target["slot"] = s
        for name in ("old", "t", "id"):
            target[name] = entry[name]
        table.counts[PENDINGS] += 1
    return table, s if n else -1


@nb.njit(cache=True, nogil=True)
def _fill(table: Table, s: int, events: Events) -> None:
    slot = table.slots[s]
    slot.n, slot.size = len(events), size_for(len(events))
    slot.at = allocate(table, slot.size)
    for i in range(len(events)):
        table.events[slot.at + i] = events[i]
    table.marks[s] |= OPEN | CHANGED
    table.counts[OPEN_KEYS] += 1
    table.counts[OPEN_EVENTS] += len(events)


@nb.njit(cache=True, nogil=True)
def settle(table: Table, pieces: Pieces, limits: Limits, s: int) -> None:
    """Work out a restored slot's last piece and closing time, which its record does not hold."""
    slot, events = table.slots[s], table.events
    k = cut(events, slot.at, slot.n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, pieces)
    first = pieces[0]
    slot.tail = pieces[k - 1].start
    table.close_ms[s] = closes_ms(events, slot.at, first.start, first.end, first.last, slot.gap_ms, limits.lateness_ms)


def _forget_pending(table: Table, s: int) -> None:
    count = int(table.counts[PENDINGS])
    kept = table.pending[:count][table.pending[:count]["slot"] != s]
    table.pending[: len(kept)] = kept
    table.counts[PENDINGS] = len(kept)


def _damaged(key: bytes, value: bytes) -> str:
    version = value[0] if value else "none"
    return (
        f"The session state of {key[2:]!r} (version {version}, {len(value)} bytes) cannot be read: this release reads "
        f"version {VERSION}. Run the release that wrote it, or delete the topic sessions.changelog to start anew."
    )
