"""All shops of a run in flat arrays, as the compiled simulation reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.generator.merchants import Merchant

Rows = npt.NDArray[np.void]

#: One shop: its capabilities, where its categories, products and promotions lie in the arrays below, and its conditions
#: (all zero without any): log price level, free shipping, no payment step, disorder of lists, delay of pages.
SHOP = np.dtype(
    [
        ("first_category", np.int64),
        ("categories", np.int64),
        ("first_product", np.int64),
        ("products", np.int64),
        ("first_promotion", np.int64),
        ("promotions", np.int64),
        ("has_cart", np.bool_),
        ("has_payment", np.bool_),
        ("shows_price", np.bool_),
        ("tempo", np.float64),
        ("depth", np.float64),
        ("price_log", np.float64),
        ("shipping", np.float64),
        ("short", np.float64),
        ("disorder", np.float64),
        ("delay_s", np.float64),
    ]
)
#: One category of one shop; ``cumulative`` is the popularity of the shop's categories summed up to this one.
SHELF = np.dtype(
    [
        ("first_product", np.int64),
        ("products", np.int64),
        ("category", np.int32),
        ("cumulative", np.float64),
    ]
)
#: One product; ``z_price`` is its log price in standard deviations of its category, ``cumulative`` the popularity
#: summed within the category, ``fame`` the centred log of its popularity.
PRODUCT = np.dtype(
    [
        ("price_minor", np.int64),
        ("z_price", np.float64),
        ("cumulative", np.float64),
        ("fame", np.float64),
        ("category", np.int32),
        ("shelf", np.int64),
    ]
)
PROMOTION = np.dtype([("start_ms", np.int64), ("end_ms", np.int64), ("category", np.int32), ("discount", np.float64)])


@dataclass(frozen=True, slots=True)
class World:
    """The shops (M,) ``SHOP`` with their shelves, products and promotions, one shop after another."""

    shops: Rows
    shelves: Rows
    products: Rows
    promotions: Rows


def build_world(merchants: Sequence[Merchant]) -> World:
    """Return the flat arrays of the given shops, in their order."""
    shops = np.zeros(len(merchants), dtype=SHOP)
    shelves: list[Rows] = []
    products: list[Rows] = []
    promotions: list[Rows] = []
    shelf_total = product_total = promotion_total = 0
    for shop, merchant in zip(shops, merchants, strict=True):
        own_products, own_shelves = _stock(merchant, product_total, shelf_total)
        own_promotions = np.array(
            [(p.start_ms, p.end_ms, p.category, p.discount) for p in merchant.promotions], dtype=PROMOTION
        )
        shop["first_category"], shop["categories"] = shelf_total, len(own_shelves)
        shop["first_product"], shop["products"] = product_total, len(own_products)
        shop["first_promotion"], shop["promotions"] = promotion_total, len(own_promotions)
        for name in ("has_cart", "has_payment", "shows_price", "tempo", "depth"):
            shop[name] = getattr(merchant, name)
        told = merchant.conditions
        if told is not None:
            shop["price_log"], shop["shipping"] = np.log(told.price_level), told.free_shipping
            shop["short"], shop["disorder"] = not merchant.has_payment, 1.0 - told.ranking
            shop["delay_s"] = told.page_delay_s
        shelf_total += len(own_shelves)
        product_total += len(own_products)
        promotion_total += len(own_promotions)
        shelves.append(own_shelves)
        products.append(own_products)
        promotions.append(own_promotions)
    return World(shops, np.concatenate(shelves), np.concatenate(products), np.concatenate(promotions))


def _stock(merchant: Merchant, product_base: int, shelf_base: int) -> tuple[Rows, Rows]:
    catalogue = merchant.catalogue
    products = np.zeros(len(catalogue), dtype=PRODUCT)
    level = 1.0 if merchant.conditions is None else merchant.conditions.price_level
    products["price_minor"] = np.maximum(np.round(catalogue.price_minor * level), 1)
    products["category"] = catalogue.category
    log_price, fame = np.log(catalogue.price_minor), np.log(catalogue.popularity)
    kinds, firsts, counts = np.unique(catalogue.category, return_index=True, return_counts=True)
    shelves = np.zeros(len(kinds), dtype=SHELF)
    total = 0.0
    for number, (kind, first, count) in enumerate(zip(kinds, firsts, counts, strict=True)):
        span = slice(first, first + count)
        spread = max(float(log_price[span].std()), 1e-9)
        products["z_price"][span] = (log_price[span] - log_price[span].mean()) / spread
        products["cumulative"][span] = np.cumsum(catalogue.popularity[span])
        products["fame"][span] = fame[span] - fame[span].mean()
        products["shelf"][span] = shelf_base + number
        total += float(catalogue.popularity[span].sum())
        shelves[number] = (product_base + first, count, kind, total)
    return products, shelves
