"""A visit's clicks read back as the actions it took, whatever the shop offers and whatever the shopper does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.errors import ShopError
from agent_runtime.storefront.actions import ACTIONS, Action
from agent_runtime.storefront.capabilities import FIELDS, Capabilities
from agent_runtime.storefront.session import PlayedSession, click_events
from agent_runtime.storefront.shop import Product, Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.traces.retrace import retrace
from schemas.click_codec import ClickDecoder, encode_click
from schemas.events import SessionBatch
from schemas.taxonomy import EVENT_CODES

ALL_FIELDS = dict.fromkeys(EVENT_CODES, frozenset(FIELDS))
WALK = 30


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Small shops of every kind: without prices, categories or quantities, with odd events, with few products."""
    events = draw(st.sets(st.sampled_from(sorted(EVENT_CODES)), min_size=3)) | {"product_viewed", "page_viewed"}
    fields = {event: frozenset(draw(st.sets(st.sampled_from(FIELDS)))) for event in events}
    requires = {
        "checkout_started": frozenset({"product_added_to_cart"} & events) if draw(st.booleans()) else frozenset(),
        "checkout_completed": frozenset({"checkout_started"} & events) if draw(st.booleans()) else frozenset(),
    }
    count = draw(st.integers(1, 12))
    categories = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=count, max_size=count))
    prices = draw(st.lists(st.integers(1, 100_000_000), min_size=count, max_size=count))
    products = tuple(Product(f"p{i}", categories[i], prices[i], count - i) for i in range(count))
    queries = (("red", 3), ("blue", 1))
    several = tuple(sorted(draw(st.lists(st.integers(2, 40), min_size=1, max_size=5))))
    return Shop("shop", "EUR", products, queries, Capabilities(frozenset(events), fields, requires), quantities=several)


def walk(shop: Shop, choices: list[int]) -> tuple[list[int], PlayedSession]:
    visit = Visit(Storefront(shop), seed=7, agent=3)
    taken, clicks = [], []
    for choice in choices:
        moves = np.flatnonzero(visit.moves())
        if not len(moves):
            break
        taken.append(int(moves[choice % len(moves)]))
        clicks.append(visit.take(ACTIONS[taken[-1]]))
    times = tuple(1_764_000_000_000 + 5_000 * place for place in range(len(clicks)))
    return taken, PlayedSession(3, 0, "c00", "mobile", "ads", tuple(taken), tuple(clicks), times, True)


@settings(max_examples=150, deadline=None)
@given(shop=shops(), choices=st.lists(st.integers(0, 10_000), min_size=1, max_size=WALK))
def test_clicks_read_back_as_the_actions_taken(shop: Shop, choices: list[int]) -> None:
    taken, session = walk(shop, choices)
    if not taken:
        return
    values = [encode_click(event) for event in click_events(session, "run", "shop", "EUR")]
    batch = ClickDecoder().decode(values).batch
    assert not batch.fault.any()
    steps = retrace(SessionBatch(batch.events, np.array([0, len(batch)], np.int64)))
    assert [ACTIONS[a].name for a in steps.action] == [ACTIONS[a].name for a in taken]


def full_shop(**changes: object) -> Shop:
    products = tuple(Product(f"p{i}", "ab"[i % 2], 1_000 * (i + 1), 10 - i) for i in range(6))
    requires = {"checkout_started": frozenset({"product_added_to_cart"})}
    return Shop("shop", "EUR", products, (("red", 1),), Capabilities(frozenset(EVENT_CODES), ALL_FIELDS, requires))


def allowed(visit: Visit) -> set[str]:
    return {ACTIONS[index].name for index in np.flatnonzero(visit.moves())}


@pytest.mark.fast
def test_checkout_waits_for_a_cart_where_it_always_did() -> None:
    visit = Visit(Storefront(full_shop()), seed=1, agent=0)
    assert "checkout_started" not in allowed(visit)
    visit.take(Action("product_added_to_cart", "new", quantity="one"))
    assert "checkout_started" in allowed(visit)
    visit.take(Action("product_removed_from_cart"))
    assert "checkout_started" not in allowed(visit)


@pytest.mark.fast
def test_who_wants_several_takes_a_quantity_of_the_shops_own() -> None:
    storefront = Storefront(replace(full_shop(), quantities=(2, 12, 40)))
    several = Action("product_added_to_cart", "new", quantity="many")
    taken = {Visit(storefront, seed=1, agent=agent).take(several).quantity for agent in range(50)}
    assert taken == {2, 12, 40}


@pytest.mark.fast
def test_an_order_empties_the_cart() -> None:
    visit = Visit(Storefront(full_shop()), seed=1, agent=0)
    for action in (Action("product_added_to_cart", "new", quantity="many"), Action("checkout_started")):
        visit.take(action)
    order = visit.take(Action("checkout_completed"))
    assert order.price_minor and order.price_minor >= 2_000
    assert not visit.cart
    assert "checkout_started" not in allowed(visit)


@pytest.mark.fast
def test_no_cheaper_product_is_offered_beside_the_cheapest() -> None:
    shop = Shop("shop", None, (Product("p", "a", 100, 1),), (), full_shop().capabilities)
    visit = Visit(Storefront(shop), seed=1, agent=0)
    visit.take(Action("product_viewed", "new", "new", "similar"))
    names = allowed(visit)
    assert "product_viewed:same" in names
    assert not any(name.startswith("product_viewed:new") for name in names)


@pytest.mark.fast
def test_a_move_that_is_not_served_is_refused_by_name() -> None:
    with pytest.raises(ShopError, match="does not serve checkout_started"):
        Visit(Storefront(full_shop()), seed=1, agent=0).take(Action("checkout_started"))


@pytest.mark.fast
def test_a_shop_without_products_cannot_be_walked() -> None:
    with pytest.raises(ShopError, match="no products"):
        Storefront(Shop("empty", None, (), (), full_shop().capabilities))
