"""Find and buy under constraints: goals, what a shopper sees of them, and real purchases told as goals reached.

A session with a goal is written as

    <4 storefront flags> <coarse type> <buyer type> <goal> a1 s1 a2 s2 … <leave>

where ``s`` says whether the page that ``a`` led to meets the goal's category, price and rank. Actions are those of all
simulated session; pauses and traits are left out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from agent_runtime.storefront.click import Click
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.retrace import retrace
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from encoders.sessionise import SessionLog
from schemas.events import I32
from schemas.hashing import hash32
from schemas.taxonomy import EVENT_CODES

#: A goal's price and rank limits are told as how much of its category they leave: a third, two, or more.
LEVELS = 3
_QUANTITIES = ("one", "many")
#: A goal leaves room: its limits are up to this many times the price and rank of what it was made from.
_PRICE_ROOM, _RANK_ROOM = 1.3, 2.0
_VIEWED, _ADDED = EVENT_CODES["product_viewed"], EVENT_CODES["product_added_to_cart"]
_LISTED, _BOUGHT = EVENT_CODES["collection_viewed"], EVENT_CODES["checkout_completed"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Buy ``many`` (or one) of a category, at most so dear, and among the shop's so many most looked at."""

    category: str
    price_limit_minor: int
    rank_limit: int
    many: bool


@dataclass(frozen=True)
class GoalVocabulary(Vocabulary):
    """The words of sessions with a goal: those of all sessions, then goals and what is seen of them."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All token names; see ``Vocabulary``."""
        goals = (f"<goal:{p}:{r}:{q}>" for p in range(LEVELS) for r in range(LEVELS) for q in _QUANTITIES)
        return (*super().names, *goals, *(f"<sees:{bits}>" for bits in range(8)))

    @property
    def prompt_length(self) -> int:
        """Tokens of every prompt, the goal included."""
        return super().prompt_length + 1

    @property
    def longest(self) -> int:
        """Most tokens that a session can take."""
        return self.prompt_length + 2 * MAX_EVENTS + 1

    def asked(self, shelf: "Goods", goal: Goal, code: int) -> list[int]:
        """Return the given beginning of a session with a goal at a storefront."""
        price, rank = shelf.levels(goal)
        word = f"<goal:{price}:{rank}:{_QUANTITIES[goal.many]}>"
        return [*self.prompt(shelf.shop.capabilities.flags(), code), self.id(word)]

    def sees(self, bits: int) -> int:
        """Return the id of what is seen: category, price, rank met, the first the lowest bit."""
        return self.id(f"<sees:{bits}>")


class Goods:
    """A shop's products as goals ask about them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.place = {product.product_id: place for place, product in enumerate(shop.products)}
        self.by_hash = {hash32(product.product_id.encode()): place for place, product in enumerate(shop.products)}
        self.price = np.array([product.price_minor or 0 for product in shop.products])
        self.category = np.array([product.category or "" for product in shop.products])

    def meets(self, goal: Goal, place: int) -> int:
        """Return which of a goal's constraints a product meets: category 1, price 2, rank 4."""
        category, price = self.category[place] == goal.category, self.price[place] <= goal.price_limit_minor
        return int(category) + 2 * int(price) + 4 * int(place < goal.rank_limit)

    def seen(self, goal: Goal, click: Click) -> int:
        """Return what a click's page shows of a goal: a product's bits, a list's category, else nothing."""
        if click.event in ("product_viewed", "product_added_to_cart") and click.product_id is not None:
            return self.meets(goal, self.place[click.product_id])
        return int(click.event == "collection_viewed" and click.category == goal.category)

    def levels(self, goal: Goal) -> tuple[int, int]:
        """Return how much of the goal's category its price and its rank leave, as one of ``LEVELS`` each."""
        own = np.flatnonzero(self.category == goal.category)
        shares = (self.price[own] <= goal.price_limit_minor).mean(), (own < goal.rank_limit).mean()
        price, rank = (min(int(LEVELS * share), LEVELS - 1) for share in shares)
        return price, rank

    def goal_of(self, place: int, many: bool, random: np.random.Generator) -> Goal:
        """Return a goal that a product meets, with some room."""
        price = int(self.price[place] * random.uniform(1.0, _PRICE_ROOM))
        rank = int((place + 1) * random.uniform(1.0, _RANK_ROOM))
        return Goal(str(self.category[place]), price, rank, many)


def goal_rows(
    log: SessionLog, codes: I32, goods: dict[str, Goods], words: GoalVocabulary, typed: bool, seed: int
) -> list[Tokens]:
    """Return the sessions that bought, each told as one that had its purchase for a goal (hindsight).

    codes (n,) their buyer types; goods by merchant. ``typed`` False tells no types. The goal is made from what was put
    in the cart last before the purchase; a session whose product is not among the shop's is left out.
    """
    batch, random = log.batch(), np.random.default_rng(seed)
    steps = retrace(batch)
    first_action = words.ranges["action"][0]
    rows: list[Tokens] = []
    for row in range(len(log)):
        span = slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))
        events = batch.events[span]
        bought = np.flatnonzero(events["event"] == _BOUGHT)
        added = np.flatnonzero(events["event"] == _ADDED)
        if not len(bought) or not len(added[added < bought[0]]) or len(events) > MAX_EVENTS:
            continue
        shelf = goods.get(log.merchants[log.merchant[row]])
        last = events[added[added < bought[0]][-1]]
        if shelf is None or int(last["product"]) not in shelf.by_hash:
            continue
        goal = shelf.goal_of(shelf.by_hash[int(last["product"])], bool(last["quantity"] > 1), random)
        moves = np.empty(2 * len(events), np.int64)
        moves[0::2] = steps.action[span].astype(np.int64) + first_action
        moves[1::2] = [words.sees(_seen(shelf, goal, event)) for event in events]
        prompt = words.asked(shelf, goal, int(codes[row]) if typed else 0)
        rows.append(np.concatenate([prompt, moves, [words.leave]]).astype(np.int64))
    return rows


def _seen(shelf: Goods, goal: Goal, event: npt.NDArray[np.void]) -> int:
    """Return what an event of a log shows of a goal, as ``Goods.seen`` does for a click."""
    if event["event"] in (_VIEWED, _ADDED) and int(event["product"]) in shelf.by_hash:
        return shelf.meets(goal, shelf.by_hash[int(event["product"])])
    return int(event["event"] == _LISTED and int(event["category"]) == hash32(goal.category.encode()))
