"""Find and buy under constraints: what counts as done, what is seen on the way, and purchases told as goals."""

from pathlib import Path

import numpy as np
import pytest

from agent_runtime.goals.goals import Goal, GoalVocabulary, Goods, goal_rows
from agent_runtime.goals.runs import LEAVE, ChanceDoer, Errand, GreedyDoer, ModelDoer, Task, run_tasks
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.click import Click
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import MAX_EVENTS
from agent_runtime.walk.rollout import TILE
from encoders.sessionise import read_sessions
from tests.agent_runtime.conftest import CODE_PATHS, CODEBOOK

pytestmark = pytest.mark.fast

NAMES = [action.name for action in ACTIONS]


@pytest.fixture(scope="module")
def words() -> GoalVocabulary:
    return GoalVocabulary(CODEBOOK, CODE_PATHS)


@pytest.fixture(scope="module")
def goods(shop: Shop) -> Goods:
    return Goods(shop)


def tasks_of(goods: Goods, count: int) -> list[Task]:
    """Return goals made of the shop's products in turn, every third for several."""
    random = np.random.default_rng(0)
    return [Task(goods, goods.goal_of(i % 12, i % 3 == 0, random), i % 3) for i in range(count)]


@pytest.mark.parametrize(
    ("click", "bits"),
    [
        (Click("product_viewed", "p3", "a", 3_100, 1, None, ""), 7),
        (Click("product_viewed", "p6", "a", 5_200, 1, None, ""), 1),
        (Click("product_viewed", "p1", "b", 1_700, 1, None, ""), 6),
        (Click("collection_viewed", None, "a", None, None, None, ""), 1),
        (Click("collection_viewed", None, "b", None, None, None, ""), 0),
        (Click("cart_viewed", "p3", "a", 3_100, 1, None, ""), 0),
    ],
)
def test_a_page_shows_which_constraints_are_met(goods: Goods, click: Click, bits: int) -> None:
    assert goods.seen(Goal("a", 4_000, 5, False), click) == bits


def test_a_goal_is_told_by_how_much_it_leaves(goods: Goods) -> None:
    everything, little = Goal("a", 99_999, 12, False), Goal("a", 1_000, 1, False)
    assert (goods.levels(everything), goods.levels(little)) == ((2, 2), (0, 0))


@pytest.mark.parametrize(
    ("moves", "many", "success"),
    [
        (["product_added_to_cart:same:one"], False, True),
        (["product_added_to_cart:same:one"], True, False),
        (["product_added_to_cart:same:many"], True, True),
        (["product_added_to_cart:same:one", "product_added_to_cart:same:one"], False, False),
    ],
)
def test_done_is_exactly_what_was_asked(shop: Shop, goods: Goods, moves: list[str], many: bool, success: bool) -> None:
    anything = Goal("a", 99_999, 12, many)
    errand = Errand(Task(goods, anything, 0), Storefront(shop), 0, 0)
    errand.go(NAMES.index("collection_viewed:new"))
    while errand.seen != 7:
        errand.go(next(i for i in range(len(NAMES)) if NAMES[i].startswith("product_viewed:new") and errand.moves()[i]))
    for name in [*moves, "checkout_started", "checkout_completed"]:
        errand.go(NAMES.index(name))
    assert errand.result is not None
    assert (errand.result.success, errand.result.bought) == (success, True)
    assert errand.result.steps == len(errand.actions)


def test_leaving_is_failing(shop: Shop, goods: Goods) -> None:
    errand = Errand(Task(goods, Goal("a", 99_999, 12, False), 0), Storefront(shop), 0, 0)
    errand.go(LEAVE)
    assert errand.result is not None and not errand.result.success and errand.result.steps == 0


def test_the_rule_does_nearly_all_and_chance_little(goods: Goods) -> None:
    tasks = tasks_of(goods, 36)
    greedy, chance = run_tasks(GreedyDoer(), tasks, 1), run_tasks(ChanceDoer(1), tasks, 1)
    shares = [np.mean([result.success for result in results]) for results in (greedy, chance)]
    assert shares[0] > 0.95 and shares[1] < 0.5
    assert all(result.steps <= MAX_EVENTS for result in greedy + chance)
    assert run_tasks(ChanceDoer(1), tasks, 1) == chance != run_tasks(ChanceDoer(2), tasks, 1)


def test_real_purchases_are_told_as_goals_reached(
    toy_log: tuple[Path, Path], shop: Shop, words: GoalVocabulary
) -> None:
    log = read_sessions([toy_log[0]], 1_800_000, 512)
    codes = np.full(len(log), 2, np.int32)
    rows = goal_rows(log, codes, {"shop": Goods(shop)}, words, True, 0)
    assert len(rows) == 40  # every third buyer bought
    first = words.prompt_length
    names = [words.names[token] for token in rows[0]]
    assert names[first - 2] == "<c01.f0>" and names[first - 1].startswith("<goal:")
    assert names[first] == "product_viewed:new:new:similar" and names[-2:] == ["<sees:0>", "<leave>"]
    added = names.index("product_added_to_cart:same:one")
    assert names[added + 1] == "<sees:7>"
    untyped = goal_rows(log, codes, {"shop": Goods(shop)}, GoalVocabulary(CODEBOOK, ("c00",)), False, 0)
    assert len(untyped) == 40


class Rule:
    """A backend that would do one thing only."""

    def __init__(self, words: GoalVocabulary, wish: int) -> None:
        self.words, self.wish = words, wish

    def scores(self, tokens: np.ndarray) -> np.ndarray:
        assert tokens.shape[0] == TILE
        scores = np.full((TILE, len(self.words)), -50.0, np.float32)
        scores[:, self.wish] = 0.0
        return scores


def test_a_model_is_asked_in_its_words_and_held_to_what_is_served(goods: Goods, words: GoalVocabulary) -> None:
    """Who only wants to leave looks at one page first: nobody leaves before the first."""
    results = run_tasks(ModelDoer(Rule(words, words.leave), words, True, 0), tasks_of(goods, 5), 0)
    assert [(result.success, result.steps) for result in results] == [(False, 1)] * 5
