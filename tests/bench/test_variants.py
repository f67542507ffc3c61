"""What ``bench variants`` counts."""

from dataclasses import replace

import numpy as np
import pytest

from bench.variants import KINDS, Cell, report_of, true_effect, variants_of
from encoders.generator.counterfactual import Visited
from encoders.generator.merchants import build_merchant
from schemas.conditions import Conditions

pytestmark = pytest.mark.fast

START_MS, END_MS = 1_788_739_200_000, 1_788_825_600_000
RIGHT = Cell(5, "shop-0", "price", "conversion", 0.3, -0.02, -0.03, -0.01, 0.3, -0.025, 0.001)


def test_signs_are_counted_where_the_truth_is_clear_and_coverage_everywhere() -> None:
    wrong = replace(RIGHT, merchant="shop-1", predicted=0.01, low=-0.01, high=0.03)
    unclear = replace(RIGHT, merchant="shop-2", truth=0.001, predicted=-0.02)
    report = report_of([RIGHT, wrong, unclear])
    found = {name: figure.value for name, figure in report.figures.items()}
    assert (found["cells"], found["clear"]) == (3, 2)
    assert found["sign_right"] == found["sign_right_price"] == found["sign_right_conversion"] == 0.5
    assert found["covered"] == pytest.approx(1 / 3)
    assert "sign_right_free_shipping" in report.missing


def test_worlds_are_counted_by_themselves_too() -> None:
    report = report_of([RIGHT, replace(RIGHT, world=6, predicted=0.01, low=-0.01, high=0.03)])
    found = {name: figure.value for name, figure in report.figures.items()}
    assert (found["sign_right_world_5"], found["sign_right_world_6"], found["sign_right"]) == (1.0, 0.0, 0.5)


def test_only_changes_that_change_something_are_cases() -> None:
    merchant = build_merchant(5, 0, START_MS, END_MS, with_drift=False)
    plain = replace(merchant, conditions=Conditions(), has_payment=True)
    assert [kind for kind, _ in variants_of(plain)] == list(KINDS)
    bare = replace(merchant, conditions=Conditions(free_shipping=True, ranking=0.4), has_payment=False)
    assert [kind for kind, _ in variants_of(bare)] == ["price"]


def test_the_true_effects_error_counts_buyers_not_visits() -> None:
    random = np.random.default_rng(0)
    change = random.normal(0.1, 1.0, 1_000)
    zero, once = np.zeros(4_000), np.repeat(change, 4)
    buyer, kind = np.repeat(np.arange(1_000, dtype=np.int32), 4), np.zeros(4_000, np.int16)
    before, after = (Visited(buyer, kind, one, one, one, one) for one in (zero, once))
    effect, error, mean_before = true_effect(before, after, "depth")
    assert effect == pytest.approx(change.mean()) and mean_before == 0.0
    assert error == pytest.approx(change.std() / np.sqrt(1_000), rel=0.01)
