"""What ``bench align`` says of its targets."""

from pathlib import Path

import pytest
from rich.console import Console

from agent_runtime.alignment.run import AlignmentPlan
from agent_runtime.alignment.table import AlignmentTable
from bench.align import AlignBench, report_of
from bench.align_real import bench_align_real
from bench.align_targets import TARGETS, Target, targets_table
from infra.errors import BenchError

pytestmark = pytest.mark.fast

MEASURES = ("ara_g", "ara_s", "ara_t", "ara_events", "conversion", "depth_w1", "dwell_w1")


def table() -> AlignmentTable:
    """Two storefronts that are at the floor in everything but depth."""
    floor, ours = dict.fromkeys(MEASURES, 0.9), dict.fromkeys(MEASURES, 0.9) | {"depth_w1": 1.35, "own_type": 0.85}
    one = {"floor": floor, "persona": ours, "mismatched": {"ara_g": 0.71}, "replay": {"ara_g": 0.93, "conversion": 0.9}}
    return AlignmentTable({"shop-0": one, "shop-1": one})


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("ara_g persona share of floor", 1.0, "aim"),
        ("ara_g persona above mismatched", 0.19, "must"),
        ("ara_g persona above replay", -0.03, "missed"),
        ("depth_w1 persona share of floor", 1.5, "must"),
        ("own_type persona", 0.85, "must"),
        ("ara_g persona above uniform", None, ""),
    ],
)
def test_a_target_is_measured_and_judged(name: str, value: float | None, verdict: str) -> None:
    (target,) = [target for target in TARGETS if target.name == name]
    found = target.measured(table())
    if value is None or found is None:
        assert found is None and value is None
    else:
        assert found.value == pytest.approx(value)
        assert target.verdict(found.value) == verdict


def test_a_line_that_asks_nothing_is_not_judged() -> None:
    assert Target("ara_g", "persona", "above", "uniform").verdict(-1.0) == ""


def test_every_line_is_shown_and_what_was_not_measured_said() -> None:
    console = Console(width=120, record=True)
    console.print(targets_table(table()))
    shown = console.export_text()
    assert shown.count("not measured") == sum(target.measured(table()) is None for target in TARGETS)
    assert "0.190" in shown


def test_the_reports_names_are_those_of_the_design() -> None:
    report = report_of(table(), 2, 4_000)
    assert {"ara_g", "ara_g_floor", "ara_g_mismatched", "ara_g_replay", "conversion", "conversion_floor"} <= set(
        report.figures
    )
    assert report.figures["own_type"].value == 0.85
    assert report.ratios["depth_w1/depth_w1_floor"] == pytest.approx(1.5)


def test_real_storefronts_need_two_logs_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"holds 0 real click logs and two are needed; set SIMPERSONA_DATA\."):
        bench_align_real(tmp_path / "made", tmp_path, AlignBench(), AlignmentPlan(), lambda step: None)
