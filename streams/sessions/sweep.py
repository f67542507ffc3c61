"""Giving sessions out: what the watermark has closed, what changed and is still open, which ids are superseded."""

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from schemas.events import EVENT, FLAG_BOT, FLAG_EMITTED, I64, U8, Events
from schemas.machine import copy_bytes
from streams.sessions.ahead import AHEAD, load_events, load_key, load_slot, load_slots
from streams.sessions.cut import TOTAL_MAX, Pieces, closes_ms, deepest_stratum, looks_robotic, session_hash
from streams.sessions.hot import FLAG_CHANGED, drop_front, is_hot, move_events, pieces_of
from streams.sessions.lent import lent
from streams.sessions.lookup import long_of, release_long, vacate
from streams.sessions.rules import Limits, lent_limits
from streams.sessions.table import (
    AWAITED,
    AWAITING,
    BUCKET_BITS,
    BUCKETS,
    CHANGED,
    CURSOR,
    OPEN_EVENTS,
    PENDINGS,
    UNIT_BYTES,
    WATERMARK,
    WORD_BYTES,
    Table,
)
from streams.sessions.wheel import link, set_close, touch

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

#: What one call gives out so far: rows and how many, events and how many.
Given = tuple[Rows, int, Events, int]

#: Revisions. While its run is open a session's revision is twice the run's events: it grows with every event, whichever
#: of the run's sessions the event is in. An id is superseded because an event came in, with that plus one: above all
#: that was said under the id before, below all that can be said if a later event revives it. What is final stands above
#: everything provisional, and above an earlier final row of fewer events. All are functions of the state.
FINAL_REVISION = 1 << 30


@nb.njit(cache=True, nogil=True)
def sweep(table: Table, limits: Limits, provisional: bool, limit: int) -> tuple[Rows, Events]:
    """Take out every closed session and, if asked, copy every changed open one; return their rows and events.

    Stops after ``limit`` rows or a little more (one client's sessions stay together); what is left comes next time.
    """
    table, limits = lent(table), lent_limits(limits)
    counts = table.counts
    # Typed at once, or numba would compile what takes them once more for literals.
    given = (np.empty(256, ROW), np.int64(0), np.empty(4096, EVENT), np.int64(0))
    watermark = counts[WATERMARK]
    turn = watermark >> BUCKET_BITS
    counts[CURSOR] = max(counts[CURSOR], turn - BUCKETS + 1)
    while given[1] < limit:
        bucket = counts[CURSOR] & (BUCKETS - 1)
        s = np.int64(table.wheel[bucket])
        table.wheel[bucket] = -1
        while s >= 0:
            slot = table.slots[s]
            following = np.int64(slot.next)
            if following >= 0:
                load_slot(table, following)
            slot.next = slot.prev = -1
            if given[1] < limit and watermark > slot.close_ms:
                given = _give_out(table, limits, s, provisional, given)
            else:
                link(table, s)
            s = following
        if counts[CURSOR] >= turn:
            break
        if given[1] < limit:
            counts[CURSOR] += 1
    if provisional:
        given = _give_changed(table, limits, provisional, limit, given)
    return given[0][: given[1]], given[2][: given[3]]


@nb.njit(cache=True, nogil=True)
def _give_changed(table: Table, limits: Limits, provisional: bool, limit: int, given: Given) -> Given:
    """Give out the changed sessions of the slots that wait for it, the first ones up to ``limit``."""
    counts = table.counts
    done = 0
    while done < counts[AWAITING] and given[1] < limit:
        s = np.int64(table.changed[done])
        if done + 2 * AHEAD < counts[AWAITING]:
            load_slot(table, table.changed[done + 2 * AHEAD])
        if done + AHEAD < counts[AWAITING]:
            load_events(table, table.changed[done + AHEAD])
        done += 1
        slot = table.slots[s]
        slot.marks &= ~np.uint8(AWAITED)
        if slot.marks & CHANGED:
            given = _give_out(table, limits, s, provisional, given)
    for i in range(done, counts[AWAITING]):
        table.changed[i - done] = table.changed[i]
    counts[AWAITING] -= done
    return given


@nb.njit(cache=True, nogil=True)
def _give_out(table: Table, limits: Limits, s: int, provisional: bool, given: Given) -> Given:
    """Add a client's closed sessions and, if asked, its changed ones, and take the closed ones away."""
    rows, row_count, out, out_count = given
    slot, events, at = table.slots[s], table.events, np.int64(table.slots[s].at)
    watermark, gap_ms = table.counts[WATERMARK], limits.gaps_ms[slot.gap]
    pieces, base, k = pieces_of(table, limits, s)
    closed = np.int64(0)
    for q in range(k):
        p = pieces[base + q]
        is_final = closed == q and watermark > closes_ms(events, at, p.start, p.end, p.last, gap_ms, limits.lateness_ms)
        first = events[at + p.start]
        if is_final:
            closed += 1
        elif not provisional:
            break
        elif not (first.flags & FLAG_EMITTED and first.flags & FLAG_CHANGED):
            continue
        n = int(p.end - p.start)
        if row_count == len(rows):
            more_rows = np.empty(2 * len(rows), ROW)
            more_rows[:row_count] = rows
            rows = more_rows
        if out_count + n > len(out):
            more_out = np.empty(2 * len(out) + n, EVENT)
            more_out[:out_count] = out[:out_count]
            out = more_out
        first.flags &= FLAG_BOT | FLAG_EMITTED
        copy_bytes(out, out_count * UNIT_BYTES, events, (at + p.start) * UNIT_BYTES, n * UNIT_BYTES)
        for i in range(out_count, out_count + n):
            out[i].flags &= FLAG_BOT
        _describe(rows[row_count], out, out_count, p, is_final, limits)
        rows[row_count].slot = s
        rows[row_count].session = session_hash(slot.hash, p.run_t, p.run_id, out[out_count].t, out[out_count].id)
        row_count += 1
        out_count += n
    if provisional:
        slot.marks &= ~np.uint8(CHANGED)
    if closed:
        _drop_closed(table, s, pieces, base, k, closed, limits)
    return rows, row_count, out, out_count


@nb.njit(cache=True, nogil=True)
def _describe(row: Any, out: Events, at: int, p: Any, is_final: bool, limits: Limits) -> None:
    n = p.end - p.start
    row.events = n
    row.started_ms, row.ended_ms = out[at].t, out[at + n - 1].t
    row.stratum = deepest_stratum(out, at, at + n)
    row.is_bot = looks_robotic(out, at, at + n, limits.max_events)
    row.is_final = is_final
    row.revision = FINAL_REVISION + n if is_final else 2 * min(p.total, TOTAL_MAX)


@nb.njit(cache=True, nogil=True)
def _drop_closed(table: Table, s: int, pieces: Pieces, base: int, k: int, closed: int, limits: Limits) -> None:
    """Remove the first ``closed`` of ``k`` pieces; remember the run if it goes on."""
    slot, events = table.slots[s], table.events
    touch(table, s)
    if closed == k:
        vacate(table, s)
        return
    kept_from = np.int64(pieces[base + closed - 1].end)
    following = pieces[base + closed]
    gap_ms = limits.gaps_ms[slot.gap]
    close_ms = closes_ms(
        events, np.int64(slot.at), following.start, following.end, following.last, gap_ms, limits.lateness_ms
    )
    table.counts[OPEN_EVENTS] -= kept_from
    if is_hot(table, s):
        drop_front(table, limits, s, closed)
    else:
        _remember_run(table, s, following)
        slot.tail = pieces[base + k - 1].start - kept_from
        slot.n -= kept_from
        at = np.int64(slot.at)
        move_events(table, at, at + kept_from, np.int64(slot.n))
    set_close(table, s, close_ms)


@nb.njit(cache=True, nogil=True)
def _remember_run(table: Table, s: int, piece: Any) -> None:
    """Keep which run the first event continues, if it does."""
    slot = table.slots[s]
    if piece.run_n or slot.long >= 0:
        long = table.longs[long_of(table, s)]
        long.run_t, long.run_id, long.run_n = piece.run_t, piece.run_id, piece.run_n
        release_long(table, s)


@nb.njit(cache=True, nogil=True)
def supersede(table: Table, limits: Limits) -> Rows:
    """Return the rows for all pending ids and empty the list; an id that a later event revived is left out.

    Called before ``sweep`` takes events away, so the event that an old id began at is still in its client's buffer.
    """
    table, limits = lent(table), lent_limits(limits)
    count = table.counts[PENDINGS]
    rows, row_count = np.empty(count, SUPERSEDED), 0
    pieces, base, k = table.before, 0, 0
    cut_for = -1
    for i in range(count):
        entry = table.pending[i]
        slot, events, at = table.slots[entry.slot], table.events, np.int64(table.slots[entry.slot].at)
        if entry.slot != cut_for:
            cut_for = int(entry.slot)
            pieces, base, k = pieces_of(table, limits, cut_for)
            touch(table, cut_for)
        low, high = 0, k
        while low < high:
            middle = (low + high) // 2
            first = events[at + pieces[base + middle].start]
            if first.t < entry.t or (first.t == entry.t and first.id <= entry.id):
                low = middle + 1
            else:
                high = middle
        p = pieces[base + low - 1]
        first = events[at + p.start]
        current = session_hash(slot.hash, p.run_t, p.run_id, first.t, first.id)
        if current == entry.old:
            continue
        row = rows[row_count]
        row.slot, row.session, row.by, row.started_ms = entry.slot, entry.old, current, entry.t
        row.revision = 2 * min(p.total, TOTAL_MAX) + 1
        row_count += 1
    table.counts[PENDINGS] = 0
    return rows[:row_count]


@nb.njit(cache=True, nogil=True)
def keys_of(table: Table, slots: I64) -> tuple[U8, I64, I64]:
    """Return the keys of some slots: bytes one after another, (n + 1,) offsets, (n,) lengths of the merchant part."""
    table = lent(table)
    offsets = np.zeros(len(slots) + 1, np.int64)
    merchant_n = np.empty(len(slots), np.int64)
    for i in range(len(slots)):
        load_slots(table, slots, i)
        offsets[i + 1] = offsets[i] + table.slots[slots[i]].key_n
        merchant_n[i] = table.slots[slots[i]].merchant_n
    text = np.empty(offsets[-1], np.uint8)
    for i in range(len(slots)):
        if i + AHEAD < len(slots):
            load_key(table, slots[i + AHEAD])
        at = table.slots[slots[i]].key_at * WORD_BYTES
        copy_bytes(text, offsets[i], table.keys, at, offsets[i + 1] - offsets[i])
    return text, offsets, merchant_n
