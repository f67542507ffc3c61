"""``bench adapt`` on a few merchants: which figures are there, and what must hold whatever the size."""

import pytest

from bench.adapt import CHANGES, AdaptPlan, bench_adapt
from bench.report import Report
from encoders.model import Shape
from encoders.training import TrainingOptions

PLAN = AdaptPlan(
    merchants=5, unseen_merchants=2, buyers=320, unseen_buyers=80, hours=72.0, seed=2,
    options=TrainingOptions(Shape(width=24, hidden=24, coarse=8, fine=2), epochs=3, batch=128), epochs=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return bench_adapt(tmp_path_factory.mktemp("worlds"), PLAN, lambda step: None)


def test_every_make_has_its_figures_in_range(report: Report) -> None:
    for make in CHANGES:
        for which in ("champion", "adapted"):
            for figure in ("nmi", "calibration_error", "early"):
                assert 0.0 <= report.figures[f"{make}_{which}_{figure}"].value <= 1.0
        assert report.figures[f"{make}_adapted_accepted"].value in (0.0, 1.0)
    assert not any("trained" in name for name in report.figures)


def test_when_nothing_changed_sessions_keep_their_types(report: Report) -> None:
    assert report.figures["unchanged_adapted_types_kept"].value >= 0.95
    assert report.figures["unchanged_adapted_born"].value == 0.0


def test_new_habits_cost_more_the_further_they_go(report: Report) -> None:
    nmi = [report.figures[f"{make}_champion_nmi"].value for make in CHANGES]
    assert nmi[0] > nmi[2]
