"""Visits become events in order, however the work is sliced, and types behave as they are described."""

import numpy as np
import pytest

from encoders.generator.buyer_types import TYPE_NAMES, habits
from encoders.generator.merchants import HOUR_MS, build_merchant
from encoders.generator.raw_events import ADD, CART, CHECKOUT, COMPLETED, PAGE, REMOVE, SEARCH, VIEW, RawEvents
from encoders.generator.scene import MAX_EVENTS
from encoders.generator.simulation import simulate
from encoders.generator.visits import Visits, plan_bots, plan_visits
from encoders.generator.world import World, build_world
from tests.encoders.generator.conftest import START_MS

pytestmark = pytest.mark.fast

END_MS = START_MS + 48 * HOUR_MS


@pytest.fixture(scope="module")
def plan() -> tuple[Visits, World]:
    merchants = [build_merchant(6, number, START_MS, END_MS, with_drift=False) for number in range(4)]
    plans = [plan_visits(shop, i, 6, 1_200, START_MS, END_MS, habits(0.0)) for i, shop in enumerate(merchants)]
    plans += [plan_bots(shop, i, 6, 1_200, 1_000, 0.01, START_MS, END_MS) for i, shop in enumerate(merchants)]
    visits = np.concatenate(plans)
    return visits[np.argsort(visits["start_ms"], kind="stable")], build_world(merchants)


@pytest.fixture(scope="module")
def events(plan: tuple[Visits, World]) -> RawEvents:
    return np.concatenate([part.events for part in simulate(*plan, habits(0.0))])


@pytest.mark.parametrize("slice_visits", [37, 1_000, 10**6])
def test_slices_change_nothing_but_the_cuts(plan: tuple[Visits, World], events: RawEvents, slice_visits: int) -> None:
    parts = list(simulate(*plan, habits(0.0), slice_visits=slice_visits))
    assert np.array_equal(np.concatenate([part.events for part in parts]), events)
    assert sum(int(part.counts.sum()) for part in parts) == len(events)


def test_events_come_sorted_and_each_visit_counts_from_zero(events: RawEvents) -> None:
    assert (np.diff(events["t_ms"]) >= 0).all()
    by_visit = events[np.lexsort((events["sequence"], events["visit"]))]
    same = np.diff(by_visit["visit"]) == 0
    assert (np.diff(by_visit["sequence"].astype(int))[same] == 1).all()
    assert (np.diff(by_visit["t_ms"])[same] > 0).all()
    assert (by_visit["sequence"][1:][~same] == 0).all()


def test_no_shopper_makes_more_events_than_a_visit_may_have(plan: tuple[Visits, World], events: RawEvents) -> None:
    counts = np.bincount(events["visit"], minlength=len(plan[0]))
    human = plan[0]["kind"] >= 0
    assert counts[human].max() <= MAX_EVENTS
    assert counts[~human].min() >= 30


def share(events: RawEvents, plan: tuple[Visits, World], name: str, event: int) -> float:
    """How many events of a kind a visit of a type has on average."""
    visits = plan[0]["kind"] == TYPE_NAMES.index(name)
    return float((visits[events["visit"]] & (events["event"] == event)).sum() / visits.sum())


@pytest.mark.parametrize(
    ("event", "more", "less"),
    [
        (SEARCH, "query_refiner", "window_shopper"),
        (PAGE, "researcher", "night_scroller"),
        (VIEW, "night_scroller", "bouncer"),
        (ADD, "cart_parker", "luxury_admirer"),
        (REMOVE, "cart_editor", "cart_parker"),
        (CART, "cart_editor", "impulse_buyer"),
        (CHECKOUT, "hesitant_payer", "cart_parker"),
        (COMPLETED, "replenisher", "hesitant_payer"),
    ],
)
def test_types_differ_in_what_they_do(
    plan: tuple[Visits, World], events: RawEvents, event: int, more: str, less: str
) -> None:
    assert share(events, plan, more, event) > 2 * share(events, plan, less, event)


def test_comparers_come_back_to_products_and_bargain_hunters_open_cheap_ones(
    plan: tuple[Visits, World], events: RawEvents
) -> None:
    visits, world = plan
    views = events[(events["event"] == VIEW) & (visits["kind"][events["visit"]] >= 0)]
    kind = visits["kind"][views["visit"]]
    pair = views["visit"].astype(np.int64) * len(world.products) + views["product"]
    _, counts = np.unique(pair[kind == TYPE_NAMES.index("comparer")], return_counts=True)
    _, others = np.unique(pair[kind == TYPE_NAMES.index("explorer")], return_counts=True)
    assert counts.mean() > 1.5 * others.mean()
    z_price = world.products["z_price"][views["product"]]
    cheap = z_price[kind == TYPE_NAMES.index("bargain_hunter")].mean()
    dear = z_price[kind == TYPE_NAMES.index("luxury_admirer")].mean()
    assert cheap < -0.3 < 0.3 < dear


def test_the_difficulty_dial_makes_all_types_the_same() -> None:
    same, apart = habits(1.0), habits(0.0)
    assert all(row == same[0] for row in same)
    assert len(np.unique(apart)) == len(TYPE_NAMES) + 1
    assert len(set(TYPE_NAMES)) == len(TYPE_NAMES) >= 16


def test_shares_and_chances_of_habits_are_chances() -> None:
    for name in (
        "bounce",
        "refine",
        "breadth",
        "close",
        "proceed",
        "complete",
        "hesitate",
        "mobile",
        "tablet",
        "returns",
    ):
        assert (habits(0.0)[name] >= 0).all() and (habits(0.0)[name] <= 1).all(), name
