"""The offline pass: every session of an event log, assigned by the very windows that the stream uses.

An event log is sorted by ``occurred_at``, a partition by receipt. Final rows do not depend on the order as long as the
watermark never passes an event that is still to come, so the pass holds its watermark back by the log's own disorder
(``disorder_ms``), read off its two time columns beforehand. Then it rejects what the stream rejects, late events and
faulty ones, and nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from schemas.assignments import AssignmentBatch
from schemas.events import I64, EventBatch
from schemas.rejections import REASONS
from schemas.validation import TIME_MAX_MS, TIME_MIN_MS
from streams.event_logs.lookahead import ahead, mapped
from streams.sessions.emission import Emission, SessionEncoder, Superseded, assignments
from streams.sessions.rules import SessionRules
from streams.sessions.windows import SessionWindows

#: Sessions encoded and handed on at a time.
SESSIONS_PER_BATCH = 16_384
#: Later than every admissible event, and than any gap after it.
_END_OF_TIME_MS = 1 << 61


@dataclass
class AssignCounts:
    """What became of a log's events and how many sessions they made; filled while ``assign`` runs."""

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    bot_sessions: int = 0


def disorder_ms(times: Iterable[tuple[I64, I64]], allowed_lateness_ms: int) -> int:
    """Return how far an event's time lies behind the largest one before it in the log, at most.

    ``times`` are (occurred, received) in milliseconds, in log order, in batches of any size. Events that will be
    rejected by their times alone are left out.
    """
    largest, disorder = np.int64(np.iinfo(np.int64).min), 0
    for occurred, received in times:
        t = np.minimum(occurred, received)
        usable = (
            (received - t <= allowed_lateness_ms) & (t >= TIME_MIN_MS) & (np.maximum(occurred, received) < TIME_MAX_MS)
        )
        t = t[usable]
        if len(t):
            reached = np.maximum.accumulate(np.maximum(t, largest))
            disorder = max(disorder, int((reached - t).max()))
            largest = reached[-1]
    return disorder


def assign(
    event_batches: Iterable[EventBatch],
    encoder: SessionEncoder,
    rules: SessionRules,
    source: str = "live",
    disorder_ms: int = 0,
    counts: AssignCounts | None = None,
    threads: int = 1,
) -> Iterator[AssignmentBatch]:
    """Yield one final row per session, in the order in which sessions close, the open ones at the end of the log.

    Memory is bounded by the sessions open at one time, given the gap, the allowed lateness and ``disorder_ms`` (the
    log's, from the function of that name; too small a value rejects events as behind the watermark). ``counts`` is
    filled as the batches pass. Sessions are made by a thread of their own, a few rounds ahead of their types, on which
    ``threads`` are at work: what takes longest.
    """

    def rows(emission: Emission) -> AssignmentBatch:
        codes = encoder.encode(emission.sessions)
        return assignments(emission, codes, encoder.version, encoder.code_paths, source)

    counts = AssignCounts() if counts is None else counts
    yield from mapped(rows, ahead(_sessions(event_batches, rules, source, disorder_ms, counts)), threads)


def _sessions(
    event_batches: Iterable[EventBatch], rules: SessionRules, source: str, disorder_ms: int, counts: AssignCounts
) -> Iterator[Emission]:
    windows = SessionWindows(rules, disorder_ms, source=source)
    for batch in event_batches:
        added = windows.add(batch, np.arange(counts.events, counts.events + len(batch), dtype=np.int64))
        counts.events += len(batch)
        counts.accepted += added.accepted
        counts.duplicates += added.duplicates
        for reason, rows in zip(*np.unique(added.rejected_reasons, return_counts=True), strict=True):
            counts.rejected[REASONS[reason]] += int(rows)
        yield from _closed(windows, counts)
    windows.advance(_END_OF_TIME_MS)
    yield from _closed(windows, counts)


def _closed(windows: SessionWindows, counts: AssignCounts) -> Iterator[Emission]:
    while len(emission := windows.emit(provisional=False, limit=SESSIONS_PER_BATCH)):
        counts.sessions += len(emission)
        counts.bot_sessions += int(emission.is_bot.sum())
        # Nothing provisional has been said, so there is nothing to take back.
        yield replace(emission, superseded=Superseded.none())
    windows.forget_closed()
