"""The plan of visits: who comes when."""

import numpy as np
import pytest

from encoders.generator.buyer_types import BUYER_TYPES, habits
from encoders.generator.merchants import HOUR_MS, build_merchant
from encoders.generator.visits import Visits, plan_bots, plan_visits
from tests.encoders.generator.conftest import START_MS

pytestmark = pytest.mark.fast

END_MS = START_MS + 96 * HOUR_MS
BUYERS = 2_000


@pytest.fixture(scope="module")
def plan() -> Visits:
    merchant = build_merchant(seed=2, number=0, start_ms=START_MS, end_ms=END_MS, with_drift=False)
    return plan_visits(merchant, 0, 2, BUYERS, START_MS, END_MS, habits(0.0))


def test_every_buyer_comes_and_more_than_a_third_come_back(plan: Visits) -> None:
    visits = np.bincount(plan["buyer"], minlength=BUYERS)
    assert visits.min() == 1
    assert (visits > 1).mean() > 1 / 3
    assert plan["start_ms"].min() >= START_MS
    assert plan["start_ms"].max() < END_MS


def test_a_visit_must_end_long_before_the_buyer_comes_again(plan: Visits) -> None:
    plan = plan[np.lexsort((plan["number"], plan["buyer"]))]
    same = plan["buyer"][1:] == plan["buyer"][:-1]
    pause_ms = plan["start_ms"][1:] - plan["deadline_ms"][:-1]
    assert (pause_ms[same] >= 45 * 60_000).all()
    assert (plan["deadline_ms"] > plan["start_ms"]).all()
    assert (np.diff(plan["number"])[same] == 1).all()
    assert (np.diff(plan["kind"])[same] == 0).all()


def test_keys_name_a_buyer_for_all_visits_and_a_visit_alone(plan: Visits) -> None:
    assert len(np.unique(plan["buyer_key"])) == BUYERS
    assert len(np.unique(plan["visit_key"])) == len(plan)


def test_shoppers_of_the_night_come_at_night_and_bulk_orders_in_office_hours(plan: Visits) -> None:
    merchant = build_merchant(seed=2, number=0, start_ms=START_MS, end_ms=END_MS, with_drift=False)
    names = [kind.name for kind in BUYER_TYPES]
    hours = {}
    for name in ("night_scroller", "bulk_orderer"):
        own = plan[plan["kind"] == names.index(name)]
        hours[name], _ = merchant.local_time(own["start_ms"])
        assert len(own) > 10
    at_night = (hours["night_scroller"] >= 20) | (hours["night_scroller"] < 6)
    in_office = (hours["bulk_orderer"] >= 7) & (hours["bulk_orderer"] < 18)
    assert at_night.mean() > 0.6
    assert in_office.mean() > 0.6


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_bots_make_their_share_of_sessions(share: float) -> None:
    merchant = build_merchant(seed=2, number=0, start_ms=START_MS, end_ms=END_MS, with_drift=False)
    bots = plan_bots(merchant, 0, 2, BUYERS, 5_000, share, START_MS, END_MS)
    assert len(bots) / (5_000 + len(bots)) == pytest.approx(share, rel=0.25)
    assert (bots["kind"] < 0).all()
    assert (bots["buyer"] >= BUYERS).all()


def test_a_run_of_one_hour_has_visits_too() -> None:
    merchant = build_merchant(seed=2, number=0, start_ms=START_MS, end_ms=START_MS + HOUR_MS, with_drift=True)
    plan = plan_visits(merchant, 0, 2, 10, START_MS, START_MS + HOUR_MS, habits(0.0))
    assert sorted(plan["buyer"][plan["number"] == 0]) == list(range(10))
