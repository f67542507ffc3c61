"""Sessions read as actions, click by click."""

import numpy as np
import pytest

from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.traces.retrace import retrace
from schemas.events import EVENT, SessionBatch
from schemas.taxonomy import EVENT_CODES

pytestmark = pytest.mark.fast

VIEW, ADD, LIST, SEARCH = "product_viewed", "product_added_to_cart", "collection_viewed", "search_submitted"


def read(*clicks: tuple[str, dict[str, float]]) -> list[str]:
    events = np.zeros(len(clicks), EVENT)
    events["price"] = np.nan
    for row, (event, columns) in enumerate(clicks):
        events[row]["event"], events[row]["t"] = EVENT_CODES[event], row * 1_000
        for name, value in columns.items():
            events[row][name] = value
    steps = retrace(SessionBatch(events, np.array([0, len(events)])))
    return [ACTIONS[action].name for action in steps.action]


@pytest.mark.parametrize(
    ("before", "price", "relation"),
    [
        ([], 100, "similar"),
        ([100], 79, "lower"),
        ([100], 80, "similar"),
        ([100], 125, "similar"),
        ([100], 126, "higher"),
        ([50, 150], 79, "lower"),
        ([100], np.nan, "similar"),
        ([np.nan], 100, "similar"),
    ],
)
def test_a_price_is_told_against_the_mean_of_those_looked_at(before: list[float], price: float, relation: str) -> None:
    clicks = [(VIEW, {"product": i + 1, "price": p}) for i, p in enumerate([*before, price])]
    assert read(*clicks)[-1].endswith(f":{relation}")


def test_products_are_new_then_the_same_then_returned_to() -> None:
    named = read(*[(VIEW, {"product": p}) for p in (1, 1, 2, 1)])
    assert [name.split(":")[1] for name in named] == ["new", "same", "new", "return"]


def test_categories_are_new_then_the_same_then_returned_to() -> None:
    clicks = [(LIST, {"category": 5}), (VIEW, {"product": 1, "category": 5}), (LIST, {"category": 6})]
    assert read(*clicks, (LIST, {"category": 5}), (LIST, {})) == [
        "collection_viewed:new",
        "product_viewed:new:same:similar",
        "collection_viewed:new",
        "collection_viewed:return",
        "collection_viewed:same",
    ]


def test_adding_tells_the_product_on_view_from_earlier_and_unseen_ones() -> None:
    views = [(VIEW, {"product": 1}), (VIEW, {"product": 2})]
    adds = [(ADD, {"product": 2}), (ADD, {"product": 1, "quantity": 3}), (ADD, {"product": 9}), (ADD, {})]
    assert [name.split(":", 1)[1] for name in read(*views, *adds)[2:]] == [
        "same:one",
        "return:many",
        "new:one",
        "same:one",
    ]


def test_a_query_repeated_is_the_same_and_any_other_is_new() -> None:
    clicks = [(SEARCH, {"query": q}) for q in (4, 4, 5)]
    assert [name.split(":")[1] for name in read(*clicks)] == ["new", "same", "new"]


def test_sessions_do_not_look_into_each_other() -> None:
    events = np.zeros(2, EVENT)
    events["event"], events["product"], events["price"] = EVENT_CODES[VIEW], 1, 100
    events["device"], events["referrer"] = [0, 2], [1, 0]
    events["t"] = [0, 6 * 3_600_000]
    steps = retrace(SessionBatch(events, np.array([0, 1, 2])))
    assert steps.action[0] == steps.action[1]
    assert steps.pace.tolist() == [0, 0]
    assert (steps.device.tolist(), steps.referrer.tolist(), steps.moment.tolist()) == ([0, 2], [1, 0], [0, 2])
