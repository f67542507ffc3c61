"""From scores to one action: the mask keeps to the page, without it whatever was wished is tried."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.browser.choice import LEAVE, NONSENSE, choose, wish
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS
from agent_runtime.vocabulary import Vocabulary

pytestmark = pytest.mark.fast
WORDS = Vocabulary("cb-test", ("c00",))
UNITS = st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4).map(np.array)


def scores_for(*names: str) -> np.ndarray:
    scores = np.full(len(WORDS), -80.0, np.float32)
    for name in names:
        scores[WORDS.id(name)] = 0.0
    return scores


@given(st.sets(st.integers(0, len(ACTIONS) - 1), min_size=1), UNITS, st.integers(0, 50))
def test_with_a_mask_only_what_the_page_offers_is_done(offered: set[int], units: np.ndarray, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=len(WORDS)).astype(np.float32)
    wished = wish(scores, WORDS, may_leave=True, masked=True)
    assert choose(wished, offered, [], True, units) in offered | {LEAVE}


@pytest.mark.parametrize("unit", [0.1, 0.5, 0.9])
def test_a_wish_that_is_not_there_becomes_the_same_at_another_price_then_in_another_category(unit: float) -> None:
    near, elsewhere = ACTION_INDEX["product_viewed:new:same:higher"], ACTION_INDEX["product_viewed:new:new:lower"]
    scores = scores_for("product_viewed:new:same:lower")
    scores[[WORDS.action(near), WORDS.action(elsewhere), WORDS.action(0)]] = -20.0
    wished = wish(scores, WORDS, may_leave=False, masked=True)
    units = np.full(4, unit)
    assert choose(wished, {0, near, elsewhere}, [], True, units) == near
    assert choose(wished, {0, elsewhere}, [], True, units) == elsewhere
    assert choose(wished, {0}, [], True, units) == 0


def test_without_a_mask_the_wish_is_tried_as_it_comes_and_words_that_are_no_action_count() -> None:
    half = np.full(4, 0.5)
    away = wish(scores_for("cart_viewed"), WORDS, may_leave=True, masked=False)
    assert choose(away, {0}, [], False, half) == ACTION_INDEX["cart_viewed"]
    word = wish(scores_for("<pace3>"), WORDS, may_leave=True, masked=False)
    assert choose(word, {0}, [], False, half) == NONSENSE
    gone = wish(scores_for("<leave>"), WORDS, may_leave=True, masked=False)
    assert choose(gone, {0}, [], False, half) == LEAVE


def test_what_has_failed_is_not_wished_for_again() -> None:
    wished = wish(scores_for("cart_viewed", "page_viewed"), WORDS, may_leave=True, masked=False)
    cart = ACTION_INDEX["cart_viewed"]
    tried = {choose(wished, {0}, {cart}, False, np.full(4, unit)) for unit in (0.0, 0.3, 0.6, 0.9)}
    assert tried == {ACTION_INDEX["page_viewed"]}
