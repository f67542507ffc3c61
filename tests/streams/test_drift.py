"""The drift detector: rings within a few hundred sessions of a real change, and hardly ever without one."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.drift.attribution import LEAST_CHANGE, movers
from streams.drift.detectors import DETECTORS, DriftAlarm, DriftDetector, DriftRules
from streams.drift.divergence import js_divergence, shift

Codes = npt.NDArray[np.int64]


def rings(
    codes: Codes, times_ms: Codes | None = None, rules: DriftRules | None = None, fine: int = 1
) -> list[tuple[int, DriftAlarm]]:
    """Return (index of the session that rang, alarm); sessions end a minute apart unless told.

    ``fine`` codes are of one type each.
    """
    detector = DriftDetector(rules or DriftRules())
    out = []
    for i, code in enumerate(codes.tolist()):
        alarm = detector.update(code, i * 60_000 if times_ms is None else int(times_ms[i]), f"c{code // fine:02d}")
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


def test_years_without_a_session_make_no_look_cheap() -> None:
    rng = np.random.default_rng(0)
    codes, pause = drawn(rng, np.full(8, 1 / 8), 1_400), 18 * 366 * 86_400_000
    times_ms = np.arange(len(codes)) * 60_000 + pause * (np.arange(len(codes)) >= 1_000)
    assert rings(codes, times_ms) == []


@pytest.mark.parametrize("fine", [1, 4])
def test_a_sudden_change_of_twenty_five_points_of_the_types_rings_within_a_few_hundred_sessions(fine: int) -> None:
    rng = np.random.default_rng(fine)
    delays = []
    for _ in range(30):
        before = rng.dirichlet(np.ones(16))
        after = moved(rng, before, 0.25)
        types = np.concatenate([drawn(rng, before, 2_000), drawn(rng, after, 1_500)])
        found = rings(types * fine + rng.integers(0, fine, len(types)), fine=fine)
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
    minutes = np.arange(17 * 1_440)
    mixes = base + np.sin(minutes / 1_440 * 2 * math.pi)[:, None] * swing
    changed = minutes >= 15 * 1_440
    mixes[changed] = mixes[changed][:, [2, 1, 0, 3]]
    codes = (rng.random(len(minutes))[:, None] > mixes.cumsum(1)).sum(1)
    found = rings(codes, times_ms=minutes * 60_000)
    assert [index // 1_440 for index, _ in found] == [15]


def test_a_weekend_with_a_mix_of_its_own_does_not_ring_and_is_expected_the_next_time() -> None:
    rng = np.random.default_rng(11)
    workday, weekend = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.3, 0.25, 0.15])
    days = [drawn(rng, weekend if (day + 3) % 7 >= 5 else workday, 720) for day in range(28)]
    assert rings(np.concatenate(days), times_ms=np.arange(28 * 720) * 120_000) == []
    # A workday's mix on a Saturday, which is day 23: the first was a Thursday.
    days[23] = days[24] = drawn(rng, workday, 720)
    found = rings(np.concatenate(days), times_ms=np.arange(28 * 720) * 120_000)
    assert [index // 720 for index, _ in found][:1] in ([23], [24])


@pytest.mark.parametrize("detector", DETECTORS)
def test_each_detector_alone_notices_a_large_change_and_signs_its_alarm(detector: str) -> None:
    rng = np.random.default_rng(12)
    a, b = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.2, 0.2, 0.2, 0.4])
    codes = np.concatenate([drawn(rng, a, 4_000), drawn(rng, b, 2_000)])
    found = rings(codes, rules=DriftRules(detectors=frozenset({detector})))
    assert [alarm.detector for _, alarm in found] == [detector]
    assert 4_000 <= found[0][0] < 5_500


def test_a_busy_merchant_rings_no_oftener_than_a_quiet_one() -> None:
    rng = np.random.default_rng(13)
    codes = drawn(rng, rng.dirichlet(np.ones(16)), 100_000)
    rules = DriftRules(alarms_a_year=5.0)
    for apart_ms in (5_000, 300_000):
        years = len(codes) * apart_ms / (365 * 86_400_000)
        assert len(rings(codes, np.arange(len(codes)) * apart_ms, rules)) <= 2 + 2 * 5.0 * years


def test_a_change_of_types_is_named_by_types_and_codes() -> None:
    rng = np.random.default_rng(14)
    before = np.full(8, 1 / 8)
    after = before + np.array([-0.1, 0.1, 0, 0, 0, 0, 0, 0])
    types = np.concatenate([drawn(rng, before, 15 * 1_440), drawn(rng, after, 3_000)])
    [(_, alarm)] = rings(types * 4 + rng.integers(0, 4, len(types)), fine=4)
    assert {name for name, _, _ in alarm.types} == {"c00", "c01"}
    assert {code // 4 for code, _, _ in alarm.movers} <= {0, 1}


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
def test_movers_are_the_largest_changes_first_and_there_is_always_one(pairs: list[tuple[int, int]]) -> None:
    p, q = shares(pairs)
    found = movers([str(i) for i in range(len(p))], p, 300.0, q, 300.0)
    changes = [abs(now - before) for _, before, now in found]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] == pytest.approx(np.abs(p - q).max())
    assert all(change >= LEAST_CHANGE for change in changes[1:])


def test_only_what_moved_beyond_chance_is_named() -> None:
    rng = np.random.default_rng(10)
    before = rng.dirichlet(np.ones(16))
    after = before.copy()
    loser, winner = np.argsort(-before)[[0, 8]].tolist()
    after[loser] -= 0.12
    after[winner] += 0.12
    wrong = 0
    for _ in range(50):
        now = np.bincount(drawn(rng, after, 1_000), minlength=16) / 1_000
        named = [name for name, _, _ in movers([str(i) for i in range(16)], before, 5_000.0, now, 1_000.0)]
        assert set(named[:2]) == {str(loser), str(winner)}
        wrong += len(named) - 2
    assert wrong <= 15  # on average at most about one in twenty of those named


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
