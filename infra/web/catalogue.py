"""A merchant's products as the demo storefront shows them, and what its storefront can do.

From the catalogue file beside a generated event log, which has titles, or from shops as observed in traffic, which
have flags: pages and fields that the merchant's own storefront has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from agent_runtime.storefront.capabilities import FIELDS, Capabilities
from infra.errors import CatalogueError
from schemas.taxonomy import EVENT_CODES

if TYPE_CHECKING:
    from agent_runtime.storefront.shop import Shop

_COLUMNS = ["merchant_id", "product_id", "title", "category", "price_minor", "currency", "rank"]
#: A storefront of which nothing else is known has every page, and its clicks every column.
EVERYTHING = Capabilities(frozenset(EVENT_CODES), dict.fromkeys(EVENT_CODES, frozenset(FIELDS)))


@dataclass(frozen=True, slots=True)
class Product:
    """One product; ``rank`` 0 is the most popular, ``price_minor`` is in minor units of ``currency``, 0 for none."""

    product_id: str
    title: str
    category: str
    price_minor: int
    currency: str
    rank: int


@dataclass(frozen=True)
class Assortment:
    """One merchant's products by rank, what people search for there, and what its storefront can do."""

    products: tuple[Product, ...]
    queries: tuple[str, ...] = ()
    capabilities: Capabilities = EVERYTHING

    @cached_property
    def by_id(self) -> Mapping[str, Product]:
        """Products by id."""
        return {product.product_id: product for product in self.products}

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories in alphabetical order."""
        return tuple(sorted({product.category for product in self.products} - {""}))

    def select(self, category: str = "", query: str = "") -> list[Product]:
        """Return products by popularity, all words of ``query`` occurring in title, category or id."""
        words = query.lower().split()
        return [
            product
            for product in self.products
            if (not category or product.category == category)
            and all(word in f"{product.title} {product.category} {product.product_id}".lower() for word in words)
        ]


class Shops:
    """All merchants' assortments."""

    def __init__(self, assortments: Mapping[str, Assortment]) -> None:
        self._shops = dict(assortments)

    @classmethod
    def read(cls, catalogue: Path, storefronts: Path | None = None) -> "Shops":
        """Read a catalogue, and what the merchants' storefronts can do from a simulator's ``shops.jsonl``.

        Raises CatalogueError when a file is missing, not what it should be, or holds no product.
        """
        try:
            table = pq.read_table(catalogue, columns=_COLUMNS)
        except (OSError, ArrowInvalid, KeyError) as error:
            raise CatalogueError(
                f"{catalogue} is no catalogue with the columns {', '.join(_COLUMNS)}; `simpersona generate` writes one."
            ) from error
        if not table.num_rows:
            raise CatalogueError(f"{catalogue} holds no product; `simpersona generate` writes a catalogue.")
        products: dict[str, list[Product]] = {}
        for row in table.sort_by("rank").to_pylist():
            products.setdefault(row.pop("merchant_id"), []).append(Product(**row))
        observed = {} if storefronts is None else _observed(storefronts)
        return cls(
            {
                merchant: Assortment(
                    tuple(rows),
                    tuple(text for text, _ in observed[merchant].queries) if merchant in observed else (),
                    observed[merchant].capabilities if merchant in observed else EVERYTHING,
                )
                for merchant, rows in products.items()
            }
        )

    @classmethod
    def observed(cls, shops: "Iterable[Shop]") -> "Shops":
        """Return the assortments of shops read off their traffic: products have no title but their id."""
        return cls(
            {
                shop.merchant_id: Assortment(
                    tuple(
                        Product(
                            p.product_id, p.product_id, p.category or "", p.price_minor or 0, shop.currency or "", rank
                        )
                        for rank, p in enumerate(shop.products)
                    ),
                    tuple(text for text, _ in shop.queries),
                    shop.capabilities,
                )
                for shop in shops
            }
        )

    def merchants(self) -> list[str]:
        """Return the merchants' ids in order."""
        return sorted(self._shops)

    def of(self, merchant_id: str) -> Assortment | None:
        """Return a merchant's assortment, None if it is unknown."""
        return self._shops.get(merchant_id)


def _observed(path: Path) -> "Mapping[str, Shop]":
    from agent_runtime.storefront.shop import read_shops

    try:
        return read_shops(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogueError(
            f"{path} is no file of storefronts ({error}); name the shops.jsonl in a simulator's folder."
        ) from error
