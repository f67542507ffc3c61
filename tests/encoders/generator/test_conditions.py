"""Storefront conditions in generated traffic: shoppers answer to them, and without them all is as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders.generator.counterfactual import Visited, changed, shoppers, visit
from encoders.generator.merchants import HOUR_MS, Merchant, build_merchant
from encoders.generator.run import conditions_path
from encoders.generator.visits import Visits
from schemas.conditions import Conditions, read_conditions
from tests.encoders.generator.conftest import SMALL, START_MS, make

pytestmark = pytest.mark.fast
END_MS = START_MS + 48 * HOUR_MS


@pytest.fixture(scope="module")
def merchant() -> Merchant:
    return build_merchant(5, 1, START_MS, END_MS, with_drift=False)


@pytest.fixture(scope="module")
def visits(merchant: Merchant) -> Visits:
    return shoppers(merchant, 5, 4_000, START_MS, END_MS)


@pytest.fixture(scope="module")
def before(merchant: Merchant, visits: Visits) -> Visited:
    return visit(changed(merchant, Conditions(ranking=0.8), True), visits)


def test_neutral_conditions_with_every_step_change_nothing(merchant: Merchant, visits: Visits) -> None:
    plain = visit(replace(merchant, has_payment=True), visits)
    neutral = visit(changed(merchant, Conditions(), True), visits)
    for name in ("converted", "added", "events", "revenue_minor"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(neutral, name))


@pytest.mark.parametrize(
    ("conditions", "has_payment", "sign"),
    [
        (Conditions(price_level=1.1, ranking=0.8), True, -1),
        (Conditions(price_level=0.9, ranking=0.8), True, 1),
        (Conditions(free_shipping=True, ranking=0.8), True, 1),
        (Conditions(ranking=0.8), False, 1),
        (Conditions(ranking=0.3), True, -1),
        (Conditions(ranking=0.8, page_delay_s=2.0), True, -1),
    ],
)
def test_shoppers_answer_to_each_condition(
    merchant: Merchant, visits: Visits, before: Visited, conditions: Conditions, has_payment: bool, sign: int
) -> None:
    after = visit(changed(merchant, conditions, has_payment), visits)
    change = after.converted - before.converted
    assert sign * change.mean() > 3 * change.std() / np.sqrt(len(change))


def test_what_is_paid_is_what_it_costs(merchant: Merchant, visits: Visits, before: Visited) -> None:
    assert ((before.revenue_minor > 0) == (before.converted > 0)).all()
    dear = visit(changed(merchant, Conditions(price_level=1.1, ranking=0.8), True), visits)
    both = (before.converted > 0) & (dear.converted > 0)
    ratio = np.median(dear.revenue_minor[both] / before.revenue_minor[both])
    assert ratio == pytest.approx(1.1, abs=0.01)


def test_a_run_tells_its_shops_conditions_and_meets_the_same_shoppers(tmp_path: Path) -> None:
    run = replace(SMALL, merchants=3, buyers=40)
    made = []
    for name, conditions in (("plain", False), ("told", True)):
        (tmp_path / name).mkdir()
        made.append(make(replace(run, conditions=conditions), tmp_path / name))
    plain, told = made
    assert plain.truth["client_id"].to_pylist() == told.truth["client_id"].to_pylist()
    assert not conditions_path(plain.path).exists()
    known = read_conditions([conditions_path(told.path)])
    assert len(known) == 3 and len(set(known.values())) == 3
    for shop in told.summary["merchants"]:
        assert Conditions.from_json(shop["conditions"]) == known[shop["merchant_id"]]
