"""What a shop sells: products with categories, log-normal prices and Zipf popularity."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from encoders.generator.vocabulary import ADJECTIVES, CATEGORIES, CATEGORY_NAMES, MATERIALS
from schemas.events import I32, I64

#: Size of a shop's assortment: median and spread of a log-normal, and its bounds.
_MEDIAN_PRODUCTS, _SPREAD_PRODUCTS, _FEWEST, _MOST = 220.0, 0.8, 40, 3_000
#: Median price of a shop in minor units, spread of categories and of products within one (all log-normal).
_MEDIAN_PRICE, _SPREAD_SHOP, _SPREAD_CATEGORY, _SPREAD_PRODUCT = 3_500.0, 0.5, 0.5, 0.55

CATALOGUE_SCHEMA = pa.schema(
    [
        ("merchant_id", pa.string()),
        ("product_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("price_minor", pa.int64()),
        ("currency", pa.string()),
        ("rank", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``n`` products of one shop, grouped by category and most popular first within each.

    product_id, title   n strings
    category            (n,) int32, index into ``vocabulary.CATEGORY_NAMES``
    price_minor         (n,) int64
    popularity          (n,) float64, sums to 1 over the shop
    rank                (n,) int32, 1 = the shop's most popular product
    currency            of all prices
    """

    product_id: list[str]
    title: list[str]
    category: I32
    price_minor: I64
    popularity: npt.NDArray[np.float64]
    rank: I32
    currency: str

    def __len__(self) -> int:
        return len(self.product_id)

    def to_table(self, merchant_id: str) -> pa.Table:
        """Return the catalogue as rows of ``CATALOGUE_SCHEMA``."""
        n = len(self)
        names = [CATEGORY_NAMES[c] for c in self.category]
        columns = [[merchant_id] * n, self.product_id, self.title, names]
        return pa.table([*columns, self.price_minor, [self.currency] * n, self.rank], schema=CATALOGUE_SCHEMA)


def build_catalogue(rng: np.random.Generator, shop: str, currency: str) -> Catalogue:
    """Return a shop's catalogue drawn from ``rng``; ``shop`` is a short name that makes product ids unique.

    Popularity follows Zipf's law over the whole shop with an exponent of the shop's own (0.7 to 1.1).
    """
    count = int(np.clip(_MEDIAN_PRODUCTS * np.exp(_SPREAD_PRODUCTS * rng.standard_normal()), _FEWEST, _MOST))
    kinds = rng.choice(len(CATEGORY_NAMES), size=int(rng.integers(3, 9)), replace=False)
    weight = rng.dirichlet(np.full(len(kinds), 2.0))
    # At least one product of every category, so that none is an empty list page.
    category = np.concatenate([kinds, rng.choice(kinds, size=count - len(kinds), p=weight)]).astype(np.int32)
    level = np.log(_MEDIAN_PRICE) + _SPREAD_SHOP * rng.standard_normal()
    level_of = level + _SPREAD_CATEGORY * rng.standard_normal(len(CATEGORY_NAMES))
    price = np.exp(level_of[category] + _SPREAD_PRODUCT * rng.standard_normal(count))
    # Shops price at ..99; a product costs at least 0.99.
    price_minor = np.maximum(np.round(price / 100.0).astype(np.int64), 1) * 100 - 1
    rank = (rng.permutation(count) + 1).astype(np.int32)
    order = np.lexsort((rank, category))
    category, price_minor, rank = category[order], price_minor[order], rank[order]
    popularity = rank.astype(np.float64) ** -rng.uniform(0.7, 1.1)
    words = rng.integers(0, [len(ADJECTIVES), len(MATERIALS), 5], size=(count, 3))
    title = [
        f"{ADJECTIVES[a]} {MATERIALS[m]} {CATEGORIES[CATEGORY_NAMES[c]][n]}"
        for (a, m, n), c in zip(words, category, strict=True)
    ]
    ids = [f"{shop}-{number:05d}" for number in rng.permutation(count)]
    return Catalogue(ids, title, category, price_minor, popularity / popularity.sum(), rank, currency)
