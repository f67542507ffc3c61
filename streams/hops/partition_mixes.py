"""What the second hop remembers of one partition: mixes, drift detectors and the paths of codes."""

import itertools

import numpy as np
import numpy.typing as npt

from schemas.assignments import AssignmentBatch
from streams.drift.detectors import DriftRules
from streams.drift.watch import WATCHED_SOURCE, DriftWatch, Ring
from streams.mixes.decay import DecayRule
from streams.mixes.distribution import Changes, Mixes, countable
from streams.store.history import History

#: Stored sessions that a merchant's drift detector is fed after a start: fifty blocks, enough to fill a baseline.
DRIFT_MEMORY_SESSIONS = 5_000
#: Sessions wait this long (time of processing) before the detectors see them, then in order of time: while a worker
#: catches up, partitions and clients are hours apart, and blocks cut from them as they come would smear a change.
DRIFT_SETTLE_MS = 5_000


class PartitionMixes:
    """State of one partition of ``sessions.assigned``; empty at first, hydrated merchant by merchant.

    Use: ``hydrate`` (reads the store, changes nothing when that fails), then ``count`` for each batch in order, then
    ``take_changes`` and, also without new sessions, ``take_rings``; ``evict`` once these are stored.
    """

    def __init__(self, decay: DecayRule, drift_rules: DriftRules) -> None:
        self._horizon_ms = decay.horizon_ms
        self._mixes = Mixes(decay)
        self._watch = DriftWatch(drift_rules)
        self._arrived: list[tuple[int, bytes, str, str, int]] = []
        self._arrived_since_ms = 0
        self._rings: list[Ring] = []
        self._paths: dict[str, dict[int, str]] = {}

    def hydrate(self, batches: list[AssignmentBatch], history: History, now_ms: int) -> None:
        """Bring into memory what the store knows of the merchants and days of these batches and memory does not.

        Raises RetryLater or StoreError as ``History``; then nothing has changed.
        """
        mixes, days = self._mixes.missing(batches)
        if not days:
            return
        earliest_ms = min(int(batch.ended_ms[countable(batch)].min(initial=2**62)) for batch in batches)
        new = [mix.merchant_id for mix in mixes]
        known = {key.mix.merchant_id for key in days} - set(new)
        day_numbers = {key.day for key in days}
        stored = list(history.counted(new, day_numbers, earliest_ms - self._horizon_ms))
        stored += history.counted(known, day_numbers, None)
        sessions = list(
            history.recent(
                [mix.merchant_id for mix in mixes if mix.source == WATCHED_SOURCE],
                WATCHED_SOURCE,
                DRIFT_MEMORY_SESSIONS,
            )
        )
        self._mixes.hydrate(mixes, days, stored, now_ms)
        for row in stored:
            self._paths.setdefault(row.codebook_version, {})[row.code] = row.code_path
        for session in sessions:
            # An alarm here is one that the worker before could not store, or one on the edge of ringing.
            ring = self._watch.update(
                session.merchant_id,
                session.codebook_version,
                session.code,
                session.ended_ms,
                coarse_path(session.code_path),
            )
            if ring is not None:
                self._rings.append(ring)

    def count(self, batch: AssignmentBatch, now_ms: int) -> npt.NDArray[np.bool_]:
        """Count a batch; return which of its rows (n,) are to be stored. See ``Mixes.count``."""
        counted = self._mixes.count(batch, now_ms)
        if batch.source == WATCHED_SOURCE:
            rows = counted.fresh
            if not self._arrived:
                self._arrived_since_ms = now_ms
            self._arrived += zip(
                batch.ended_ms[rows].tolist(),
                batch.session_id[rows].tolist(),
                batch.merchant_id[rows].tolist(),
                itertools.repeat(batch.codebook_version, len(rows)),
                batch.code[rows].tolist(),
                strict=True,
            )
        paths = self._paths.setdefault(batch.codebook_version, {})
        paths.update(zip(batch.code[counted.fresh].tolist(), batch.code_path[counted.fresh].tolist(), strict=True))
        return counted.standing

    def take_changes(self) -> Changes:
        """Return what changed since the last call, see ``Mixes.take_changes``."""
        return self._mixes.take_changes()

    def rings_due(self, now_ms: int) -> bool:
        """Say whether sessions have waited long enough to be shown to the detectors."""
        return bool(self._arrived) and now_ms - self._arrived_since_ms >= DRIFT_SETTLE_MS

    def take_rings(self, now_ms: int) -> list[Ring]:
        """Show the detectors what has waited long enough; return the alarms since the last call."""
        if self.rings_due(now_ms):
            for ended_ms, _, merchant, version, code in sorted(self._arrived):
                coarse = coarse_path(self._paths[version][code])
                ring = self._watch.update(merchant, version, code, ended_ms, coarse)
                if ring is not None:
                    self._rings.append(ring)
            self._arrived.clear()
        rings, self._rings = self._rings, []
        return rings

    def code_paths(self, codebook_version: str) -> dict[int, str]:
        """Return the path of every code of a version that was seen here."""
        return self._paths.get(codebook_version, {})

    def evict(self, untouched_since_ms: int) -> None:
        """Forget merchants and days that were quiet since then."""
        gone = {mix.merchant_id for mix in self._mixes.evict(untouched_since_ms) if mix.source == WATCHED_SOURCE}
        self._watch.forget(gone)
        self._arrived = [session for session in self._arrived if session[2] not in gone]

    @property
    def days(self) -> int:
        """Merchant-days in memory."""
        return len(self._mixes)


def coarse_path(code_path: str) -> str:
    """Return the buyer type of a code: the coarse part of its path, ``c03`` of ``c03.f2``."""
    return code_path.partition(".")[0]
