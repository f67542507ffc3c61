"""Planted drifts: how much of the change has happened when, and whether the arrivals follow."""

import dataclasses

import numpy as np
import pytest

from encoders.generator.buyer_types import BUYER_TYPES, habits
from encoders.generator.drifts import LEAST_CHANGE, Drift, Kind, draw_mix, plant_drift, plant_promotions
from encoders.generator.merchants import HOUR_MS, build_merchant
from encoders.generator.visits import plan_visits
from tests.encoders.generator.conftest import START_MS

pytestmark = pytest.mark.fast

TYPES = len(BUYER_TYPES)
END_MS = START_MS + 72 * HOUR_MS


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        # at -1, at 0, at 25, at 50, at 100, at 150 of a drift from 0 until 100 with period 100
        ("sudden", (0.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        ("slow", (0.0, 0.0, 0.25, 0.5, 1.0, 1.0)),
        ("seasonal", (0.0, 0.0, 0.5, 1.0, 0.0, 1.0)),
    ],
)
def test_the_share_of_the_new_mix(kind: Kind, shares: tuple[float, ...]) -> None:
    drift = Drift(kind, at_ms=1_000, until_ms=1_100, period_ms=100, to_mix=np.ones(1))
    at = np.array([-1, 0, 25, 50, 100, 150]) + 1_000
    assert drift.share(at) == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize("kind", ["sudden", "slow", "seasonal"])
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_drift_is_large_and_lies_within_the_run(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mix = draw_mix(rng, TYPES)
    drift = plant_drift(rng, kind, mix, START_MS, END_MS)
    assert 0.5 * np.abs(drift.to_mix - mix).sum() >= LEAST_CHANGE
    assert drift.to_mix.sum() == pytest.approx(1.0)
    assert START_MS <= drift.at_ms <= drift.until_ms <= END_MS


def test_promotions_lie_on_a_category_the_shop_sells() -> None:
    categories = np.array([2, 5, 9], dtype=np.int32)
    for seed in range(20):
        for promotion in plant_promotions(np.random.default_rng(seed), "shop", categories, START_MS, END_MS):
            assert promotion.category in categories
            assert START_MS < promotion.start_ms < promotion.end_ms
            assert 0.0 < promotion.discount < 0.5


def test_visitors_follow_a_sudden_drift() -> None:
    """The clock's pull on types is taken out by comparing whole days before and after."""
    merchant = build_merchant(seed=1, number=1, start_ms=START_MS, end_ms=START_MS + 96 * HOUR_MS, with_drift=True)
    assert merchant.drift is not None and merchant.drift.kind == "sudden"
    drift = dataclasses.replace(merchant.drift, at_ms=START_MS + 48 * HOUR_MS)
    merchant = dataclasses.replace(merchant, drift=drift, promotions=())
    visits = plan_visits(merchant, 0, 1, 40_000, START_MS, START_MS + 96 * HOUR_MS, habits(0.0))
    first = visits[visits["number"] == 0]
    before, after = (
        np.bincount(part["kind"], minlength=TYPES) / len(part)
        for part in (first[first["start_ms"] < drift.at_ms], first[first["start_ms"] >= drift.at_ms])
    )
    assert 0.5 * np.abs(before - merchant.mix).sum() < 0.06
    assert 0.5 * np.abs(after - drift.to_mix).sum() < 0.06
    again = visits[(visits["number"] > 0) & (visits["start_ms"] >= drift.at_ms)]
    settled = np.bincount(again["kind"], minlength=TYPES) / len(again)
    assert 0.5 * np.abs(settled - merchant.mix).sum() > 0.5 * np.abs(settled - drift.to_mix).sum()
