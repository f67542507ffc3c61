"""Sessions of clicks read as sequences of actions: the rule that traces are made by and the storefront is held to.

One pass per session, in compiled code. The storefront makes clicks from actions; reading those clicks here gives the
same actions back, which is what makes a simulated session look to the encoder as it was meant.
"""

from dataclasses import dataclass

import numba as nb
import numpy as np

from agent_runtime.storefront.actions import (
    ACTION_INDEX,
    ACTIONS,
    CATEGORY_RELATIONS,
    NEW,
    PACE_BOUNDS_S,
    PRICE_HIGHER,
    PRICE_LOWER,
    PRICE_RELATIONS,
    RETURN,
    SAME,
    Action,
)
from schemas.events import I32, I64, U8, Events, SessionBatch
from schemas.taxonomy import EVENT_CODES, EVENT_NAMES

#: Products, categories remembered per session; later ones of a very long session all read as new.
MEMORY = 128


def _first(event: str, **parts: str) -> int:
    return ACTION_INDEX[Action(event, **parts).name]


_PLAIN = np.array(
    [next((i for i, action in enumerate(ACTIONS) if action.event == name), 0) for name in EVENT_NAMES], np.int64
)
_COLLECTION = _first("collection_viewed", category=CATEGORY_RELATIONS[0])
_SEARCH_NEW = _first("search_submitted", item=NEW)
_SEARCH_SAME = _first("search_submitted", item=SAME)
_VIEW_NEW = _first("product_viewed", item=NEW, category=CATEGORY_RELATIONS[0], price=PRICE_RELATIONS[0])
_VIEW_SAME = _first("product_viewed", item=SAME)
_VIEW_RETURN = _first("product_viewed", item=RETURN, price=PRICE_RELATIONS[0])
_ADD_SAME = _first("product_added_to_cart", item=SAME, quantity="one")
_ADD_RETURN = _first("product_added_to_cart", item=RETURN, quantity="one")
_ADD_NEW = _first("product_added_to_cart", item=NEW, quantity="one")
_PRICES = len(PRICE_RELATIONS)
_IN_SAME, _IN_NEW, _IN_RETURN = 0, 1, 2  # order of CATEGORY_RELATIONS
_E_COLLECTION = EVENT_CODES["collection_viewed"]
_E_SEARCH = EVENT_CODES["search_submitted"]
_E_VIEWED = EVENT_CODES["product_viewed"]
_E_ADDED = EVENT_CODES["product_added_to_cart"]
_BOUNDS_MS = np.array(PACE_BOUNDS_S) * 1000.0


@dataclass(frozen=True, slots=True)
class Steps:
    """Sessions as actions, ragged like the SessionBatch they come from.

    action, pace   (total,) uint8; ``pace`` is the bucket of the pause before the action, 0 at a session's first
    device, referrer, moment  (n,) uint8: the first known device and referrer, the moment of the week it began
    offsets        (n + 1,) int64
    """

    action: U8
    pace: U8
    device: U8
    referrer: U8
    moment: U8
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def select(self, rows: I64) -> "Steps":
        """Return only these sessions."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[rows], lengths)
        return Steps(
            self.action[places],
            self.pace[places],
            self.device[rows],
            self.referrer[rows],
            self.moment[rows],
            offsets,
        )


def retrace(sessions: SessionBatch) -> Steps:
    """Return the sessions as actions. Pure; every session on its own. Events must be sorted by (t, id)."""
    total, count = len(sessions.events), len(sessions)
    action = np.zeros(total, np.uint8)
    pace = np.zeros(total, np.uint8)
    traits = np.zeros((3, count), np.uint8)
    _retrace(sessions.events, sessions.offsets, action, pace, traits)
    return Steps(action, pace, traits[0], traits[1], traits[2], sessions.offsets)


@nb.njit(cache=True, nogil=True)
def _place(memory: I32, size: int, value: int) -> int:
    for place in range(size - 1, -1, -1):
        if memory[place] == value:
            return place
    return -1


@nb.njit(cache=True, nogil=True)
def _price_relation(price: float, price_sum: float, prices: int) -> int:
    """Return the index in PRICE_RELATIONS; without a price to compare with, or of its own, a product is similar."""
    if prices == 0 or not price > 0.0:
        return 1
    ratio = price * prices / price_sum
    if ratio < PRICE_LOWER:
        return 0
    return 2 if ratio > PRICE_HIGHER else 1


@nb.njit(cache=True, nogil=True)
def _category_relation(category: int, current: int, known: I32, size: int) -> int:
    if category == 0 or category == current:
        return _IN_SAME
    return _IN_NEW if _place(known, size, category) < 0 else _IN_RETURN


@nb.njit(cache=True, nogil=True)
def _retrace(events: Events, offsets: I64, action: U8, pace: U8, traits: U8) -> None:
    products = np.zeros(MEMORY, np.uint32)
    categories = np.zeros(MEMORY, np.uint32)
    for session in range(len(offsets) - 1):
        known = known_categories = prices = 0
        last = current = query = np.uint32(0)
        price_sum = 0.0
        first = offsets[session]
        for row in range(first, offsets[session + 1]):
            event = events[row]
            code = event.event
            if row > first:
                gap_ms = float(event.t - events[row - 1].t)
                bucket = 0
                while bucket < len(_BOUNDS_MS) and gap_ms >= _BOUNDS_MS[bucket]:
                    bucket += 1
                pace[row] = bucket
            if traits[0, session] == 0:
                traits[0, session] = event.device
            if traits[1, session] == 0:
                traits[1, session] = event.referrer
            chosen = _PLAIN[code]
            price = float(event.price)
            about_category = code in (_E_COLLECTION, _E_VIEWED)
            category = _category_relation(event.category, current, categories, known_categories)
            if code == _E_COLLECTION:
                chosen = _COLLECTION + category
            elif code == _E_SEARCH:
                chosen = _SEARCH_SAME if event.query != 0 and event.query == query else _SEARCH_NEW
                query = event.query
            elif code in (_E_VIEWED, _E_ADDED):
                relation = _price_relation(price, price_sum, prices)
                again = event.product == last and last != 0
                seen = _place(products, known, event.product) >= 0 and event.product != 0
                if code == _E_VIEWED:
                    if again:
                        chosen = _VIEW_SAME
                    elif seen:
                        chosen = _VIEW_RETURN + relation
                    else:
                        chosen = _VIEW_NEW + category * _PRICES + relation
                    if price > 0.0:
                        price_sum += price
                        prices += 1
                else:
                    unnamed = event.product == 0
                    chosen = _ADD_SAME if again or unnamed else (_ADD_RETURN if seen else _ADD_NEW)
                    chosen += event.quantity > 1
                if event.product != 0:
                    last = event.product
                    if not seen and known < MEMORY:
                        products[known] = event.product
                        known += 1
            if about_category and event.category != 0:
                if category == _IN_NEW and known_categories < MEMORY:
                    categories[known_categories] = event.category
                    known_categories += 1
                current = event.category
            action[row] = chosen
        day = events[first].t // 86_400_000
        weekend = (day + 3) % 7 >= 5
        traits[2, session] = events[first].t % 86_400_000 // 10_800_000 + 8 * weekend
