"""A browser shopper's memory says of every click what ``retrace`` will read: the rule both storefronts are held to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.browser.memory import Memory
from agent_runtime.storefront.actions import ACTIONS, Action
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from tests.browser.conftest import make_shop

pytestmark = pytest.mark.fast


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), st.integers(0, 1_000))
def test_any_walk_of_the_in_process_storefront_is_remembered_as_the_actions_taken(picks: list[int], seed: int) -> None:
    storefront = Storefront(make_shop())
    visit, memory = Visit(storefront, seed, agent=0), Memory(storefront.shop.capabilities)
    for pick in picks:
        served = [action for action, open_ in zip(ACTIONS, visit.moves(), strict=True) if open_]
        action = served[pick % len(served)]
        click = visit.take(action)
        assert memory.action_of(click) == action
        memory.note(click)


def test_a_product_without_a_price_on_the_page_may_turn_out_to_be_any_of_the_three() -> None:
    storefront = Storefront(make_shop())
    visit, memory = Visit(storefront, 0, 0), Memory(storefront.shop.capabilities)
    memory.note(visit.take(Action("product_viewed", "new", "new", "similar")))
    names = {action.name for action in memory.views("p17", "pens", None)}
    assert len(names) == 3
    assert len({name.rsplit(":", 1)[1] for name in names}) == 3
