"""How a shopper picks: a category, a product on a shelf, and what it costs today."""

import math

import numba
import numpy as np
import numpy.typing as npt

from encoders.generator.randomness import uniform
from schemas.events import U64

Rows = npt.NDArray[np.void]

#: Products a shopper looks at on a list before opening one.
_GLANCED = 6
#: How far list prices count when the list does not show them (titles and pictures still hint at them).
_HINT = 0.35
#: Spread of a shopper's unexplained liking of a product on a list (scale of the Gumbel noise).
_WHIM = 0.8


@numba.njit(cache=True, nogil=True)
def pick_shelf(shop: Rows, shelves: Rows, state: U64) -> int:
    """Return a shelf of the shop, the popular ones more often."""
    first, count = shop["first_category"], shop["categories"]
    target = uniform(state) * shelves[first + count - 1]["cumulative"]
    for shelf in range(first, first + count):
        if target < shelves[shelf]["cumulative"]:
            return int(shelf)
    return int(first + count - 1)


@numba.njit(cache=True, nogil=True)
def pick_product(
    shelf: Rows, products: Rows, price: float, fame: float, shows_price: bool, disorder: float, state: U64
) -> int:
    """Return the product that a shopper opens from a shelf.

    They glance at a few products drawn by popularity and open the one of highest utility: taste for price times the
    standardised log price, taste for fame times the centred log popularity, plus Gumbel noise (a multinomial logit
    over the glanced ones; McFadden 1974). ``disorder`` in [0, 1] is the share of glances without its guidance.
    """
    first, count = shelf["first_product"], shelf["products"]
    total = products[first + count - 1]["cumulative"]
    weight = price if shows_price else _HINT * price
    best, best_utility = first, -math.inf
    for _ in range(_GLANCED):
        target = uniform(state) * total
        low, high = first, first + count - 1
        while low < high:
            middle = (low + high) // 2
            evenly = total * (middle - first + 1) / shelf["products"]
            if (1.0 - disorder) * products[middle]["cumulative"] + disorder * evenly <= target:
                low = middle + 1
            else:
                high = middle
        whim = -math.log(-math.log(1e-12 + (1.0 - 2e-12) * uniform(state)))
        utility = weight * products[low]["z_price"] + 0.3 * (fame - 0.6) * products[low]["fame"] + _WHIM * whim
        if utility > best_utility:
            best, best_utility = low, utility
    return int(best)


@numba.njit(cache=True, nogil=True)
def discount_at(shop: Rows, promotions: Rows, category: int, t_ms: int) -> float:
    """Return the price cut that a promotion gives on a category at a time, 0 when none runs."""
    for row in range(shop["first_promotion"], shop["first_promotion"] + shop["promotions"]):
        promotion = promotions[row]
        if promotion["category"] == category and promotion["start_ms"] <= t_ms < promotion["end_ms"]:
            return float(promotion["discount"])
    return 0.0
