"""Mixes are a function of the set of final sessions: order, repetition, batching and restarts do not matter."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.mixes.decay import DecayRule
from streams.mixes.distribution import DAY_MS, DECAYED, MINUTE_MS, WINDOWS_MS, DayKey, Mixes, StoredCounts
from streams.mixes.rows import MixKey, MixRows

pytestmark = pytest.mark.fast

HALF_LIFE_MS = 6 * 3_600_000


def rows_by_key(rows: MixRows) -> dict[tuple[str, str, int, str, str, int], tuple[float, int, int, float]]:
    columns = {name: values.tolist() for name, values in rows.columns().items()}
    keys = [columns[name] for name in ("merchant_id", "window", "window_start", "codebook_version", "source", "code")]
    values = [columns[name] for name in ("weight", "sessions", "total", "n_effective")]
    return dict(zip(zip(*keys, strict=True), zip(*values, strict=True), strict=True))


class Bench:
    """Mixes with a store beside them: what ClickHouse would hold, kept in dictionaries."""

    def __init__(self, assigned: Any) -> None:
        self.assigned = assigned
        self.stored: dict[tuple[str, int], Any] = {}
        self.emitted: dict[Any, Any] = {}
        self.fresh = 0
        self.restart()

    def restart(self) -> None:
        self.mixes = Mixes(DecayRule(HALF_LIFE_MS))

    def take(self, rows: Sequence[Any], emit: bool = True) -> None:
        batches = self.assigned.batches(rows)
        mixes, days = self.mixes.missing(batches)
        self.mixes.hydrate(mixes, days, self.counts(), now_ms=0)
        standing = []
        for batch in batches:
            counted = self.mixes.count(batch, now_ms=0)
            self.fresh += len(counted.fresh)
            standing += [(batch.merchant_id[i], int(batch.session_id[i], 16)) for i in counted.standing.nonzero()[0]]
        for row in rows:
            if (row.merchant, row.session) in standing and row.final and not row.bot and row.superseded_by is None:
                self.stored.setdefault((row.merchant, row.session), row)
        if emit:
            self.emit()

    def emit(self) -> None:
        for key, value in rows_by_key(self.mixes.take_changes().rows).items():
            if key not in self.emitted or value[2] >= self.emitted[key][2]:  # ReplacingMergeTree(total)
                self.emitted[key] = value

    def counts(self) -> list[StoredCounts]:
        return [
            StoredCounts(
                MixKey(row.merchant, row.source),
                row.version,
                row.code,
                f"c{row.code:02d}",
                row.ended_ms // MINUTE_MS,
                1,
                np.array([b"%016x" % row.session]),
            )
            for row in self.stored.values()
        ]


@pytest.fixture
def bench(assigned: Any) -> Bench:
    return Bench(assigned)


def test_a_final_session_counts_in_every_window_and_in_the_decayed_mix(bench: Bench, assigned: Any) -> None:
    bench.take([assigned.Row(1, code=3)])
    day = assigned.NOON_MS // DAY_MS * DAY_MS
    noon = assigned.NOON_MS
    assert bench.emitted == {
        ("m", "1m", noon, "v1", "live", 3): (1.0, 1, 1, 1.0),
        ("m", "5m", noon, "v1", "live", 3): (1.0, 1, 1, 1.0),
        ("m", "1h", noon, "v1", "live", 3): (1.0, 1, 1, 1.0),
        ("m", "1d", day, "v1", "live", 3): (1.0, 1, 1, 1.0),
        ("m", "decayed", noon, "v1", "live", 3): (1.0, 1, 1, 1.0),
    }


@pytest.mark.parametrize(
    "change", [{"final": False}, {"bot": True}, {"superseded_by": 9}], ids=["provisional", "bot", "superseded"]
)
def test_what_is_not_a_finished_session_of_a_person_is_stored_but_does_not_count(
    bench: Bench, assigned: Any, change: dict[str, Any]
) -> None:
    batch = assigned.batch([assigned.Row(1, **change)])
    assert bench.mixes.missing([batch]) == (set(), set())
    counted = bench.mixes.count(batch, now_ms=0)
    assert counted.standing.tolist() == [True]
    assert counted.fresh.tolist() == []
    assert len(bench.mixes.take_changes().rows) == 0


def test_a_repeat_of_a_counted_session_is_not_stored_again(bench: Bench, assigned: Any) -> None:
    bench.take([assigned.Row(1)])
    counted = bench.mixes.count(assigned.batch([assigned.Row(1), assigned.Row(2), assigned.Row(2)]), now_ms=0)
    assert counted.standing.tolist() == [False, True, False]
    assert counted.fresh.tolist() == [1]


def test_a_session_keeps_the_codebook_version_that_first_finished_it(bench: Bench, assigned: Any) -> None:
    bench.take([assigned.Row(1, version="v1")])
    bench.take([assigned.Row(1, version="v2"), assigned.Row(2, version="v2")])
    days = {key[3]: value[1] for key, value in bench.emitted.items() if key[1] == "1d"}
    assert days == {"v1": 1, "v2": 1}


def test_sources_never_mix(bench: Bench, assigned: Any) -> None:
    bench.take([assigned.Row(1, code=1), assigned.Row(2, code=1, source="simulated")])
    for source in ("live", "simulated"):
        assert [v[1:3] for k, v in bench.emitted.items() if k[4] == source and k[1] == "1d"] == [(1, 1)]


def test_windows_of_repeats_are_written_again_in_case_the_first_writer_died_before_writing_them(
    bench: Bench, assigned: Any
) -> None:
    bench.take([assigned.Row(1), assigned.Row(2, code=5)], emit=False)
    bench.restart()
    bench.take([assigned.Row(1)])
    assert sum(value[1] for key, value in bench.emitted.items() if key[1] == "1d") == 2


def test_a_day_is_forgotten_when_it_was_quiet_and_comes_back_by_hydration(bench: Bench, assigned: Any) -> None:
    bench.take([assigned.Row(1)])
    assert bench.mixes.evict(untouched_since_ms=0) == set()
    assert bench.mixes.evict(untouched_since_ms=1) == {MixKey("m", "live")}
    assert len(bench.mixes) == 0
    bench.take([assigned.Row(1), assigned.Row(2)])
    assert bench.fresh == 2
    assert [value[2] for key, value in bench.emitted.items() if key[1] == "1d"] == [2]


def test_counting_without_hydration_is_refused(bench: Bench, assigned: Any) -> None:
    with pytest.raises(KeyError):
        bench.mixes.count(assigned.batch([assigned.Row(1)]), now_ms=0)


def test_missing_names_each_mix_and_each_day_once(bench: Bench, assigned: Any) -> None:
    rows = [assigned.Row(1), assigned.Row(2), assigned.Row(3, ended_ms=assigned.NOON_MS + DAY_MS)]
    today = assigned.NOON_MS // DAY_MS
    mix = MixKey("m", "live")
    assert bench.mixes.missing(assigned.batches(rows)) == ({mix}, {DayKey(mix, today), DayKey(mix, today + 1)})


@st.composite
def final_sessions(draw: st.DrawFn, row: Any, noon_ms: int) -> list[Any]:
    """Sessions of two merchants over some days, some of them bots, provisional or superseded."""
    sessions = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.integers(0, 6 * 24 * 60),
                st.sampled_from(["m", "n"]),
                st.sampled_from(["person", "person", "person", "bot", "open", "superseded"]),
                st.sampled_from(["live", "live", "simulated"]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    kinds: dict[str, dict[str, Any]] = {
        "person": {},
        "bot": {"bot": True},
        "open": {"final": False},
        "superseded": {"superseded_by": 999},
    }
    return [
        row(i, code, noon_ms + minute * MINUTE_MS + i, merchant, source=source, **kinds[kind])
        for i, (code, minute, merchant, kind, source) in enumerate(sessions)
    ]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_books_balance_whatever_is_repeated_reordered_or_interrupted(assigned: Any, data: st.DataObject) -> None:
    rows = data.draw(final_sessions(assigned.Row, assigned.NOON_MS))
    steady, troubled = Bench(assigned), Bench(assigned)
    steady.take(rows)
    arrivals = data.draw(st.permutations(rows)) + data.draw(st.lists(st.sampled_from(rows), max_size=20))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(arrivals)), max_size=5)) | {0, len(arrivals)})
    for start, end in itertools.pairwise(cuts):
        chunk = arrivals[start:end]
        if data.draw(st.booleans()):  # stored, then killed before the counts were written; the chunk comes again
            troubled.take(chunk, emit=False)
            troubled.restart()
        elif data.draw(st.booleans()):
            troubled.mixes.evict(untouched_since_ms=1)
        troubled.take(chunk)
    assert {k: v for k, v in troubled.emitted.items() if k[1] != DECAYED} == {
        k: v for k, v in steady.emitted.items() if k[1] != DECAYED
    }
    people = Counter(
        (row.merchant, row.source) for row in rows if row.final and not row.bot and row.superseded_by is None
    )
    for window in WINDOWS_MS:
        counts: Counter[tuple[str, str]] = Counter()
        for key, value in troubled.emitted.items():
            if key[1] == window:
                counts[key[0], key[4]] += value[1]
        assert counts == people
    # Of the decayed mix only the newest is a function of the set alone: the others tell how far it was known.
    for mix in people:
        newest = max(key[2] for key in steady.emitted if key[1] == DECAYED and (key[0], key[4]) == mix)
        assert [
            {k[5]: v for k, v in b.emitted.items() if k[1] == DECAYED and (k[0], k[4]) == mix and k[2] == newest}
            for b in (troubled,)
        ] == [{k[5]: v for k, v in steady.emitted.items() if k[1] == DECAYED and (k[0], k[4]) == mix}]
