"""What a backend's scores come to on a page: with a mask the nearest thing on offer, without one whatever it wishes."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from agent_runtime.backends import Scores
from agent_runtime.draws import F64
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.vocabulary import Vocabulary

#: A choice that is no action: leaving, or a word that means nothing at this point.
LEAVE, NONSENSE = -1, -2


@dataclass(frozen=True, slots=True)
class Wish:
    """Chances (A,) of every action, of leaving, and of words that are neither."""

    actions: F64
    leave: float
    nonsense: float


def wish(scores: Scores, vocabulary: Vocabulary, may_leave: bool, masked: bool) -> Wish:
    """Return what a backend wishes for next, from its scores (V,). With a mask only moves can be wished for."""
    weights = np.exp(scores.astype(np.float64) - scores.max())
    weights /= weights.sum()
    first, end = (token - vocabulary.offset for token in vocabulary.ranges["action"])
    actions, leave = weights[first:end], float(weights[vocabulary.leave - vocabulary.offset]) * may_leave
    nonsense = 0.0 if masked else max(0.0, 1.0 - float(actions.sum()) - leave)
    return Wish(actions, leave, nonsense)


def choose(wished: Wish, offered: Collection[int], without: Collection[int], masked: bool, units: F64) -> int:
    """Return an action's place in ``ACTIONS``, LEAVE or NONSENSE.

    offered  actions that the page offers; ``without`` those that have failed already
    units    (4,) of [0, 1): a draw for the wish and one for each step back from it

    With a mask, a wish that is not on offer becomes the same move at another price, else in another category, else
    anything, drawn by the backend's own chances: the rule of ``agent_runtime.walk.rollout``, as a draw.
    """
    chances = wished.actions.copy()
    chances[list(without)] = 0.0
    first = _draw(np.append(chances, [wished.leave, wished.nonsense]), units[0])
    if first == len(chances):
        return LEAVE
    if first > len(chances):
        return NONSENSE
    if not masked or first in offered:
        return first
    on_page = np.zeros(len(chances), bool)
    on_page[[place for place in offered if place not in without]] = True
    action = ACTIONS[first]
    alike = (
        [(a.event, a.item, a.category) == (action.event, action.item, action.category) for a in ACTIONS],
        [(a.event, a.item) == (action.event, action.item) for a in ACTIONS],
    )
    for near, unit in zip(alike, units[1:], strict=False):
        candidates = np.where(near & on_page, chances, 0.0)
        if candidates.sum() > 0:
            return _draw(candidates, unit)
    anything = np.append(np.where(on_page, chances, 0.0), wished.leave)
    place = _draw(anything, units[-1])
    return LEAVE if place == len(chances) else place


def _draw(weights: F64, unit: float) -> int:
    heap = np.cumsum(weights)
    return min(int(np.searchsorted(heap, unit * heap[-1], side="right")), len(heap) - 1)
