"""Taking events in: each is judged, found to be new, put in its place, and the sessions around it cut again."""

from typing import Any

import numba as nb
import numpy as np

from schemas.events import I32, I64, U8, U64, EventBatch, Events
from schemas.hashing import hash_slice
from schemas.machine import uncounted
from schemas.rejections import CODE_OF_REASON
from streams.sessions.ahead import load_by_hash
from streams.sessions.cut import closes_ms
from streams.sessions.hot import pieces_of
from streams.sessions.lent import lent
from streams.sessions.lookup import enter, find
from streams.sessions.place import place
from streams.sessions.rules import Limits, lent_limits
from streams.sessions.table import (
    FREE_SLOT,
    HIGH,
    KEY_WORDS,
    OPEN,
    PENDINGS,
    SEEN,
    UNITS,
    WATERMARK,
    WORDS,
    Table,
)
from streams.sessions.wheel import touch

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
    limits: Limits,
    batch: Columns,
    offsets: I64,
    disorder_ms: int,
    rejected_rows: I64,
    rejected_reasons: U8,
    tally: I64,
) -> int:
    """Take in all rows; return their number, or the first one for which the state had no room."""
    table, limits = lent(table), lent_limits(limits)
    events, received, key_hash, text, merchant_at, merchant_n, client_at, client_n, fault = batch
    events, key_hash, text = uncounted(events), uncounted(key_hash), uncounted(text)
    counts = table.counts
    for r in range(len(events)):
        load_by_hash(table, key_hash, r)
        reason = fault[r]
        t = min(events[r].t, received[r])
        # While t is the time of occurrence the difference is the delay; where it is the time of receipt it is 0.
        if reason == 0 and received[r] - t > limits.lateness_ms:
            reason = _LATE
        if reason == 0:
            m_at, m_n = merchant_at[r], np.int64(merchant_n[r])
            c_at, c_n = client_at[r], np.int64(client_n[r])
            s = find(table, key_hash[r], text, m_at, m_n, c_at, c_n)
            if not has_room(table, np.int64(table.slots[s].n) if s >= 0 else np.int64(0)):
                return r
            watermark = counts[WATERMARK]
            counts[WATERMARK] = max(watermark, t - disorder_ms)
            if s >= 0 and offsets[r] <= table.slots[s].applied:
                tally[REPLAYED] += 1
                continue
            if t < watermark - limits.lateness_ms and _is_behind(table, limits, s, t, events[r].id, watermark):
                reason = _BEHIND
            else:
                if s < 0:
                    s = enter(table, key_hash[r], text, m_at, m_n, c_at, c_n, gap_of(limits, text, m_at, m_n))
                position = _position(table, s, t, events[r].id)
                if position < 0:
                    tally[DUPLICATES] += 1
                else:
                    place(table, limits, s, position, events, r, t)
                    touch(table, s)
                    tally[ACCEPTED] += 1
            if s >= 0:
                table.slots[s].applied = offsets[r]
                if reason:
                    touch(table, s)
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
def has_room(table: Table, n: int) -> bool:
    """Say whether a client of ``n`` events may get one more, whatever it brings: key, larger block, superseded ids."""
    counts = table.counts
    return (
        (counts[FREE_SLOT] >= 0 or counts[HIGH] < len(table.slots))
        and counts[WORDS] + KEY_WORDS <= len(table.words)
        and counts[UNITS] + 4 * n + 16 <= len(table.events)
        and counts[PENDINGS] + n + 1 <= len(table.pending)
        and n + 2 <= len(table.after)
    )


@nb.njit(cache=True, nogil=True)
def gap_of(limits: Limits, text: U8, at: int, n: int) -> int:
    """Return the place of a merchant's gap in ``Limits.gaps_ms``."""
    if len(limits.merchants):
        wanted = hash_slice(text, at, n)
        i = np.searchsorted(limits.merchants, wanted)
        if i < len(limits.merchants) and limits.merchants[i] == wanted:
            return int(i + 1)
    return 0


@nb.njit(cache=True, nogil=True)
def _is_behind(table: Table, limits: Limits, s: int, t: int, event: np.uint64, watermark: int) -> bool:
    """Say whether an event may touch a session that the watermark has closed; asked where ``t < watermark - lateness``.

    In the order of receipt that cannot happen to an event that is not late: the watermark is at most its
    ``received_at``, so ``t >= received_at - lateness >= watermark - lateness``. In another order it is still harmless
    when the event comes after the start of the client's first session that is open: what is closed lies before that
    start and was cut off from it for good. The answer rests on the watermark, not on whether ``emit`` has run.
    """
    if s < 0 or not table.slots[s].marks & OPEN:
        return True
    slot = table.slots[s]
    events, at, gap_ms = table.events, np.int64(slot.at), limits.gaps_ms[slot.gap]
    pieces, first_piece, count = pieces_of(table, limits, s)
    for q in range(count):
        p = pieces[first_piece + q]
        if watermark <= closes_ms(events, at, p.start, p.end, p.last, gap_ms, limits.lateness_ms):
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
