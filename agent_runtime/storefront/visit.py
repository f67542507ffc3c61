"""One shopper's session in a storefront: what can be done next, and the click that comes of it.

The visit keeps the same view of the session as ``agent_runtime.traces.retrace`` does, so that the clicks it makes read
back as the actions taken.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from agent_runtime.draws import F64, Purpose, draw
from agent_runtime.errors import ShopError
from agent_runtime.storefront.actions import (
    ACTION_INDEX,
    ACTIONS,
    ACTIONS_OF,
    CATEGORY_RELATIONS,
    NEW,
    PRICE_HIGHER,
    PRICE_LOWER,
    PRICE_RELATIONS,
    RETURN,
    SAME,
    Action,
)
from agent_runtime.storefront.capabilities import FIELDS
from agent_runtime.storefront.click import Click, page_path
from agent_runtime.storefront.storefront import HIGHER, LOWER, SIMILAR, Mask, Shelf, Storefront
from schemas.events import I64

#: Events whose price is the whole cart's, as the ClickEvent contract has it.
_TOTALS = frozenset({"cart_viewed", "checkout_started", "payment_info_submitted", "checkout_completed"})


@dataclass(slots=True)
class Visit:
    """One shopper's session. ``seed`` and ``agent`` number its random draws; nothing else does."""

    storefront: Storefront
    seed: int
    agent: int
    step: int = 0
    seen: list[int] = field(default_factory=list)
    last: int | None = None
    category: str | None = None
    categories: list[str] = field(default_factory=list)
    query: str | None = None
    price_sum: float = 0.0
    prices: int = 0
    cart: list[tuple[int, int]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    drawn: dict[str, str | None] = field(default_factory=dict)
    served: Mask | None = None

    def moves(self) -> Mask:
        """Return which of ``ACTIONS`` the storefront serves now, (A,) bool; the same array until the next ``take``."""
        if self.served is None:
            self.served = np.zeros(len(ACTIONS), bool)
            for event in self.storefront.shop.capabilities.events:
                if self._paid_for(event):
                    self.served[ACTIONS_OF[event]] = self._choices(event)
        return self.served

    def take(self, action: Action) -> Click:
        """Do one action and return its click. Call only what ``moves`` allows: else ShopError."""
        if not self.moves()[ACTION_INDEX[action.name]]:
            raise ShopError(f"{self.storefront.shop.merchant_id} does not serve {action.name} at this point.")
        product, quantity, category = None, 1, None
        match action.event:
            case "collection_viewed":
                category = self._category(action.category)
                self._enter(category, "collection_viewed")
            case "search_submitted":
                self.query = self._search(action.item)
            case "product_viewed":
                product = self._viewed(action)
            case "product_added_to_cart":
                product, quantity = self._added(action)
            case "product_removed_from_cart":
                product, quantity = self._removed()
            case "cart_viewed" | "checkout_started" | "payment_info_submitted" | "checkout_completed":
                product = self.cart[-1][0] if self.cart else self.last
        click = self._click(action.event, product, quantity, category)
        self.done.add(action.event)
        if action.event == "checkout_completed":
            self.cart, self.done = [], set()
        self.step += 1
        self.drawn.clear()
        self.served = None
        return click

    def _fills(self, event: str, column: str) -> bool:
        return self.storefront.shop.capabilities.fills(event, column)

    def _choices(self, event: str) -> bool | list[bool]:
        """Return which of an event's actions are possible, in their order in ``ACTIONS``; one answer may be for all."""
        match event:
            case "collection_viewed":
                if not self._fills(event, "category"):
                    return [relation == SAME for relation in CATEGORY_RELATIONS]
                return [self._category(relation) is not None for relation in CATEGORY_RELATIONS]
            case "search_submitted":
                if not self._fills(event, "query"):
                    return [True, False]
                return [any(text != self.query for text in self.storefront.queries[:2]), self.query is not None]
            case "product_viewed":
                return self._viewable()
            case "product_added_to_cart":
                return self._addable()
        return True

    def _paid_for(self, event: str) -> bool:
        """Say whether what always comes before this event has come, and lies in the cart where it must."""
        owed = self.storefront.shop.capabilities.requires.get(event, frozenset())
        needs_cart = "product_added_to_cart" in owed and event != "cart_viewed"
        return owed <= self.done and (bool(self.cart) or not needs_cart)

    def _viewable(self) -> list[bool]:
        fresh = [served for relation in CATEGORY_RELATIONS for served in self._has_fresh(relation)]
        if not self._fills("product_viewed", "product_id"):
            return [*fresh, False, *(False for _ in PRICE_RELATIONS)]
        back = {self._relation(place) for place in self.seen if place != self.last}
        return [*fresh, self.last is not None, *(price in back for price in PRICE_RELATIONS)]

    def _addable(self) -> list[bool]:
        if self._fills("product_added_to_cart", "product_id"):
            others = len(self.seen) > 1 or (len(self.seen) == 1 and self.seen[0] != self.last)
            items = [self.last is not None, others, len(self.seen) < len(self.storefront.shop.products)]
        else:
            items = [True, False, False]
        many = self._fills("product_added_to_cart", "quantity")
        return [served for item in items for served in (item, item and many)]

    def _category(self, relation: str) -> str | None:
        """Return the category that a relation stands for at this step, None when there is none."""
        if relation == SAME:
            return self.category
        if relation not in self.drawn:
            self.drawn[relation] = self._draw_category(relation)
        return self.drawn[relation]

    def _draw_category(self, relation: str) -> str | None:
        if relation == NEW:
            names = [name for name in self.storefront.categories if name not in self.categories]
            purpose = Purpose.CATEGORY_NEW
        else:
            names = [name for name in self.categories if name != self.category]
            purpose = Purpose.CATEGORY_RETURN
        weights = np.array([self.storefront.category_weights[name] for name in names])
        return names[self._pick(weights, purpose)] if names else None

    def _has_fresh(self, relation: str) -> list[bool]:
        """Say for each of ``PRICE_RELATIONS`` whether such a product of this category was not seen yet."""
        shelf = self._shelf_of(relation, "product_viewed")
        if shelf is None:
            return [False] * len(PRICE_RELATIONS)
        bounds = shelf.price_bounds(self.price_sum, self.prices)
        seen = [shelf.position[place] for place in self.seen if place in shelf.position]
        return [high - low > sum(low <= at < high for at in seen) for low, high in pairwise(bounds)]

    def _fresh(self, relation: str, price: str, event: str) -> tuple[I64, F64]:
        """Return places and popularity of the products of one category and price relation that were not seen yet."""
        shelf = self._shelf_of(relation, event)
        if shelf is None:
            return np.empty(0, np.int64), np.empty(0)
        if not price:
            return self._unseen(shelf, 0, len(shelf.places))
        bounds, at = shelf.price_bounds(self.price_sum, self.prices), PRICE_RELATIONS.index(price)
        return self._unseen(shelf, bounds[at], bounds[at + 1])

    def _unseen(self, shelf: Shelf, low: int, high: int) -> tuple[I64, F64]:
        unseen = ~np.isin(shelf.places[low:high], self.seen)
        return shelf.places[low:high][unseen], shelf.weights[low:high][unseen]

    def _shelf_of(self, relation: str, event: str) -> Shelf | None:
        if self._fills(event, "category") and self.storefront.categories:
            category = self._category(relation)
            return None if category is None else self.storefront.shelves[category]
        if relation != SAME:
            return None
        return self.storefront.shelves.get(self.category, self.storefront.everything)

    def _relation(self, place: int) -> str:
        price = self.storefront.prices[place]
        if self.prices == 0 or not price > 0.0:
            return SIMILAR
        ratio = price * self.prices / self.price_sum
        return LOWER if ratio < PRICE_LOWER else HIGHER if ratio > PRICE_HIGHER else SIMILAR

    def _returnable(self, relation: str) -> list[int]:
        return [place for place in self.seen if place != self.last and self._relation(place) == relation]

    def _pick(self, weights: F64, purpose: Purpose) -> int:
        """Return the place drawn in proportion to ``weights`` (0 when there is nothing to choose from)."""
        if len(weights) < 2:
            return 0
        heap = np.cumsum(weights)
        at = draw(self.seed, self.agent, self.step, purpose) * heap[-1]
        return min(int(np.searchsorted(heap, at, side="right")), len(heap) - 1)

    def _popular(self, candidates: tuple[I64, F64]) -> int:
        places, weights = candidates
        return int(places[self._pick(weights, Purpose.PRODUCT)])

    def _viewed(self, action: Action) -> int:
        if action.item == SAME and self.last is not None:
            place = self.last
        elif action.item == RETURN:
            choice = self._returnable(action.price)
            place = choice[self._pick(np.ones(len(choice)), Purpose.PRODUCT)]
        else:
            place = self._popular(self._fresh(action.category, action.price, "product_viewed"))
        self._notice(place, "product_viewed")
        self._enter(self.storefront.shop.products[place].category, "product_viewed")
        price = self.storefront.prices[place]
        if price > 0.0 and self._fills("product_viewed", "price_minor"):
            self.price_sum += price
            self.prices += 1
        return place

    def _added(self, action: Action) -> tuple[int, int]:
        everything = self.storefront.everything
        if action.item == SAME:
            anything = (everything.places, everything.weights)
            place = self.last if self.last is not None else self._popular(anything)
        elif action.item == RETURN:
            others = [place for place in self.seen if place != self.last]
            place = others[self._pick(np.ones(len(others)), Purpose.PRODUCT)]
        else:
            near = self._fresh(SAME, "", "product_added_to_cart")
            place = self._popular(near if len(near[0]) else self._unseen(everything, 0, len(everything.places)))
        self._notice(place, "product_added_to_cart")
        quantity = 1
        if action.quantity == "many":
            # Drawn by place in the cart, not by step: a click more before it does not change what is bought.
            several = self.storefront.shop.quantities
            quantity = several[int(draw(self.seed, self.agent, len(self.cart), Purpose.QUANTITY) * len(several))]
        self.cart.append((place, quantity))
        return place, quantity

    def _removed(self) -> tuple[int | None, int]:
        if not self.cart:
            return self.last, 1
        return self.cart.pop(self._pick(np.ones(len(self.cart)), Purpose.PRODUCT))

    def _search(self, item: str) -> str | None:
        if item == SAME or not self.storefront.queries:
            return self.query
        weights = np.where(np.array(self.storefront.queries) == (self.query or ""), 0.0, self.storefront.query_weights)
        return self.storefront.queries[self._pick(weights, Purpose.QUERY)]

    def _notice(self, place: int, event: str) -> None:
        if self._fills(event, "product_id"):
            self.last = place
            if place not in self.seen:
                self.seen.append(place)

    def _enter(self, category: str | None, event: str) -> None:
        if category is not None and self._fills(event, "category"):
            self.category = category
            if category not in self.categories:
                self.categories.append(category)

    def _click(self, event: str, place: int | None, quantity: int, category: str | None) -> Click:
        product = None if place is None else self.storefront.shop.products[place]
        price = None if product is None else product.price_minor
        if event in _TOTALS and self.cart:
            # Price times quantity is the cart's total there, whatever was in it.
            price = sum((self.storefront.shop.products[p].price_minor or 0) * count for p, count in self.cart)
        values = {
            "product_id": None if product is None else product.product_id,
            "category": category if product is None else product.category,
            "price_minor": price or None,
            "quantity": None if product is None else quantity,
            "query": self.query,
        }
        carried = {column: values[column] if self._fills(event, column) else None for column in FIELDS}
        return Click(event=event, url_path=page_path(event, product and product.product_id, category), **carried)  # type: ignore[arg-type]
