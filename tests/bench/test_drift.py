"""``bench drift`` on a few shops: its traffic is what it says, and its figures add up."""

import numpy as np
import pytest

from bench.drift import ABLATIONS, DriftPlan, bench_drift
from bench.drift_traffic import DAY_MS, START_MS, TYPES, TrafficPlan, plan_shift, sessions_of, type_of
from bench.report import Report
from streams.drift.detectors import DriftRules

PLAN = TrafficPlan(seed=3)


def shares(types: np.ndarray) -> np.ndarray:
    return np.bincount(types, minlength=TYPES) / len(types)


@pytest.fixture(scope="module")
def report() -> Report:
    return bench_drift(DriftPlan(steady=4, days=10, shifted=4, after_days=6, points=(20,)), 2, lambda step: None)


@pytest.mark.fast
@pytest.mark.parametrize("points", [5, 10, 20])
def test_a_shift_moves_so_many_points_between_the_types_it_names(points: int) -> None:
    for number in range(20):
        shift = plan_shift(PLAN, number, points / 100, START_MS)
        before = plan_shift(PLAN, number, 0.0, START_MS).to_mix
        assert shift.to_mix.sum() == pytest.approx(1.0)
        assert 0.5 * np.abs(shift.to_mix - before).sum() == pytest.approx(points / 100)
        assert shift.types == set(np.flatnonzero(np.abs(shift.to_mix - before) > 1e-12).tolist())


@pytest.mark.fast
def test_sessions_follow_the_mix_hour_and_weekday_and_are_the_same_again() -> None:
    plan = TrafficPlan(wrong=0.0, seed=3)
    shift = plan_shift(plan, 2, 0.2, START_MS + 14 * DAY_MS)
    sessions = sessions_of(plan, 2, 28, shift)
    assert (np.diff(sessions.ended_ms) >= 0).all()
    assert sessions.codes.tolist() == sessions_of(plan, 2, 28, shift).codes.tolist()
    types = np.array([type_of(plan, code) for code in sessions.codes.tolist()])
    later = sessions.ended_ms >= shift.at_ms
    assert 0.12 < 0.5 * np.abs(shares(types[later]) - shares(types[~later])).sum() < 0.3
    night = sessions.ended_ms % DAY_MS < DAY_MS // 4
    assert 0.5 * np.abs(shares(types[night & ~later]) - shares(types[~night & ~later])).sum() > 0.1


@pytest.mark.fast
def test_each_ablation_changes_the_rules() -> None:
    assert all(change(DriftRules()) != DriftRules() for change in ABLATIONS.values())


def test_large_shifts_are_found_and_named_and_steady_shops_are_counted(report: Report) -> None:
    figures = {name: figure.value for name, figure in report.figures.items()}
    assert figures["steady_merchants"] == 4
    assert figures["false_alarms_a_year"] == pytest.approx(figures["false_alarms"] / (4 * 10 / 365))
    assert figures["false_alarms"] <= 1
    assert figures["shift_20_found"] >= 0.75
    assert 0 < figures["shift_20_delay_median"] < 1_000
    assert figures["shift_20_types_named"] > 0.5
    assert figures["shift_20_named_rightly"] > 0.5
    assert sum(figures[f"shift_20_by_{name}"] for name in ("window_js", "page_hinkley_js", "adwin_js")) == 1
    assert not report.missing
