"""Shoppers with a goal in a storefront: by a model, by a rule that searches and filters, or by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Backend
from agent_runtime.draws import Purpose, draw
from agent_runtime.goals.goals import Goal, GoalVocabulary, Goods
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS, NEW, SAME, Action
from agent_runtime.storefront.storefront import HIGHER, LOWER, SIMILAR, Mask, Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.vocabulary import MAX_EVENTS, Tokens
from agent_runtime.walk.rollout import TILE

LEAVE = len(ACTIONS)


@dataclass(frozen=True, slots=True)
class Task:
    """A goal at a storefront, and the buyer type of whoever has it."""

    goods: Goods
    goal: Goal
    code: int


@dataclass(frozen=True, slots=True)
class Result:
    """Whether a task was done: exactly what was asked was bought. ``steps`` are clicks; ``bought`` anything at all."""

    success: bool
    steps: int
    bought: bool


class Doer(Protocol):
    """Decides the next moves of some shoppers with goals."""

    def choose(self, errands: Sequence["Errand"]) -> list[int]:
        """Return a place in ``ACTIONS``, or ``LEAVE``, for each errand; only what its ``moves`` serve."""
        ...


class Errand:
    """One task under way. ``seen`` is what the last page showed of the goal."""

    def __init__(self, task: Task, storefront: Storefront, seed: int, agent: int) -> None:
        self.task, self.agent = task, agent
        self.visit = Visit(storefront, seed, agent)
        self.seen = 0
        self.actions: list[int] = []
        self.shown: list[int] = []
        self.result: Result | None = None

    def moves(self) -> Mask:
        """Return what the storefront serves now, (A,) bool."""
        return self.visit.moves()

    def go(self, move: int) -> None:
        """Do a move; the task ends with a purchase, on leaving, and at the length limit."""
        if move == LEAVE:
            self.result = Result(False, len(self.actions), False)
            return
        cart = list(self.visit.cart)
        click = self.visit.take(ACTIONS[move])
        self.actions.append(move)
        self.seen = self.task.goods.seen(self.task.goal, click)
        self.shown.append(self.seen)
        if click.event == "checkout_completed":
            self.result = Result(self._is_asked_for(cart), len(self.actions), True)
        elif len(self.actions) == MAX_EVENTS:
            self.result = Result(False, len(self.actions), False)

    def _is_asked_for(self, cart: list[tuple[int, int]]) -> bool:
        fits = all(self.task.goods.meets(self.task.goal, place) == 7 for place, _ in cart)
        units = sum(count for _, count in cart)
        return fits and (units > 1 if self.task.goal.many else units == 1)


def run_tasks(doer: Doer, tasks: Sequence[Task], seed: int) -> list[Result]:
    """Return the result of every task, in their order. Task ``i`` draws as agent ``i``, whoever does it."""
    results: list[Result] = []
    storefronts: dict[str, Storefront] = {}
    for first in range(0, len(tasks), TILE):
        errands = []
        for place, task in enumerate(tasks[first : first + TILE], first):
            shop = task.goods.shop
            storefront = storefronts.setdefault(shop.merchant_id, Storefront(shop))
            errands.append(Errand(task, storefront, seed, place))
        while open_ := [errand for errand in errands if errand.result is None]:
            for errand, move in zip(open_, doer.choose(open_), strict=True):
                errand.go(move)
        results += [errand.result for errand in errands if errand.result is not None]
    return results


class ModelDoer:
    """A language model of ``GoalVocabulary``; ``typed`` False for one without persona tokens."""

    def __init__(self, backend: Backend, words: GoalVocabulary, typed: bool, seed: int) -> None:
        self._backend, self._words, self._typed, self._seed = backend, words, typed, seed

    def choose(self, errands: Sequence[Errand]) -> list[int]:
        """Return moves drawn from the model's chances of what is served."""
        words = self._words
        rows = [self._row(errand) for errand in errands]
        tokens: Tokens = np.full((TILE, len(rows[0])), words.pad, np.int64)
        tokens[: len(rows)] = rows  # all have made as many steps
        first, end = (bound - words.offset for bound in words.ranges["action"])
        scores = self._backend.scores(tokens)[: len(rows)].astype(np.float64)
        scores = np.column_stack([scores[:, first:end], scores[:, words.leave - words.offset]])
        chosen = []
        for errand, own in zip(errands, scores, strict=True):
            served = np.append(errand.moves(), bool(errand.actions))
            heap = np.cumsum(np.where(served, np.exp(own - own[served].max()), 0.0))
            at = draw(self._seed, errand.agent, len(errand.actions), Purpose.TOKEN) * heap[-1]
            chosen.append(min(int(np.searchsorted(heap, at, side="right")), LEAVE))
        return chosen

    def _row(self, errand: Errand) -> list[int]:
        words, task = self._words, errand.task
        row = words.asked(task.goods, task.goal, task.code if self._typed else 0)
        for action, seen in zip(errand.actions, errand.shown, strict=True):
            row += [words.action(action), words.sees(seen)]
        return row


class ChanceDoer:
    """Anything that is served, each as likely; never leaves: the lower bound."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def choose(self, errands: Sequence[Errand]) -> list[int]:
        """Return moves drawn evenly."""
        chosen = []
        for errand in errands:
            served = np.flatnonzero(errand.moves())
            unit = draw(self._seed, errand.agent, len(errand.actions), Purpose.TOKEN)
            chosen.append(int(served[int(unit * len(served))]))
        return chosen


class GreedyDoer:
    """Goes to the category, opens its products from the cheap side until one meets all, buys it: the upper bound."""

    def choose(self, errands: Sequence[Errand]) -> list[int]:
        """Return each errand's next move by the rule."""
        return [self._next(errand) for errand in errands]

    def _next(self, errand: Errand) -> int:
        served, visit, goal = errand.moves(), errand.visit, errand.task.goal
        if visit.cart:
            ahead = (place for event, place in _TOWARDS.items() if event not in visit.done)
            return _first(served, _DONE, *ahead)
        if errand.seen == 7:
            return _first(served, _ADD_MANY if goal.many else _ADD_ONE, _ADD_ONE)
        if visit.category == goal.category:
            return _first(served, *_SEARCHING)
        return _first(served, *_GOING)


def _place(event: str, **parts: str) -> int:
    return ACTION_INDEX[Action(event, **parts).name]


_ADD_ONE = _place("product_added_to_cart", item=SAME, quantity="one")
_ADD_MANY = _place("product_added_to_cart", item=SAME, quantity="many")
_DONE = _place("checkout_completed")
_TOWARDS = {event: _place(event) for event in ("checkout_started", "payment_info_submitted", "cart_viewed")}
_SEARCHING = [_place("product_viewed", item=NEW, category=SAME, price=price) for price in (LOWER, SIMILAR, HIGHER)]
_GOING = [
    _place("collection_viewed", category=NEW),
    *(_place("product_viewed", item=NEW, category=NEW, price=price) for price in (SIMILAR, LOWER, HIGHER)),
    *_SEARCHING,
]


def _first(served: npt.NDArray[np.bool_], *wishes: int) -> int:
    """Return the first wish that is served, else leaving."""
    return next((wish for wish in wishes if served[wish]), LEAVE)
