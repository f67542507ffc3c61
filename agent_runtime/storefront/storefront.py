"""A merchant's shelves, made once and walked by any number of simulated shoppers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent_runtime.draws import F64
from agent_runtime.errors import ShopError
from agent_runtime.storefront.actions import PRICE_HIGHER, PRICE_LOWER, PRICE_RELATIONS
from agent_runtime.storefront.shop import Shop
from schemas.events import I64

Mask = npt.NDArray[np.bool_]

LOWER, SIMILAR, HIGHER = PRICE_RELATIONS


@dataclass(frozen=True, slots=True)
class Shelf:
    """Products of one category by price: places in the shop's list, prices as the decoder reads them, popularity.

    places, prices, weights  (n,) in the same order; ``position`` finds a place on the shelf
    """

    places: I64
    prices: F64
    weights: F64
    position: dict[int, int]

    def price_bounds(self, price_sum: float, prices: int) -> tuple[int, int, int, int]:
        """Return where on the shelf each of ``PRICE_RELATIONS`` to the mean ``price_sum / prices`` begins, and the end.

        Without a price on either side everything is similar, as ``retrace`` has it.
        """
        end = len(self.prices)
        if prices == 0 or not self.prices[-1] > 0.0:
            return (0, 0, end, end)
        ratio = self.prices * prices / price_sum
        return (0, int(ratio.searchsorted(PRICE_LOWER, "left")), int(ratio.searchsorted(PRICE_HIGHER, "right")), end)


class Storefront:
    """What a merchant shows. Raises ShopError when the shop has no products.

    delay_ms  how much longer every page takes than when the simulator learnt its pauses
    """

    def __init__(self, shop: Shop, delay_ms: int = 0) -> None:
        if not shop.products:
            raise ShopError(f"Merchant {shop.merchant_id} has no products to show.")
        self.shop, self.delay_ms = shop, delay_ms
        # Prices travel as float32; comparing what the decoder will see keeps relations exact.
        self.prices = [float(np.float32(product.price_minor or 0)) for product in shop.products]
        by_category: dict[str | None, list[int]] = {}
        for place, product in enumerate(shop.products):
            by_category.setdefault(product.category, []).append(place)
        self.everything = self._shelf(list(range(len(shop.products))))
        self.shelves = {category: self._shelf(places) for category, places in by_category.items()}
        self.categories = tuple(name for name in self.shelves if name is not None)
        self.category_weights = {name: float(self.shelves[name].weights.sum()) for name in self.categories}
        self.queries = tuple(text for text, _ in shop.queries)
        self.query_weights = np.array([count for _, count in shop.queries], np.float64)

    def _shelf(self, places: list[int]) -> Shelf:
        places = sorted(places, key=lambda place: (self.prices[place], place))
        return Shelf(
            np.array(places, np.int64),
            np.array([self.prices[place] for place in places], np.float64),
            np.array([self.shop.products[place].views for place in places], np.float64),
            {place: position for position, place in enumerate(places)},
        )
