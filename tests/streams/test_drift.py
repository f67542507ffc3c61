"""The drift detector: rings within a few hundred sessions of a real change, and hardly ever without one."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.drift import DriftAlarm, DriftDetector, DriftRules, expectation, js_divergence, movers, shift

pytestmark = pytest.mark.fast

Codes = npt.NDArray[np.int64]


def rings(codes: Codes, times_ms: Codes | None = None, rules: DriftRules | None = None) -> list[tuple[int, DriftAlarm]]:
    """Return (index of the session that rang, alarm); sessions end a minute apart unless told."""
    detector = DriftDetector(rules or DriftRules())
    out = []
    for i, code in enumerate(codes.tolist()):
        alarm = detector.update(code, i * 60_000 if times_ms is None else int(times_ms[i]))
        if alarm is not None:
            out.append((i, alarm))
    return out


def drawn(rng: np.random.Generator, mix: npt.NDArray[np.float64], sessions: int) -> Codes:
    return rng.choice(len(mix), sessions, p=mix)


def moved(rng: np.random.Generator, mix: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Return a mix from whose popular codes ``share`` went to two others at random."""
    out = mix.copy()
    order = np.argsort(-mix)
    left = share
    for code in order:
        taken = min(out[code] * 0.9, left)
        out[code] -= taken
        left -= taken
    out[rng.choice(order[2:], 2, replace=False)] += share / 2
    return out / out.sum()


@pytest.mark.parametrize("codes", [16, 64])
@pytest.mark.parametrize("evenness", [0.3, 1.0])
def test_steady_merchants_do_not_ring(codes: int, evenness: float) -> None:
    rng = np.random.default_rng(codes)
    found = 0
    for _ in range(40):
        mix = rng.dirichlet(np.full(codes, evenness))
        found += len(rings(drawn(rng, mix, 5_000)))
    assert found == 0  # 200 000 sessions


@pytest.mark.parametrize("codes", [16, 64])
def test_a_sudden_change_of_twenty_five_points_rings_within_a_few_hundred_sessions(codes: int) -> None:
    rng = np.random.default_rng(codes + 1)
    delays = []
    for _ in range(30):
        before = rng.dirichlet(np.ones(codes))
        after = moved(rng, before, 0.25)
        found = rings(np.concatenate([drawn(rng, before, 2_000), drawn(rng, after, 1_500)]))
        assert all(index >= 2_000 for index, _ in found)
        assert len(found) == 1
        delays.append(found[0][0] - 2_000)
    assert np.median(delays) <= 400
    assert max(delays) <= 1_000


def test_an_alarm_says_when_how_far_against_what_and_which_codes_moved() -> None:
    rng = np.random.default_rng(3)
    before, after = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.2, 0.4])
    [(index, alarm)] = rings(np.concatenate([drawn(rng, before, 2_000), drawn(rng, after, 600)]))
    assert alarm.detected_at_ms == index * 60_000
    assert alarm.statistic > alarm.threshold >= DriftRules().floor_nats
    assert alarm.baseline_start_ms == 0
    assert alarm.baseline_end_ms < 2_000 * 60_000
    assert alarm.recent_sessions == 300
    assert {code for code, _, _ in alarm.movers[:2]} == {0, 3}


def test_after_an_alarm_the_new_mix_is_the_baseline() -> None:
    rng = np.random.default_rng(4)
    a, b = np.array([0.6, 0.2, 0.1, 0.1]), np.array([0.2, 0.6, 0.1, 0.1])
    found = rings(np.concatenate([drawn(rng, a, 2_000), drawn(rng, b, 3_000), drawn(rng, a, 2_000)]))
    assert [index // 1_000 for index, _ in found] == [2, 5]


def test_a_slow_change_rings_once_the_mix_is_far_enough_from_the_standing_baseline() -> None:
    rng = np.random.default_rng(5)
    a, b = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.2, 0.2, 0.2, 0.4])
    share = np.clip((np.arange(12_000) - 3_000) / 6_000, 0, 1)
    codes = np.array([rng.choice(4, p=(1 - s) * a + s * b) for s in share])
    found = rings(codes, times_ms=np.arange(12_000) * 60_000)
    assert found
    assert all(index > 3_000 for index, _ in found)


def test_a_rhythm_that_moves_ten_points_of_the_mix_over_the_day_does_not_ring() -> None:
    rng = np.random.default_rng(6)
    base, swing = np.array([0.3, 0.3, 0.2, 0.2]), np.array([0.025, -0.025, 0.025, -0.025])
    minutes = np.arange(10 * 1_440)  # a session a minute for ten days
    mixes = base + np.sin(minutes / 1_440 * 2 * math.pi)[:, None] * swing
    codes = (rng.random(len(minutes))[:, None] > mixes.cumsum(1)).sum(1)
    assert rings(codes, times_ms=minutes * 60_000) == []


def test_the_same_sessions_ring_the_same_alarms() -> None:
    rng = np.random.default_rng(7)
    codes = np.concatenate([drawn(rng, np.array([0.7, 0.3]), 1_000), drawn(rng, np.array([0.3, 0.7]), 500)])
    assert rings(codes) == rings(codes) != []


def test_too_few_sessions_for_a_baseline_never_ring() -> None:
    codes = np.array([0] * 400 + [1] * 300)
    assert rings(codes) == []


def test_a_strong_rhythm_that_the_baseline_has_seen_does_not_ring_and_a_change_within_it_does() -> None:
    rng = np.random.default_rng(8)
    base, swing = np.array([0.3, 0.3, 0.2, 0.2]), np.array([0.12, -0.12, 0.08, -0.08])
    minutes = np.arange(8 * 1_440)
    mixes = base + np.sin(minutes / 1_440 * 2 * math.pi)[:, None] * swing
    changed = minutes >= 5 * 1_440
    mixes[changed] = mixes[changed][:, [2, 1, 0, 3]]
    codes = (rng.random(len(minutes))[:, None] > mixes.cumsum(1)).sum(1)
    found = rings(codes, times_ms=minutes * 60_000)
    assert [index // 1_440 for index, _ in found] == [5]


def test_hours_that_the_baseline_has_not_seen_are_judged_mildly() -> None:
    rng = np.random.default_rng(9)
    morning, evening = np.array([0.5, 0.3, 0.2]), np.array([0.35, 0.35, 0.3])
    day = np.concatenate([drawn(rng, morning, 720), drawn(rng, evening, 720)])
    assert rings(np.concatenate([day, day]), times_ms=np.arange(2_880) * 60_000) == []


counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20).filter(
    lambda pairs: min(sum(a for a, _ in pairs), sum(b for _, b in pairs)) > 0
)


def shares(pairs: list[tuple[int, int]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.array([pair for pair in pairs if any(pair)], dtype=float).T
    return a / a.sum(), b / b.sum()


@given(counts)
def test_divergence_is_symmetric_and_bounded_and_zero_for_equal_shares(pairs: list[tuple[int, int]]) -> None:
    p, q = shares(pairs)
    assert js_divergence(p, q) == pytest.approx(js_divergence(q, p), abs=1e-12)
    assert -1e-12 <= js_divergence(p, q) <= math.log(2) + 1e-12
    assert js_divergence(p, p) == pytest.approx(0, abs=1e-12)
    assert shift(p, 300.0, q, 100.0).divergence <= js_divergence(p, q)


@given(counts)
def test_movers_are_the_largest_changes_first(pairs: list[tuple[int, int]]) -> None:
    p, q = shares(pairs)
    changes = [abs(now - before) for _, before, now in movers(list(range(len(p))), p, q)]
    assert changes == sorted(changes, reverse=True)
    assert len(changes) <= 5


@given(st.integers(1, 8), st.integers(1, 5), st.data())
def test_the_expected_mix_is_a_mix_and_worth_no_more_sessions_than_there_are(
    parts: int, codes: int, data: st.DataObject
) -> None:
    cells = st.lists(st.integers(0, 40), min_size=parts * codes, max_size=parts * codes).filter(any)
    baseline = np.array(data.draw(cells), dtype=float).reshape(parts, codes)
    other = np.array(data.draw(st.lists(st.integers(0, 9), min_size=parts, max_size=parts).filter(any)), dtype=float)
    mix, worth = expectation(baseline, other, whole_day_sessions=25.0)
    assert mix.sum() == pytest.approx(1)
    assert 0 < worth <= 2 * baseline.sum() + 1e-9


def test_a_baseline_without_rhythm_is_worth_its_own_number_of_sessions() -> None:
    _, worth = expectation(np.full((8, 4), 50.0), np.full(8, 10.0), whole_day_sessions=0.0)
    assert worth == pytest.approx(8 * 4 * 50)


@pytest.mark.parametrize("codes", [8, 16, 64])
@pytest.mark.parametrize("sessions", [50, 100, 300])
def test_the_correction_takes_off_what_chance_alone_shows(codes: int, sessions: int) -> None:
    rng = np.random.default_rng(codes * sessions)
    deviations = []
    for _ in range(300):
        mix = rng.dirichlet(np.ones(codes))
        a, b = (np.bincount(drawn(rng, mix, n), minlength=codes) for n in (1_000, sessions))
        seen = (a + b) > 0
        deviations.append(shift(a[seen] / 1_000, 1_000.0, b[seen] / sessions, float(sessions)).deviation)
    assert abs(np.mean(deviations)) < 0.5
    assert 0.6 < np.std(deviations) < 1.3
