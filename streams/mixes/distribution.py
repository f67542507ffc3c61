"""A merchant's mix of buyer types: exact counts per window and an exponentially decayed mix. Pure: no clock, no I/O.

Everything here is a function of the *set* of final sessions, never of the order or the number of times they came:
windows hold integer counts, the decayed mix integer weights, and a set of session ids per merchant and day makes a
repeated row harmless. Days that are not in memory are hydrated from the rows already stored (see
``streams.store.history``), so a restart continues with the same numbers.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.assignments import AssignmentBatch, Bytes
from schemas.events import I64
from streams.mixes.decay import DecayedMix, DecayRule, Mix
from streams.mixes.rows import MixKey, MixRows
from streams.mixes.session_ids import SessionIds, numbers_of

MINUTE_MS = 60_000
DAY_MS = 86_400_000
#: Names and lengths of the counted windows. A window belongs to the sessions that *ended* in it.
WINDOWS_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": 60 * MINUTE_MS, "1d": DAY_MS}
DECAYED = "decayed"


class DayKey(NamedTuple):
    """One UTC day (``ended_ms // DAY_MS``) of one mix: the unit that is hydrated and evicted."""

    mix: MixKey
    day: int


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """Final sessions already stored that share merchant, source, codebook version, code and minute of their end.

    ``session_ids`` (n,) S16 may be empty for minutes outside the days that were asked for.
    """

    mix: MixKey
    codebook_version: str
    code: int
    code_path: str
    minute: int
    sessions: int
    session_ids: Bytes


@dataclass(frozen=True, slots=True)
class Counted:
    """What ``Mixes.count`` made of ``n`` rows.

    standing  (n,) bool, rows to store: all but repeats of a final session that already counts
    fresh     (m,) int64, rows that count for the first time, in row order
    """

    standing: npt.NDArray[np.bool_]
    fresh: I64


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since the last call: rows to store, and the decayed mix of each (merchant, source) touched."""

    rows: MixRows
    decayed: dict[MixKey, tuple[str, Mix]]


#: A window of a day as one integer: its first minute times the number of windows, plus its place in WINDOWS_MS.
_MINUTES = tuple(length_ms // MINUTE_MS for length_ms in WINDOWS_MS.values())
_NAMES = tuple(WINDOWS_MS)


def _windows_of(minute: int) -> tuple[int, ...]:
    # A list would do; written out, it costs a third of a comprehension, and every final session comes by here.
    n, (_, five, hour, day) = len(_MINUTES), _MINUTES
    return (
        minute * n,
        (minute - minute % five) * n + 1,
        (minute - minute % hour) * n + 2,
        (minute - minute % day) * n + 3,
    )


class _Day:
    """Counts of one merchant, source and day: by codebook version, window and code."""

    __slots__ = ("counts", "dirty", "session_ids", "touched_ms")

    def __init__(self, touched_ms: int) -> None:
        self.session_ids = SessionIds()
        self.counts: dict[str, dict[int, dict[int, int]]] = {}
        self.dirty: dict[str, set[int]] = {}
        self.touched_ms = touched_ms

    def add(self, version: str, code: int, minute: int, sessions: int) -> None:
        windows = self.counts.setdefault(version, {})
        for window in _windows_of(minute):
            counts = windows.get(window)
            if counts is None:
                windows[window] = {code: sessions}
            else:
                counts[code] = counts.get(code, 0) + sessions

    def mark(self, version: str, minute: int) -> None:
        self.dirty.setdefault(version, set()).update(_windows_of(minute))


class Mixes:
    """Mixes of the merchants of one partition of ``sessions.assigned``.

    Use: ``missing`` says what has to be hydrated for some rows, ``hydrate`` takes it in, ``count`` applies the rows,
    ``take_changes`` hands out every window they touched, ``evict`` forgets what was quiet for long.
    """

    def __init__(self, decay: DecayRule) -> None:
        self._decay = decay
        self._days: dict[DayKey, _Day] = {}
        self._decayed: dict[MixKey, dict[str, DecayedMix]] = {}
        self._dirty_decayed: set[tuple[MixKey, str]] = set()
        self._dirty_days: set[DayKey] = set()

    def missing(self, batches: Iterable[AssignmentBatch]) -> tuple[set[MixKey], set[DayKey]]:
        """Return the mixes and the days that countable rows of these batches touch and memory does not hold."""
        mixes: set[MixKey] = set()
        days: set[DayKey] = set()
        for batch in batches:
            rows = countable(batch)
            ended = (batch.ended_ms[rows] // DAY_MS).tolist()
            for merchant, day in set(zip(batch.merchant_id[rows].tolist(), ended, strict=True)):
                mix = MixKey(merchant, batch.source)
                if mix not in self._decayed:
                    mixes.add(mix)
                if DayKey(mix, day) not in self._days:
                    days.add(DayKey(mix, day))
        return mixes, days

    def hydrate(self, mixes: Set[MixKey], days: Set[DayKey], stored: Iterable[StoredCounts], now_ms: int) -> None:
        """Take in what the store holds for the keys that ``missing`` named; other rows are ignored.

        ``now_ms`` is the time of processing, for ``evict``. Call it also when the store held nothing: the keys are
        known from then on.
        """
        for mix in mixes:
            self._decayed[mix] = {}
        for key in days:
            self._days[key] = _Day(now_ms)
        for row in stored:
            if row.mix in mixes:
                self._decayed_of(row.mix, row.codebook_version).add(row.code, row.minute * MINUTE_MS, row.sessions)
            key = DayKey(row.mix, row.minute * MINUTE_MS // DAY_MS)
            if key in days:
                day = self._days[key]
                day.session_ids.add(numbers_of(row.session_ids))
                day.add(row.codebook_version, row.code, row.minute, row.sessions)

    def count(self, batch: AssignmentBatch, now_ms: int) -> Counted:
        """Count the final sessions of a batch that are no bots, are not superseded and do not count yet.

        The first final row of a session stands: a repeat (a chunk read again after a crash, or the same session encoded
        by a newer codebook) neither counts nor is to be stored again, so that one session never counts under two
        versions. Windows of repeats are still marked as changed: the writer before the crash may have stored the
        sessions and not yet the counts. Raises KeyError when ``missing`` was not hydrated.
        """
        standing = np.ones(len(batch), dtype=np.bool_)
        rows = countable(batch)
        merchants = batch.merchant_id[rows].tolist()
        minutes = (batch.ended_ms[rows] // MINUTE_MS).tolist()
        touched = self._touch(set(zip(merchants, minutes, strict=True)), batch, now_ms)
        rows_of_day: dict[_Day, list[int]] = {}
        for row, key in enumerate(zip(merchants, minutes, strict=True)):
            rows_of_day.setdefault(touched[key], []).append(row)
        numbers = numbers_of(batch.session_id[rows])
        new = np.zeros(len(rows), dtype=np.bool_)
        for day, of_day in rows_of_day.items():
            new[of_day] = day.session_ids.add(numbers[of_day])
        standing[rows[~new]] = False
        groups = Counter(compress(zip(merchants, minutes, batch.code[rows].tolist(), strict=True), new))
        for (merchant, minute, code), sessions in groups.items():
            touched[merchant, minute].add(batch.codebook_version, code, minute, sessions)
            mix = MixKey(merchant, batch.source)
            self._decayed_of(mix, batch.codebook_version).add(code, minute * MINUTE_MS, sessions)
        return Counted(standing, rows[new])

    def _touch(
        self, minutes: Set[tuple[str, int]], batch: AssignmentBatch, now_ms: int
    ) -> dict[tuple[str, int], "_Day"]:
        """Mark the windows around some (merchant, minute) as changed; return the day of each."""
        touched: dict[tuple[str, int], _Day] = {}
        for merchant, minute in minutes:
            mix = MixKey(merchant, batch.source)
            key = DayKey(mix, minute * MINUTE_MS // DAY_MS)
            day = self._days[key]
            day.touched_ms = now_ms
            day.mark(batch.codebook_version, minute)
            touched[merchant, minute] = day
            self._dirty_days.add(key)
            self._dirty_decayed.add((mix, batch.codebook_version))
        return touched

    def take_changes(self) -> Changes:
        """Return every window and decayed mix touched since the last call, whole, and forget that they were touched.

        The caller owns the rows from then on: it must write them before the rows that caused them are acknowledged.
        """
        rows = MixRows()
        for key in sorted(self._dirty_days):
            day = self._days[key]
            for version, dirty in sorted(day.dirty.items()):
                # A repeat of a session under a newer codebook marks a window of that version which has no counts.
                windows = day.counts.get(version, {})
                for window in sorted(dirty & windows.keys()):
                    minute, place = divmod(window, len(_NAMES))
                    rows.add(key.mix, version, _NAMES[place], minute * MINUTE_MS, Mix.of_counts(windows[window]))
            day.dirty.clear()
        self._dirty_days.clear()
        latest: dict[MixKey, tuple[int, str, Mix]] = {}
        for mix_key, version in sorted(self._dirty_decayed):
            decayed = self._decayed[mix_key].get(version)
            if decayed is None:
                continue
            mix, start_ms = decayed.mix(), decayed.newest_ms
            rows.add(mix_key, version, DECAYED, start_ms, mix)
            if mix_key not in latest or start_ms >= latest[mix_key][0]:
                latest[mix_key] = (start_ms, version, mix)
        self._dirty_decayed.clear()
        return Changes(rows, {key: (version, mix) for key, (_, version, mix) in latest.items()})

    def evict(self, untouched_since_ms: int) -> set[MixKey]:
        """Forget days untouched since then, and mixes of which no day is left; return those mixes.

        Call only after everything counted was stored: what is forgotten comes back by hydration.
        """
        for key in [k for k, d in self._days.items() if d.touched_ms < untouched_since_ms and not d.dirty]:
            del self._days[key]
        resident = {key.mix for key in self._days}
        gone = {mix for mix in self._decayed if mix not in resident}
        for mix in gone:
            del self._decayed[mix]
        return gone

    def __len__(self) -> int:
        """Days in memory."""
        return len(self._days)

    def _decayed_of(self, mix: MixKey, version: str) -> DecayedMix:
        versions = self._decayed[mix]
        if version not in versions:
            versions[version] = DecayedMix(self._decay)
        return versions[version]


def countable(batch: AssignmentBatch) -> I64:
    """Return the rows that stand for a finished session of a person: final, not superseded, not a bot."""
    rows: I64 = np.flatnonzero((batch.is_final != 0) & (batch.is_bot == 0) & (batch.superseded_by == b""))
    return rows
