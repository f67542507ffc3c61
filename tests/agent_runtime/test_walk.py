"""The compiled storefront against the plain one: the same moves and the same clicks, whatever the shop and the walk."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.draws import Purpose, draw
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.vocabulary import MAX_EVENTS
from agent_runtime.walk.clicks import take
from agent_runtime.walk.draws import unit_of
from agent_runtime.walk.moves import find_moves
from agent_runtime.walk.played import Played
from agent_runtime.walk.tables import CLICK, new_visits, tables_of
from tests.agent_runtime.test_visit import shops


@st.composite
def patchy_shops(draw: st.DrawFn) -> Shop:
    """Shops in which some products lack a category or a price."""
    shop = draw(shops())
    products = tuple(
        replace(product, category=None if draw(st.integers(0, 3)) == 0 else product.category,
                price_minor=None if draw(st.integers(0, 3)) == 0 else product.price_minor)
        for product in shop.products
    )  # fmt: skip
    return replace(shop, products=products, queries=shop.queries[: draw(st.integers(0, 2))])


@settings(max_examples=200, deadline=None)
@given(
    shop=st.one_of(shops(), patchy_shops()),
    choices=st.lists(st.integers(0, 10_000), min_size=1, max_size=MAX_EVENTS),
    seed=st.integers(0, 2**64 - 1),
    agent=st.integers(0, 10**9),
)
def test_a_compiled_visit_is_the_plain_one_click_for_click(
    shop: Shop, choices: list[int], seed: int, agent: int
) -> None:
    storefront = Storefront(shop)
    plain, tables = Visit(storefront, seed, agent), tables_of(storefront)
    visits, clicks, served = new_visits(np.array([agent])), np.zeros(len(choices), CLICK), np.zeros(len(ACTIONS), bool)
    expected = []
    for place, choice in enumerate(choices):
        find_moves(tables, visits[0], np.uint64(seed), served)
        assert served.tolist() == plain.moves().tolist()
        moves = np.flatnonzero(served)
        if not len(moves):
            break
        action = int(moves[choice % len(moves)])
        expected.append(plain.take(ACTIONS[action]))
        take(tables, visits[0], action, np.uint64(seed), clicks[place])
    one = np.zeros(1, np.int64)
    taken = np.array([0, len(expected)])
    walked = Played(
        storefront, ("c00",), one, one.astype(np.int32), np.zeros((1, 3), np.int64), one == 0, taken,
        clicks[: len(expected)], np.zeros(1), 0,
    )  # fmt: skip
    assert list(walked.sessions[0].clicks) == expected


@pytest.mark.fast
@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), agent=st.integers(0, 2**40), step=st.integers(0, 200))
def test_compiled_draws_are_the_plain_ones(seed: int, agent: int, step: int) -> None:
    for purpose in Purpose:
        assert unit_of(np.uint64(seed), agent, step, int(purpose)) == draw(seed, agent, step, purpose)
