"""Session windows of one partition: events in, sessions out, state as changelog records. No I/O and no clock.

The rules are in ``docs/sessions.md``, event by event; what a session is stands in ``streams/sessions/cut.py``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.assignments import Bytes
from schemas.events import I64, U8, EventBatch, SessionBatch
from schemas.hashing import hash64
from schemas.texts import Texts
from schemas.topics import LIVE
from streams.broker.record_columns import Records
from streams.errors import SessionStateError
from streams.sessions.compact import compacted
from streams.sessions.cut import hexadecimal
from streams.sessions.emission import Emission, Superseded, assignments
from streams.sessions.insert import ACCEPTED, DUPLICATES, REJECTED, REPLAYED, columns, insert_rows
from streams.sessions.memory import trim_heap
from streams.sessions.records import changed_records, forget_closed, watermark_record
from streams.sessions.restore import Recovery
from streams.sessions.rules import BLOCK_EVENTS, SessionRules
from streams.sessions.sweep import Rows, keys_of, supersede, sweep
from streams.sessions.table import KEYS, NO_OFFSET, OPEN_EVENTS, OPEN_KEYS, SEEN, WATERMARK, empty_table, used_bytes

__all__ = ["Added", "Emission", "SessionRules", "SessionWindows", "Superseded", "assignments"]

#: More rows than one emission can hold.
_NO_LIMIT = 1 << 62
#: State beyond this much is worth large pages.
_LARGE_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one batch. Rows that hold no event are in none of the counts.

    accepted    events that are new and now part of an open session
    duplicates  events whose id their client's open events hold already
    replayed    events that the restored state had already seen (offset at most the client's applied one)
    rejected_rows, rejected_reasons  (r,) int64 rows and (r,) uint8 indices into ``schemas.rejections.REASONS``, rising
    """

    accepted: int
    duplicates: int
    replayed: int
    rejected_rows: I64
    rejected_reasons: U8


class SessionWindows:
    """The session windows of one partition of one topic. Not thread-safe; compiled calls release the GIL.

    A commit is ``emit``, its rows made durable, ``snapshot``, its records made durable, source offsets committed, in
    this order; a crash anywhere in between loses nothing and changes no final row.
    """

    def __init__(
        self,
        rules: SessionRules,
        disorder_ms: int = 0,
        state_dir: Path | None = None,
        block_events: int = BLOCK_EVENTS,
        source: str = LIVE,
    ) -> None:
        """Start empty.

        ``disorder_ms``: the watermark trails the largest event time by so much (offline pass only). ``state_dir`` holds
        the state in files there instead of anonymous memory. ``block_events``: when a client counts as hot. ``source``:
        where events come from, so that the same clicks from two sources are two sessions.
        """
        # Live sessions keep the ids that they had before there were others.
        self._source_hash = np.uint64(0 if source == LIVE else hash64(source.encode()))
        self._limits = rules.limits(block_events)
        self._disorder_ms = disorder_ms
        self._state_dir = state_dir
        self._table, self._memory = empty_table(state_dir)
        self._recovery = Recovery(self._limits)
        self._shrunk = False
        self._seen_at_snapshot = NO_OFFSET
        self._watermark_at_snapshot = self.watermark_ms

    def add(self, batch: EventBatch, offsets: I64) -> Added:
        """Take in one batch in partition order and advance the watermark to the largest event time.

        ``offsets`` (n,) int64 are the rows' source offsets, rising; rows already in the state are counted as replayed.
        Rows with a fault are rejected with it, late ones and ones behind the watermark with those reasons.

        Raises SessionStateError when there is no room for more state.
        """
        self.finish_restore()
        rejected_rows, rejected_reasons = np.empty(len(batch), np.int64), np.empty(len(batch), np.uint8)
        tally = np.zeros(4, np.int64)
        arrays, source_offsets = columns(batch, offsets)
        taken = insert_rows(
            self._table, self._limits, arrays, source_offsets, self._disorder_ms, rejected_rows, rejected_reasons, tally
        )
        if taken < len(batch):
            raise SessionStateError(
                f"{self.open_sessions} open sessions are all that one partition's state has room for: use more "
                "partitions, or set SIMPERSONA_STATE_DIR."
            )
        if self.memory_bytes > _LARGE_BYTES:
            self._memory.use_huge_pages()
        rejected = int(tally[REJECTED])
        return Added(
            accepted=int(tally[ACCEPTED]),
            duplicates=int(tally[DUPLICATES]),
            replayed=int(tally[REPLAYED]),
            rejected_rows=rejected_rows[:rejected],
            rejected_reasons=rejected_reasons[:rejected],
        )

    def advance(self, watermark_ms: int) -> None:
        """Move the watermark forward (a Watermark record, an idle partition, the end of a log); never back."""
        counts = self._table.counts
        counts[WATERMARK] = max(int(counts[WATERMARK]), watermark_ms)

    @property
    def watermark_ms(self) -> int:
        """Event time that the partition has reached; hugely negative before the first event."""
        return int(self._table.counts[WATERMARK])

    @property
    def open_sessions(self) -> int:
        """Clients with at least one open session."""
        return int(self._table.counts[OPEN_KEYS])

    @property
    def open_events(self) -> int:
        """Events in open sessions."""
        return int(self._table.counts[OPEN_EVENTS])

    @property
    def known_clients(self) -> int:
        """Clients in the state, those included whose sessions are closed but whose offsets are not yet committed."""
        return int(self._table.counts[KEYS])

    @property
    def memory_bytes(self) -> int:
        """Bytes of state, free parts included."""
        return used_bytes(self._table)

    def emit(self, provisional: bool, limit: int | None = None) -> Emission:
        """Return closed sessions (final, and gone from the state), superseded ids and, if asked, changed open sessions.

        Provisional are sessions of two events or more, each once per change. After about ``limit`` sessions the rest
        waits for the next call; superseded ids are never held back.
        """
        self.finish_restore()
        superseded = supersede(self._table, self._limits)
        rows, events = sweep(self._table, self._limits, provisional, _NO_LIMIT if limit is None else limit)
        merchant_id, client_id = self._names(rows)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(rows["events"], out=offsets[1:])
        return Emission(
            sessions=SessionBatch(events=events, offsets=offsets),
            merchant_id=merchant_id,
            client_id=client_id,
            session_id=self._ids(rows["session"]),
            revision=rows["revision"].copy(),
            started_ms=rows["started_ms"].copy(),
            ended_ms=rows["ended_ms"].copy(),
            events=rows["events"].copy(),
            stratum=rows["stratum"].copy(),
            is_final=rows["is_final"].copy(),
            is_bot=rows["is_bot"].copy(),
            superseded=self._superseded(superseded),
        )

    def _superseded(self, rows: Rows) -> Superseded:
        merchant_id, client_id = self._names(rows)
        return Superseded(
            merchant_id=merchant_id,
            client_id=client_id,
            session_id=self._ids(rows["session"]),
            superseded_by=self._ids(rows["by"]),
            revision=rows["revision"].copy(),
            started_ms=rows["started_ms"].copy(),
        )

    def _ids(self, sessions: npt.NDArray[np.uint64]) -> Bytes:
        digits: Bytes = hexadecimal(sessions ^ self._source_hash).reshape(-1).view("S16")
        return digits

    def _names(self, rows: Rows) -> tuple[Texts, Texts]:
        text, offsets, merchant_n = keys_of(self._table, np.ascontiguousarray(rows["slot"]))
        starts = offsets[:-1]
        return Texts(text, starts, merchant_n), Texts(text, starts + merchant_n, np.diff(offsets) - merchant_n)

    def snapshot(self, committed_offset: int | None = None) -> Records:
        """Return the changelog records of what changed since the last call, with tombstones, the watermark's last.

        Called once per commit, after the emitted rows are durable and only when the commit before it is complete, its
        source offsets included; on failure write the same records again. They must become durable all or none.
        ``committed_offset`` is the largest source offset known to be committed; without it, the largest that ``add``
        had seen at the last call.
        """
        self.finish_restore()
        committed = self._seen_at_snapshot if committed_offset is None else committed_offset
        records = changed_records(self._table, committed, self._limits.block)
        self._seen_at_snapshot = int(self._table.counts[SEEN])
        if self.watermark_ms != self._watermark_at_snapshot:
            self._watermark_at_snapshot = self.watermark_ms
            records = Records.joined([records, Records.of([watermark_record(self.watermark_ms)])])
        self._give_memory_back()
        return records

    def forget_closed(self) -> None:
        """Drop what is remembered of clients without open sessions; for passes that take no snapshots."""
        forget_closed(self._table)
        self._give_memory_back()

    def _give_memory_back(self) -> None:
        """Shrink the state if much of it is free; the next call gives back what giving it out has left behind."""
        if self._shrunk:
            trim_heap()
        before = self._memory
        self._table, self._memory = compacted(self._table, self._memory, self._state_dir)
        self._shrunk = self._memory is not before

    def restore(self, records: Records) -> None:
        """Apply changelog records, in log order, before the first ``add``; ``finish_restore`` is called after the last.

        Raises SessionStateError when a record is of another release or damaged.
        """
        self._recovery.apply(self._table, records)
        self._watermark_at_snapshot = self.watermark_ms

    def finish_restore(self) -> None:
        """Put the clients together whose state lies in several records; without effect when that is done.

        Raises SessionStateError when one of their records is missing or damaged.
        """
        if not self._recovery.finished:
            self._recovery.finish(self._table)
