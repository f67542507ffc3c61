"""Figures of browser sessions: rates with intervals that hold at nought, and which lever spares which crashes."""

import pytest

from bench.browser import ARMS, ARMS_APART, Visited, _add, _fewer, wilson
from bench.report import Report

pytestmark = pytest.mark.fast


def visited(crashed: bool, *invalid: str) -> Visited:
    return Visited(crashed, invalid, dialogs=1, clicks=8, products=4, outcome="cart", seconds=2.0)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 100, 0.0, 0.0370), (100, 100, 0.9630, 1.0), (21, 100, 0.1417, 0.2998)]
)
def test_intervals_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-4)


def test_every_combination_of_persona_mask_and_flags_is_an_arm_once() -> None:
    arms = {(arm.typed, arm.masked, arm.flags) for arm in ARMS + ARMS_APART}
    assert len(arms) == len(ARMS + ARMS_APART) == 8
    assert [arm.name for arm in ARMS] == ["persona_mask_flags", "untyped_mask_flags", "persona_bare", "untyped_bare"]


def test_a_report_says_how_many_crash_and_how_many_fewer_they_are() -> None:
    report = Report()
    _add(report, "ours", [visited(True, "no action", "no action"), *[visited(False)] * 3])
    _add(
        report,
        "theirs",
        [visited(True, "the page did not answer in time", "not on the page")] * 2 + [visited(False)] * 2,
    )
    _add(report, "nobody", [visited(False)] * 4)
    _fewer(report, "by_us", "ours", "theirs")
    _fewer(report, "by_nothing", "ours", "nobody")
    value = {name: figure.value for name, figure in report.figures.items()}
    assert (value["crash_rate_ours"], value["crash_rate_theirs"]) == (0.25, 0.5)
    assert value["fewer_crashes_by_us"] == 0.5
    assert report.missing == {"fewer_crashes_by_nothing": "nobody crashed in nobody."}
    assert (value["invalid_actions_theirs"], value["invalid_too_late_theirs"]) == (1.0, 0.5)
    assert (value["reached_cart_ours"], value["reached_purchase_ours"]) == (1.0, 0.0)
