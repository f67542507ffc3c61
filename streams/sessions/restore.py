"""Open sessions read back from changelog records: nearly all in one compiled loop, hot clients once all is read."""

import numba as nb
import numpy as np

from schemas.events import I64, U8, Events
from schemas.hashing import hash_key
from schemas.machine import address, move_bytes, uncounted
from schemas.slices import NULL
from streams.broker.record_columns import Records
from streams.errors import SessionStateError
from streams.sessions.cut import closes_ms
from streams.sessions.hot import FLAG_CHANGED, become_hot, pieces_of
from streams.sessions.insert import gap_of, has_room
from streams.sessions.lent import lent
from streams.sessions.lookup import enter, find, leave, long_of, release_long
from streams.sessions.records import (
    BLOCK_BIT,
    HEAD,
    HEAD_BYTES,
    HEADER,
    HEADER_BYTES,
    PENDING_BYTES,
    STORED_PENDING,
    VERSION,
    WATERMARK_KEY,
    WHOLE,
    client_and_block,
    is_block,
)
from streams.sessions.rules import Limits, lent_limits
from streams.sessions.table import (
    CLEAN,
    EXPECTED,
    LISTED,
    OPEN,
    OPEN_EVENTS,
    OPEN_KEYS,
    PENDINGS,
    TOUCHED,
    UNIT_BYTES,
    Table,
    allocate,
    size_for,
)
from streams.sessions.table import WATERMARK as WATERMARK_PLACE
from streams.sessions.values import OLDEST_VERSION, damaged, joined_blocks, key_parts, read_watermark
from streams.sessions.wheel import await_emission, set_close

_Arrays = tuple[U8, I64, I64, U8, I64, I64]


class Recovery:
    """Applies changelog records to one table, in log order, whatever compaction has left of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        #: Of hot clients: the last head, and the blocks by number.
        self._heads: dict[bytes, bytes] = {}
        self._blocks: dict[bytes, dict[int, bytes]] = {}

    @property
    def finished(self) -> bool:
        """Whether every record is in the table."""
        return not self._heads

    def apply(self, table: Table, records: Records) -> None:
        """Apply records. Raises SessionStateError when one is of another release or damaged, or there is no room."""
        keys, values = records.keys, records.values
        # Writable, or numba would compile everything once more; what was fetched is one buffer.
        key_data = keys.data.copy()
        value_data = key_data if values.data is keys.data else values.data.copy()
        arrays = (key_data, keys.starts, keys.lengths, value_data, values.starts, values.lengths)
        row = _apply_rows(table, self._limits, arrays, 0)
        while row < len(records):
            self._apply_other(table, keys[row] or b"", values[row])
            row = _apply_rows(table, self._limits, arrays, row + 1)

    def _apply_other(self, table: Table, key: bytes, value: bytes | None) -> None:
        if key == WATERMARK_KEY:
            if value is not None:
                reached = read_watermark(value)
                table.counts[WATERMARK_PLACE] = max(int(table.counts[WATERMARK_PLACE]), reached)
        elif is_block(key):
            client, number = client_and_block(key)
            if value is not None:
                self._blocks.setdefault(client, {})[number] = value
            elif self._blocks.get(client, {}).pop(number, None) is not None and not self._blocks[client]:
                # No longer hot: a standby that reads on for weeks must not remember every client that ever was.
                del self._blocks[client]
                self._heads.pop(client, None)
        elif value is not None and len(value) >= HEAD_BYTES and value[:2] == bytes([VERSION, HEAD]):
            self._heads[key] = value
            _expect(table, self._limits, *key_parts(key))
        else:
            raise SessionStateError(damaged(key, value or b""))

    def finish(self, table: Table) -> None:
        """Put the hot clients together; called after the last record. Raises SessionStateError like ``apply``."""
        heads, self._heads, blocks, self._blocks = self._heads, {}, self._blocks, {}
        for key, value in heads.items():
            s = _expected(table, *key_parts(key))
            if s < 0:
                # A record of the whole client that came after the head has taken its place.
                continue
            found = blocks.get(key, {})
            head = np.frombuffer(bytearray(value), HEADER, 1)
            first = int.from_bytes(value[HEADER_BYTES:HEAD_BYTES], "little", signed=True)
            events = joined_blocks(key, head, first, found)
            pending = np.frombuffer(bytearray(value[HEAD_BYTES:]), STORED_PENDING)
            same_blocks = int(head[0]["block"]) == self._limits.block
            span = (min(found), max(found) + 1) if found else (0, 0)
            _fill_hot(table, self._limits, s, head, first, events, pending, same_blocks, span)


@nb.njit(cache=True, nogil=True)
def _apply_rows(table: Table, limits: Limits, arrays: _Arrays, row: int) -> int:
    """Apply records of whole clients and their tombstones from ``row`` on; return the first record of another kind."""
    table, limits = lent(table), lent_limits(limits)
    keys, key_at, key_n, values, value_at, value_n = arrays
    keys = uncounted(keys)
    head = np.empty(1, HEADER)
    for r in range(row, len(key_at)):
        at = key_at[r]
        if key_n[r] < 2:
            return r
        merchant_n = np.int64(keys[at]) | np.int64(keys[at + 1]) << 8
        client_n = key_n[r] - 2 - merchant_n
        n, pending = np.int64(0), np.int64(0)
        if merchant_n & BLOCK_BIT or client_n < 0:
            return r
        if value_n[r] != NULL:
            if value_n[r] < HEADER_BYTES:
                return r
            move_bytes(address(head), address(values) + value_at[r], HEADER_BYTES)
            n = np.int64(head[0].n)
            rest = value_n[r] - HEADER_BYTES - n * UNIT_BYTES
            pending = rest // PENDING_BYTES
            known_version = head[0].version >= OLDEST_VERSION and head[0].version <= VERSION
            if not known_version or head[0].kind != WHOLE or rest < 0 or rest % PENDING_BYTES:
                return r
        if not has_room(table, n + pending):
            return r
        merchant_at, client_at = at + 2, at + 2 + merchant_n
        key_hash = hash_key(keys, merchant_at, merchant_n, client_at, client_n)
        _forget(table, find(table, key_hash, keys, merchant_at, merchant_n, client_at, client_n))
        if value_n[r] == NULL:
            continue
        gap = gap_of(limits, keys, merchant_at, merchant_n)
        s = enter(table, key_hash, keys, merchant_at, merchant_n, client_at, client_n, gap)
        _restore_run(table, s, head)
        events_at = address(values) + value_at[r] + HEADER_BYTES
        if n:
            _fill(table, limits, s, events_at, n)
        else:
            # Closed, and waiting for its offset to be committed: to be looked at, not to be written again.
            # A slot that was left and entered again may stand on the list already.
            if not table.slots[s].marks & LISTED:
                table.touched[table.counts[TOUCHED]] = s
                table.counts[TOUCHED] += 1
                table.slots[s].marks |= LISTED
        _restore_pending(table, s, events_at + n * UNIT_BYTES, pending)
    return len(key_at)


@nb.njit(cache=True, nogil=True)
def _forget(table: Table, s: int) -> None:
    """Drop a client's state before a later record of it."""
    if s < 0:
        return
    leave(table, s)
    kept = 0
    for i in range(table.counts[PENDINGS]):
        if table.pending[i].slot != s:
            table.pending[kept] = table.pending[i]
            kept += 1
    table.counts[PENDINGS] = kept


@nb.njit(cache=True, nogil=True)
def _expect(
    table: Table, limits: Limits, text: U8, merchant_at: int, merchant_n: int, client_at: int, client_n: int
) -> None:
    """Keep a place for a hot client whose head has been read."""
    table, limits = lent(table), lent_limits(limits)
    key_hash = hash_key(text, merchant_at, merchant_n, client_at, client_n)
    _forget(table, find(table, key_hash, text, merchant_at, merchant_n, client_at, client_n))
    gap = gap_of(limits, text, merchant_at, merchant_n)
    s = enter(table, key_hash, text, merchant_at, merchant_n, client_at, client_n, gap)
    table.longs[long_of(table, s)].hot = EXPECTED


@nb.njit(cache=True, nogil=True)
def _expected(table: Table, text: U8, merchant_at: int, merchant_n: int, client_at: int, client_n: int) -> int:
    """Return the slot that is kept for a hot client, -1 when there is none any more."""
    table = lent(table)
    key_hash = hash_key(text, merchant_at, merchant_n, client_at, client_n)
    s = find(table, key_hash, text, merchant_at, merchant_n, client_at, client_n)
    if s < 0 or table.slots[s].long < 0 or table.longs[table.slots[s].long].hot != EXPECTED:
        return -1
    return int(s)


@nb.njit(cache=True, nogil=True)
def _restore_run(table: Table, s: int, head: Events) -> None:
    table.slots[s].applied = head[0].applied
    if head[0].run_n:
        long = table.longs[long_of(table, s)]
        long.run_t, long.run_id, long.run_n = head[0].run_t, head[0].run_id, head[0].run_n


@nb.njit(cache=True, nogil=True)
def _restore_pending(table: Table, s: int, stored_at: int, count: int) -> None:
    stored = np.empty(count, STORED_PENDING)
    move_bytes(address(stored), stored_at, count * PENDING_BYTES)
    for i in range(count):
        entry = stored[i]
        target = table.pending[table.counts[PENDINGS]]
        target.slot, target.old, target.t, target.id = s, entry.old, entry.t, entry.id
        table.counts[PENDINGS] += 1


@nb.njit(cache=True, nogil=True)
def _fill(table: Table, limits: Limits, s: int, events_at: int, n: int) -> None:
    """Give a slot its events and work out what the record does not hold: its pieces and closing time."""
    slot, events = table.slots[s], table.events
    size = size_for(n)
    at = allocate(table, size)
    slot.n, slot.size, slot.at = n, size, at
    move_bytes(address(events) + at * UNIT_BYTES, events_at, n * UNIT_BYTES)
    slot.marks |= OPEN
    table.counts[OPEN_KEYS] += 1
    table.counts[OPEN_EVENTS] += n
    if n > limits.block:
        become_hot(table, limits, s)
    pieces, base, k = pieces_of(table, limits, s)
    first = pieces[base]
    slot.tail = pieces[base + k - 1].start
    gap_ms = limits.gaps_ms[slot.gap]
    set_close(table, s, closes_ms(events, at, first.start, first.end, first.last, gap_ms, limits.lateness_ms))
    for q in range(k):
        if events[at + pieces[base + q].start].flags & FLAG_CHANGED:
            await_emission(table, s)
            break


@nb.njit(cache=True, nogil=True)
def _fill_hot(
    table: Table,
    limits: Limits,
    s: int,
    head: Events,
    first: int,
    events: Events,
    pending: Events,
    same_blocks: bool,
    span: tuple[int, int],
) -> None:
    table, limits = lent(table), lent_limits(limits)
    long = table.longs[table.slots[s].long]
    long.hot = 0
    _restore_run(table, s, head)
    _fill(table, limits, s, address(events), len(events))
    long.first, long.blocks_from, long.blocks_to = first, span[0], span[1]
    if same_blocks:
        long.dirty = CLEAN
    _restore_pending(table, s, address(pending), len(pending))
    release_long(table, s)
