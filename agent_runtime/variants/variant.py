"""A storefront change to try: a small file, and the storefront that comes of it.

    name: ten percent dearer, shipping free
    price_factor: 1.1          # all prices times this
    free_shipping: true        # put the banner up, or take it down
    ranking: 0.4               # quality of the lists afterwards, 0 at random to 1
    remove_steps: [payment_info_submitted]
    page_delay_s: 0.5          # seconds added to every page (negative: quicker)

Everything but the name may be left out. YAML or JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from agent_runtime.errors import VariantError
from agent_runtime.storefront.capabilities import Capabilities
from agent_runtime.storefront.shop import Shop
from schemas.conditions import ConditionsError

#: Steps that a storefront can do without: shoppers go on to what came after them.
REMOVABLE = (
    "collection_viewed",
    "search_submitted",
    "cart_viewed",
    "product_removed_from_cart",
    "payment_info_submitted",
)
#: Those that shoppers see only when their checkout has begun.
BEHIND_CHECKOUT = frozenset({"payment_info_submitted"})
#: Bounds of the numbers, both included.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "price_factor": (0.2, 5.0),
    "ranking": (0.0, 1.0),
    "page_delay_s": (-10.0, 10.0),
}
_WORDS = {"collection_viewed": "lists", "search_submitted": "search", "payment_info_submitted": "the payment step"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One change, as the file has it; None and the neutral values change nothing."""

    name: str
    price_factor: float = 1.0
    free_shipping: bool | None = None
    ranking: float | None = None
    remove_steps: tuple[str, ...] = ()
    page_delay_s: float = 0.0

    def apply(self, shop: Shop) -> Shop:
        """Return the storefront after the change. Raises VariantError when it changes nothing there or cannot be."""
        before = shop.conditions
        try:
            after = replace(
                before,
                price_level=before.price_level * self.price_factor,
                free_shipping=before.free_shipping if self.free_shipping is None else self.free_shipping,
                ranking=before.ranking if self.ranking is None else self.ranking,
                page_delay_s=before.page_delay_s + self.page_delay_s,
            )
        except ConditionsError as error:
            raise VariantError(f"{self.name}: {shop.merchant_id} would be beyond what can be told: {error}") from error
        missing = [step for step in self.remove_steps if step not in shop.capabilities.events]
        if missing:
            raise VariantError(f"{self.name}: {shop.merchant_id} has no {missing[0]} that could be removed.")
        if after == before and not self.remove_steps:
            raise VariantError(f"{self.name}: changes nothing at {shop.merchant_id}, where all this is so already.")
        products = tuple(
            replace(product, price_minor=product.price_minor and max(1, round(product.price_minor * self.price_factor)))
            for product in shop.products
        )
        capabilities = without(shop.capabilities, self.remove_steps)
        changed = replace(shop, products=products, capabilities=capabilities, conditions=after)
        return reranked(changed, before.ranking) if after.ranking != before.ranking else changed

    def browsed(self, shop: Shop) -> Shop:
        """Return the changed storefront as shoppers know it until their checkout begins. Raises as ``apply``."""
        seen = tuple(step for step in self.remove_steps if step not in BEHIND_CHECKOUT)
        return replace(self.apply(shop), capabilities=without(shop.capabilities, seen))

    @property
    def told(self) -> bool:
        """Whether the change is in what a simulator must have been told of storefronts to know its effect."""
        return (
            self.price_factor != 1.0
            or self.free_shipping is not None
            or self.ranking is not None
            or (self.page_delay_s != 0.0)
        )

    def words(self) -> str:
        """Return the change in a few words."""
        parts = []
        if self.price_factor != 1.0:
            parts.append(f"prices {self.price_factor - 1.0:+.0%}")
        if self.free_shipping is not None:
            parts.append("free-shipping banner" if self.free_shipping else "no free-shipping banner")
        if self.ranking is not None:
            parts.append(f"ranking {self.ranking:g}")
        parts += [f"without {_WORDS.get(step, step.replace('_', ' '))}" for step in self.remove_steps]
        if self.page_delay_s:
            parts.append(f"pages {self.page_delay_s:+g} s")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the variant as a JSON object."""
        return asdict(self) | {"remove_steps": list(self.remove_steps)}


def read_variant(path: Path) -> Variant:
    """Return the variant of a YAML or JSON file. Raises VariantError naming the key and what was expected."""
    try:
        value = yaml.safe_load(path.read_text())
    except OSError as error:
        raise VariantError(f"{path}: no variant there ({error.strerror}); name another file.") from error
    except UnicodeDecodeError as error:
        raise VariantError(f"{path}: no text; write the change as YAML or JSON.") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise VariantError(f"{path}: neither YAML nor JSON ({reason}).") from error
    if not isinstance(value, dict):
        raise VariantError(f"{path}: expected keys and values, like `price_factor: 1.1`.")
    known = [field.name for field in fields(Variant)]
    for key in value:
        if key not in known:
            raise VariantError(f"{path}: {key!r} is not known; known are {', '.join(known)}.")
    return Variant(**{"name": path.stem} | {key: _checked(path, key, given) for key, given in value.items()})


def without(capabilities: Capabilities, steps: tuple[str, ...]) -> Capabilities:
    """Return what a storefront can do without some steps; nothing owes them any more."""
    return Capabilities(
        capabilities.events - set(steps),
        {event: columns for event, columns in capabilities.fields.items() if event not in steps},
        {event: owed - set(steps) for event, owed in capabilities.requires.items() if event not in steps},
    )


def reranked(shop: Shop, before: float) -> Shop:
    """Return the shop with lists of its own quality instead of ``before``: how far clicks follow popularity.

    Observed views come of the lists as they were; a worse ranking spreads them evenly in proportion. A better one
    cannot be seen in them, and leaves them.
    """
    if shop.conditions.ranking >= before:
        return shop
    kept = shop.conditions.ranking / before
    mean = float(np.mean([product.views for product in shop.products]))
    products = (
        replace(product, views=max(1, round(kept * product.views + (1.0 - kept) * mean))) for product in shop.products
    )
    return replace(shop, products=tuple(products))


def _checked(path: Path, key: str, given: object) -> Any:
    if key == "name":
        if isinstance(given, str) and given.strip():
            return given
        raise VariantError(f"{path}: name is {given!r}, expected a few words.")
    if key == "free_shipping":
        if isinstance(given, bool):
            return given
        raise VariantError(f"{path}: free_shipping is {given!r}, expected true or false.")
    if key == "remove_steps":
        steps = [given] if isinstance(given, str) else given
        if isinstance(steps, list) and steps and all(step in REMOVABLE for step in steps):
            return tuple(dict.fromkeys(steps))
        raise VariantError(f"{path}: remove_steps is {given!r}, expected some of {', '.join(REMOVABLE)}.")
    low, high = _BOUNDS[key]
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise VariantError(f"{path}: {key} is {given!r}, expected a number from {low:g} to {high:g}.")
    return float(given)
