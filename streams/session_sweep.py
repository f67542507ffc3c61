"""Giving sessions out: what the watermark has closed, what changed and is still open, which ids are superseded."""

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import EVENT, FLAG_BOT, FLAG_EMITTED, I64, U8, Events
from streams.session_cut import Pieces, closes_ms, cut, deepest_stratum, looks_robotic, session_hash
from streams.session_place import FLAG_CHANGED
from streams.session_rules import Limits
from streams.session_table import (
    CHANGED,
    DIRTY,
    HIGH,
    OPEN_EVENTS,
    PENDINGS,
    UNIT_BYTES,
    WATERMARK,
    Table,
    vacate,
)

#: One emitted session; its events follow those of the row before.
ROW = np.dtype(
    [
        ("slot", "<i8"),
        ("session", "<u8"),
        ("started_ms", "<i8"),
        ("ended_ms", "<i8"),
        ("events", "<i4"),
        ("revision", "<i4"),
        ("stratum", "u1"),
        ("is_final", "u1"),
        ("is_bot", "u1"),
    ],
    align=True,
)
#: One id that no longer stands, and the session that its first event is in now.
SUPERSEDED = np.dtype(
    [("slot", "<i8"), ("session", "<u8"), ("by", "<u8"), ("started_ms", "<i8"), ("revision", "<i4")], align=True
)
Rows = npt.NDArray[np.void]

#: Revisions. While its run is open a session's revision is twice the run's events: it grows with every event, whichever
#: of the run's sessions the event is in. An id is superseded because an event came in, with that plus one: above all
#: that was said under the id before, below all that can be said if a later event revives it. What is final stands above
#: everything provisional, and above an earlier final row of fewer events. All are functions of the state.
FINAL_REVISION = 1 << 30
_PROVISIONAL_TOTAL_MAX = (FINAL_REVISION >> 1) - 1


@nb.njit(cache=True, nogil=True)
def sweep(table: Table, pieces: Pieces, limits: Limits, provisional: bool, limit: int) -> tuple[Rows, Events]:
    """Take out every closed session and, if asked, copy every changed open one; return their rows and events.

    Stops after ``limit`` rows or a little more (one client's sessions stay together); what is left comes next time.
    """
    rows, row_count = np.empty(256, ROW), 0
    out, out_count = np.empty(4096, EVENT), 0
    watermark = table.counts[WATERMARK]
    for s in range(table.counts[HIGH]):
        if row_count >= limit:
            break
        due = watermark > table.close_ms[s]
        if not due and not (provisional and table.marks[s] & CHANGED):
            continue
        slot, events, at = table.slots[s], table.events, table.slots[s].at
        n = np.int64(slot.n)
        while len(rows) < row_count + n:
            more_rows = np.empty(2 * len(rows), ROW)
            more_rows[:row_count] = rows[:row_count]
            rows = more_rows
        while len(out) < out_count + n:
            more_out = np.empty(2 * len(out), EVENT)
            more_out[:out_count] = out[:out_count]
            out = more_out
        k = cut(events, at, n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, pieces)
        closed = 0
        for q in range(k):
            p = pieces[q]
            is_final = closed == q and watermark > closes_ms(
                events, at, p.start, p.end, p.last, slot.gap_ms, limits.lateness_ms
            )
            changed = (events[at + p.start].flags & FLAG_EMITTED) and (events[at + p.start].flags & FLAG_CHANGED)
            if is_final:
                closed += 1
            elif not provisional or not changed:
                continue
            events[at + p.start].flags &= FLAG_BOT | FLAG_EMITTED
            for i in range(p.start, p.end):
                out[out_count + i - p.start] = events[at + i]
                out[out_count + i - p.start].flags &= FLAG_BOT
            _describe(rows[row_count], out, out_count, p, is_final, limits)
            rows[row_count].slot = s
            rows[row_count].session = session_hash(slot.hash, p.run_t, p.run_id, out[out_count].t, out[out_count].id)
            row_count += 1
            out_count += p.end - p.start
        if provisional:
            table.marks[s] &= ~np.uint8(CHANGED)
        if closed:
            _drop_closed(table, s, pieces, k, closed, limits)
    return rows[:row_count], out[:out_count]


@nb.njit(cache=True, nogil=True)
def _describe(row: Any, out: Events, at: int, p: Any, is_final: bool, limits: Limits) -> None:
    n = p.end - p.start
    row.events = n
    row.started_ms, row.ended_ms = out[at].t, out[at + n - 1].t
    row.stratum = deepest_stratum(out, at, at + n)
    row.is_bot = looks_robotic(out, at, at + n, limits.max_events)
    row.is_final = is_final
    row.revision = FINAL_REVISION + n if is_final else 2 * min(p.total, _PROVISIONAL_TOTAL_MAX)


@nb.njit(cache=True, nogil=True)
def _drop_closed(table: Table, s: int, pieces: Pieces, k: int, closed: int, limits: Limits) -> None:
    """Remove the first ``closed`` of ``k`` pieces; remember the run if it goes on."""
    slot, events, at = table.slots[s], table.events, table.slots[s].at
    table.marks[s] |= DIRTY
    if closed == k:
        vacate(table, s)
        return
    kept_from = pieces[closed - 1].end
    following = pieces[closed]
    slot.run_t, slot.run_id, slot.run_n = following.run_t, following.run_id, following.run_n
    table.close_ms[s] = closes_ms(
        events, at, following.start, following.end, following.last, slot.gap_ms, limits.lateness_ms
    )
    slot.tail = pieces[k - 1].start - kept_from
    for i in range(kept_from, slot.n):
        events[at + i - kept_from] = events[at + i]
    slot.n -= kept_from
    table.counts[OPEN_EVENTS] -= kept_from


@nb.njit(cache=True, nogil=True)
def supersede(table: Table, pieces: Pieces, limits: Limits) -> Rows:
    """Return the rows for all pending ids and empty the list; an id that a later event revived is left out.

    Called before ``sweep`` takes events away, so the event that an old id began at is still in its client's buffer.
    """
    count = table.counts[PENDINGS]
    rows, row_count = np.empty(count, SUPERSEDED), 0
    for i in range(count):
        entry = table.pending[i]
        slot, events = table.slots[entry.slot], table.events
        at = slot.at
        k = cut(events, at, slot.n, slot.run_t, slot.run_id, slot.run_n, slot.gap_ms, limits, pieces)
        revived = False
        row = rows[row_count]
        for q in range(k):
            p = pieces[q]
            first, last = events[at + p.start], events[at + p.end - 1]
            current = session_hash(slot.hash, p.run_t, p.run_id, first.t, first.id)
            revived |= current == entry.old
            after_first = first.t < entry.t or (first.t == entry.t and first.id <= entry.id)
            before_last = entry.t < last.t or (entry.t == last.t and entry.id <= last.id)
            if after_first and before_last:
                row.slot, row.session, row.by, row.started_ms = entry.slot, entry.old, current, entry.t
                row.revision = 2 * min(p.total, _PROVISIONAL_TOTAL_MAX) + 1
        table.marks[entry.slot] |= DIRTY
        if not revived:
            row_count += 1
    table.counts[PENDINGS] = 0
    return rows[:row_count]


@nb.njit(cache=True, nogil=True)
def keys_of(table: Table, slots: I64) -> tuple[U8, I64, I64]:
    """Return the keys of some slots: bytes one after another, (n + 1,) offsets, (n,) lengths of the merchant part."""
    offsets = np.zeros(len(slots) + 1, np.int64)
    merchant_n = np.empty(len(slots), np.int64)
    for i in range(len(slots)):
        offsets[i + 1] = offsets[i] + table.slots[slots[i]].key_n
        merchant_n[i] = table.slots[slots[i]].merchant_n
    text = np.empty(offsets[-1], np.uint8)
    for i in range(len(slots)):
        at = table.slots[slots[i]].key_at * UNIT_BYTES
        for j in range(offsets[i + 1] - offsets[i]):
            text[offsets[i] + j] = table.units[at + j]
    return text, offsets, merchant_n
