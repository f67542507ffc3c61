"""Taking events in: each is judged, found to be new, put in its place, and the sessions around it cut again."""

from typing import Any

import numba as nb
import numpy as np

from schemas.events import I32, I64, U8, U64, EventBatch, Events
from schemas.hashing import hash_slice
from schemas.rejections import CODE_OF_REASON
from streams.session_cut import Pieces, closes_ms, cut
from streams.session_place import place
from streams.session_rules import Limits
from streams.session_table import (
    DIRTY,
    FREE_SLOT,
    HIGH,
    KEY_UNITS,
    OPEN,
    PENDINGS,
    SEEN,
    UNITS,
    WATERMARK,
    Table,
    enter,
    find,
)

#: Fault of a row that holds no event (a watermark record): neither counted nor rejected.
NOT_AN_EVENT = 255
#: A retry normally has its original's time and is found by bisection. Where the client's clock is ahead, ``t`` is the
#: time of receipt and differs, so this many of the latest events are compared by id as well.
RETRY_SCAN = 64

#: A batch's arrays, in the order of ``columns``.
Columns = tuple[Events, I64, U64, U8, I64, I32, I64, I32, U8]

# Places in the tally of one call.
ACCEPTED, DUPLICATES, REPLAYED, REJECTED = range(4)

_LATE = np.uint8(CODE_OF_REASON["late"])
_BEHIND = np.uint8(CODE_OF_REASON["behind_watermark"])


@nb.njit(cache=True, nogil=True)
def insert_rows(
    table: Table,
    scratch: tuple[Pieces, Pieces],
    limits: Limits,
    batch: Columns,
    offsets: I64,
    row: int,
    disorder_ms: int,
    gaps: tuple[int, U64, I64],
    rejected_rows: I64,
    rejected_reasons: U8,
    tally: I64,
) -> int:
    """Take rows from ``row`` on; return the first row for which there was no room, or the number of rows.

    ``gaps`` is (the usual gap, sorted hashes of merchants with another one, their gaps).
    """
    events, received, key_hash, text, merchant_at, merchant_n, client_at, client_n, fault = batch
    counts = table.counts
    for r in range(row, len(events)):
        reason = fault[r]
        t = min(events[r].t, received[r])
        # While t is the time of occurrence the difference is the delay; where it is the time of receipt it is 0.
        if reason == 0 and received[r] - t > limits.lateness_ms:
            reason = _LATE
        if reason == 0:
            s = find(table, key_hash[r], text, merchant_at[r], merchant_n[r], client_at[r], client_n[r])
            if not _has_room(table, scratch, s):
                return r
            watermark = counts[WATERMARK]
            counts[WATERMARK] = max(watermark, t - disorder_ms)
            if s >= 0 and offsets[r] <= table.slots[s].applied:
                tally[REPLAYED] += 1
                continue
            if t < watermark - limits.lateness_ms and _is_behind(
                table, scratch[0], limits, s, t, events[r].id, watermark
            ):
                reason = _BEHIND
            else:
                if s < 0:
                    gap_ms = _gap_of(gaps, text, merchant_at[r], merchant_n[r])
                    s = enter(
                        table, key_hash[r], text, merchant_at[r], merchant_n[r], client_at[r], client_n[r], gap_ms
                    )
                position = _position(table, s, t, events[r].id)
                if position < 0:
                    tally[DUPLICATES] += 1
                else:
                    place(table, scratch, limits, s, position, events, r, t)
                    table.marks[s] |= DIRTY
                    tally[ACCEPTED] += 1
            if s >= 0:
                table.slots[s].applied = offsets[r]
                if reason:
                    table.marks[s] |= DIRTY
        if reason and reason != NOT_AN_EVENT:
            rejected_rows[tally[REJECTED]] = r
            rejected_reasons[tally[REJECTED]] = reason
            tally[REJECTED] += 1
    if len(offsets):
        counts[SEEN] = max(counts[SEEN], offsets[-1])
    return len(events)


def columns(batch: EventBatch, offsets: I64) -> tuple[Columns, I64]:
    """Return a batch and its offsets as the arrays that ``insert_rows`` takes: contiguous and writable.

    Read-only or strided arrays (slices of records, of Arrow buffers) are other types to numba, and each combination of
    types costs seconds of compilation; copying such an array costs nanoseconds per event.
    """
    arrays = (
        batch.events,
        batch.received_ms,
        batch.key_hash,
        batch.text,
        batch.merchant_start,
        batch.merchant_length,
        batch.client_start,
        batch.client_length,
        batch.fault,
    )
    plain: Any = tuple(np.require(array, requirements=["C", "W"]) for array in arrays)
    return plain, np.require(offsets, np.int64, ["C", "W"])


@nb.njit(cache=True, nogil=True)
def _has_room(table: Table, scratch: tuple[Pieces, Pieces], s: int) -> bool:
    """Say whether one more event fits whatever it brings: a slot, a key, a larger buffer, a superseded id per piece."""
    counts = table.counts
    n = table.slots[s].n if s >= 0 else 0
    return (
        (s >= 0 or counts[FREE_SLOT] >= 0 or counts[HIGH] < len(table.slots))
        and counts[UNITS] + KEY_UNITS + 2 * n + 2 <= len(table.events)
        and counts[PENDINGS] + n + 1 <= len(table.pending)
        and n + 2 <= len(scratch[0])
    )


@nb.njit(cache=True, nogil=True)
def _gap_of(gaps: tuple[int, U64, I64], text: U8, at: int, n: int) -> int:
    usual, hashes, overrides = gaps
    if len(hashes):
        wanted = hash_slice(text, at, n)
        i = np.searchsorted(hashes, wanted)
        if i < len(hashes) and hashes[i] == wanted:
            return int(overrides[i])
    return int(usual)


@nb.njit(cache=True, nogil=True)
def _is_behind(table: Table, pieces: Pieces, limits: Limits, s: int, t: int, event: np.uint64, watermark: int) -> bool:
    """Say whether an event may touch a session that the watermark has closed; asked where ``t < watermark - lateness``.

    In the order of receipt that cannot happen to an event that is not late: the watermark is at most its
    ``received_at``, so ``t >= received_at - lateness >= watermark - lateness``. In another order it is still harmless
    when the event comes after the start of the client's first session that is open: what is closed lies before that
    start and was cut off from it for good. The answer rests on the watermark, not on whether ``emit`` has run.
    """
    if s < 0 or not table.marks[s] & OPEN:
        return True
    slot = table.slots[s]
    events, at = table.events, slot.at
    k = cut(events, at, slot.n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, pieces)
    for q in range(k):
        p = pieces[q]
        if watermark <= closes_ms(events, at, p.start, p.end, p.last, slot.gap_ms, limits.lateness_ms):
            first = events[at + p.start]
            return bool(t < first.t or (t == first.t and event < first.id))
    return True


@nb.njit(cache=True, nogil=True)
def _position(table: Table, s: int, t: int, event: np.uint64) -> int:
    """Return where an event belongs in its client's buffer, -1 when it is there already."""
    slot = table.slots[s]
    events, at, n = table.events, slot.at, slot.n
    for i in range(n - 1, max(-1, n - 1 - RETRY_SCAN), -1):
        if events[at + i].id == event:
            return -1
    low, high = 0, int(n)
    if n and (events[at + n - 1].t < t or (events[at + n - 1].t == t and events[at + n - 1].id < event)):
        low = high
    while low < high:
        middle = (low + high) // 2
        other = events[at + middle]
        if other.t < t or (other.t == t and other.id < event):
            low = middle + 1
        else:
            high = middle
    if low < n and events[at + low].t == t and events[at + low].id == event:
        return -1
    return low
