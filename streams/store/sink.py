"""The only place that writes to ClickHouse: rows wait in memory until a checkpoint, then go in one insert per table."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.assignments import AssignmentBatch
from schemas.rejected_codec import Rejection
from schemas.simulation import AlignmentScore, SimulatedSession, SimulationRun
from streams.drift.detectors import DriftAlarm
from streams.mixes.rows import MixRows
from streams.store import buyers
from streams.store.connection import Store
from streams.store.tables import assignment_table, distribution_table, record_table

#: Order in which a checkpoint writes: sessions before the counts made of them, so that whoever hydrates after a crash
#: sees at least what was counted. Tables not named follow.
_SESSIONS = "session_assignments"
_ORDER = (_SESSIONS, "rejected_events", "merchant_distributions", "drift_events")


@dataclass(frozen=True, slots=True)
class DriftRow:
    """A row of ``drift_events``."""

    merchant_id: str
    detected_at: int
    detector: str
    statistic: float
    threshold: float
    n_effective: float
    baseline_window: str
    details: str
    codebook_version: str
    emitted_at: int


@dataclass(frozen=True, slots=True)
class CodebookRow:
    """A row of ``codebooks``; ``manifest`` and ``code_map`` are JSON texts."""

    codebook_version: str
    created_at: int
    size: int
    coarse: int
    manifest: str
    previous_version: str = ""
    code_map: str = "{}"


@dataclass(frozen=True, slots=True)
class PersonaRow:
    """A row of ``personas``; ``statistics`` is a JSON text."""

    codebook_version: str
    code: int
    code_path: str
    name: str
    sentence: str
    statistics: str
    share: float


@dataclass(frozen=True, slots=True)
class ReplayedRow:
    """A row of ``replayed_events``: the rejection that was sent back (times in ms), and when."""

    topic: str
    partition: int
    offset: int
    received_at: int
    replayed_at: int


class Sink:
    """Buffers per table; ``flush`` at the checkpoint, offsets are committed only after it.

    Adding is cheap and does no I/O. Every row is idempotent by its table's key (ReplacingMergeTree with a revision that
    is a function of the content), so writing a batch again, cut differently, changes nothing. A table's rows leave the
    buffer only when its insert was confirmed. For one thread at a time, but for ``refresh_buyers``.
    ``inserted(table, rows, seconds)`` is told of every insert.
    """

    def __init__(
        self, store: Store, inserted: Callable[[str, int, float], None] = lambda table, rows, seconds: None
    ) -> None:
        self._store = store
        self._inserted = inserted
        self._waiting: dict[str, list[pa.Table]] = {}

    @property
    def waiting_rows(self) -> int:
        """Rows added and not yet flushed."""
        return sum(table.num_rows for tables in self._waiting.values() for table in tables)

    def assignments(self, batch: AssignmentBatch, rows: npt.NDArray[np.bool_] | None = None) -> None:
        """Add session revisions, or those where ``rows`` (n,) is true."""
        self._add(_SESSIONS, assignment_table(batch if rows is None or rows.all() else batch.at(rows)))

    def distributions(self, rows: MixRows, emitted_ms: int) -> None:
        """Add windows and decayed mixes."""
        self._add("merchant_distributions", distribution_table(rows, emitted_ms))

    def drift(self, merchant_id: str, codebook_version: str, alarm: DriftAlarm, emitted_ms: int) -> None:
        """Add a change of mix; ``details`` names the types and codes that moved."""
        details = {
            "movers": [{"code": code, "before": before, "now": now} for code, before, now in alarm.movers],
            "types": [{"type": name, "before": before, "now": now} for name, before, now in alarm.types],
            "baseline_sessions": alarm.baseline_sessions,
            "recent_sessions": alarm.recent_sessions,
        }
        row = DriftRow(
            merchant_id=merchant_id,
            detected_at=alarm.detected_at_ms,
            detector=alarm.detector,
            statistic=alarm.statistic,
            threshold=alarm.threshold,
            n_effective=alarm.n_effective,
            baseline_window=f"{_iso(alarm.baseline_start_ms)}/{_iso(alarm.baseline_end_ms)}",
            details=json.dumps(details),
            codebook_version=codebook_version,
            emitted_at=emitted_ms,
        )
        self._add("drift_events", record_table("drift_events", [row]))

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """Add records that could not be used; one row per topic, partition and offset."""
        self._add("rejected_events", record_table("rejected_events", rejections))

    def replayed(self, rows: Sequence[ReplayedRow]) -> None:
        """Add rejected events that were sent back to their topic."""
        self._add("replayed_events", record_table("replayed_events", rows))

    def codebook(self, codebook: CodebookRow, personas: Sequence[PersonaRow]) -> None:
        """Add a codebook version and the descriptors of its codes."""
        self._add("codebooks", record_table("codebooks", [codebook]))
        self._add("personas", record_table("personas", personas))

    def simulation_run(self, run: SimulationRun) -> None:
        """Add a simulation run."""
        self._add("simulation_runs", record_table("simulation_runs", [run]))

    def simulated_sessions(self, sessions: Sequence[SimulatedSession]) -> None:
        """Add the sessions of simulated shoppers."""
        self._add("simulated_sessions", record_table("simulated_sessions", sessions))

    def alignment_scores(self, scores: Sequence[AlignmentScore]) -> None:
        """Add alignment measures of a run."""
        self._add("alignment_scores", record_table("alignment_scores", scores))

    def flush(self) -> int:
        """Write everything that waits, one insert per table; return the rows written.

        Called at a checkpoint. Raises RetryLater while the store is away (what was not confirmed keeps waiting; call
        again) and StoreError when the store refuses the rows.
        """
        order = sorted(self._waiting, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
        return sum(self._write(table) for table in order)

    def flush_sessions(self) -> int:
        """Write the session revisions that wait, to be read before the checkpoint; raises as ``flush``."""
        return self._write(_SESSIONS) if _SESSIONS in self._waiting else 0

    def _write(self, table: str) -> int:
        rows = pa.concat_tables(self._waiting[table])
        begun_s = time.perf_counter()
        self._store.insert(table, rows)
        self._inserted(table, rows.num_rows, time.perf_counter() - begun_s)
        del self._waiting[table]
        return int(rows.num_rows)

    def refresh_buyers(self, since_ms: int, half_life_ms: int = buyers.HALF_LIFE_MS) -> tuple[int, int]:
        """Rewrite the type of every buyer with a final session stored since then.

        ``since_ms`` and the first number returned are the store's clock: the moment the refresh began. The second is
        the number of final sessions stored since then (0: nothing was written). Raises as ``flush``.
        """
        parameters = {"since_ms": since_ms, "half_life_ms": half_life_ms}
        started_ms = int(self._store.command(buyers.CLOCK))
        sessions = int(self._store.command(buyers.FRESH, parameters))
        if sessions:
            self._store.command(buyers.REFRESH, parameters)
        return started_ms, sessions

    def _add(self, table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            self._waiting.setdefault(table, []).append(rows)


def _iso(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms")) + "Z"
