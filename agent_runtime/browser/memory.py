"""What a shopper remembers of the session: enough to say how anything on a page relates to it.

The same view of the session as ``agent_runtime.traces.retrace`` has, so that the clicks of a browser session read back
as the actions taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent_runtime.storefront.actions import (
    NEW,
    PRICE_HIGHER,
    PRICE_LOWER,
    PRICE_RELATIONS,
    QUANTITIES,
    RETURN,
    SAME,
    Action,
)
from agent_runtime.storefront.capabilities import Capabilities
from agent_runtime.storefront.click import Click

LOWER, SIMILAR, HIGHER = PRICE_RELATIONS
ONE, MANY = QUANTITIES


@dataclass(slots=True)
class Memory:
    """One session so far, as far as the storefront's clicks carry it."""

    capabilities: Capabilities
    seen: list[str] = field(default_factory=list)
    last: str | None = None
    category: str | None = None
    categories: list[str] = field(default_factory=list)
    query: str | None = None
    price_sum: float = 0.0
    prices: int = 0

    def views(self, product_id: str, category: str | None, price_minor: int | None) -> Iterable[Action]:
        """Return the actions that opening a product may turn out to be: several where its price is not told."""
        fills = self.capabilities.fills
        prices = [self._price(price_minor)]
        if price_minor is None and self.prices and fills("product_viewed", "price_minor"):
            prices = list(PRICE_RELATIONS)
        if fills("product_viewed", "product_id"):
            if product_id == self.last:
                return [Action("product_viewed", SAME)]
            if product_id in self.seen:
                return [Action("product_viewed", RETURN, price=price) for price in prices]
        near = self._category(category if fills("product_viewed", "category") else None)
        return [Action("product_viewed", NEW, near, price) for price in prices]

    def adds(self, product_id: str, quantity: int) -> Action:
        """Return the action that putting a product into the cart is."""
        fills = self.capabilities.fills
        item = SAME
        if fills("product_added_to_cart", "product_id") and product_id != self.last:
            item = RETURN if product_id in self.seen else NEW
        many = quantity > 1 and fills("product_added_to_cart", "quantity")
        return Action("product_added_to_cart", item, quantity=MANY if many else ONE)

    def enters(self, category: str | None) -> Action:
        """Return the action that opening a collection is."""
        known = category if self.capabilities.fills("collection_viewed", "category") else None
        return Action("collection_viewed", category=self._category(known))

    def searches(self, query: str) -> Action:
        """Return the action that a search is."""
        same = query == self.query and self.capabilities.fills("search_submitted", "query")
        return Action("search_submitted", SAME if same else NEW)

    def action_of(self, click: Click) -> Action:
        """Return the action that a click was, before it is noted."""
        match click.event:
            case "collection_viewed":
                return self.enters(click.category)
            case "search_submitted":
                return self.searches(click.query or "")
            case "product_viewed":
                return next(iter(self.views(click.product_id or "", click.category, click.price_minor or 0)))
            case "product_added_to_cart":
                return self.adds(click.product_id or "", click.quantity or 1)
        return Action(click.event)

    def note(self, click: Click) -> None:
        """Remember a click."""
        if click.event in ("collection_viewed", "product_viewed") and click.category:
            self.category = click.category
            if click.category not in self.categories:
                self.categories.append(click.category)
        if click.event == "search_submitted":
            self.query = click.query
        if click.event == "product_viewed" and click.price_minor:
            self.price_sum += click.price_minor
            self.prices += 1
        if click.event in ("product_viewed", "product_added_to_cart") and click.product_id:
            self.last = click.product_id
            if click.product_id not in self.seen:
                self.seen.append(click.product_id)

    def _category(self, category: str | None) -> str:
        if not category or category == self.category:
            return SAME
        return RETURN if category in self.categories else NEW

    def _price(self, price_minor: int | None) -> str:
        if not price_minor or not self.prices or not self.capabilities.fills("product_viewed", "price_minor"):
            return SIMILAR
        ratio = price_minor * self.prices / self.price_sum
        return LOWER if ratio < PRICE_LOWER else HIGHER if ratio > PRICE_HIGHER else SIMILAR
