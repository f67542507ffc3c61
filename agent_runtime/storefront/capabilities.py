"""What a storefront offers, as a shopper and a simulator see it: which events can happen there at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.taxonomy import EVENT_CODES

#: Events of which one may be owed before another: a shop that was never seen to take payment before a checkout began
#: does not take it. Looking at things needs nothing; moves on the cart and in the checkout do.
OWED = ("product_added_to_cart", "checkout_started", "payment_info_submitted")
OWING = (
    "product_removed_from_cart",
    "cart_viewed",
    "checkout_started",
    "payment_info_submitted",
    "checkout_completed",
)

#: Optional columns of a click; a shop's events fill some of them and not others.
FIELDS = ("product_id", "category", "price_minor", "quantity", "query")

#: Capabilities as input tokens, in groups: each combination within a group is one token.
FLAG_GROUPS: tuple[tuple[str, ...], ...] = (
    ("page_viewed", "collection_viewed", "search_submitted"),
    ("product_added_to_cart", "product_removed_from_cart", "cart_viewed"),
    ("checkout_started", "payment_info_submitted", "checkout_completed"),
    ("category", "price_minor"),
)

#: What a backend is told that is told nothing of the storefront.
NO_FLAGS = tuple(0 for _ in FLAG_GROUPS)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A merchant's storefront in flags.

    events    names of the events that happen there
    fields    event name -> the columns of ``FIELDS`` that its clicks fill
    requires  event name of ``OWING`` -> events of ``OWED`` that always came before it in a session
    """

    events: frozenset[str]
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    requires: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def fills(self, event: str, column: str) -> bool:
        """Say whether clicks of this event carry this column here."""
        return column in self.fields.get(event, frozenset())

    def flags(self) -> tuple[int, ...]:
        """Return one number per group of ``FLAG_GROUPS``: its members' bits, the first the lowest."""
        viewed = self.fields.get("product_viewed", frozenset())
        return tuple(
            sum(1 << bit for bit, name in enumerate(group) if name in (self.events if name in EVENT_CODES else viewed))
            for group in FLAG_GROUPS
        )
