"""A merchant's products as the demo storefront shows them, from the catalogue file beside a generated event log."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from infra.errors import CatalogueError

_COLUMNS = ["merchant_id", "product_id", "title", "category", "price_minor", "currency", "rank"]


@dataclass(frozen=True, slots=True)
class Product:
    """One product; ``rank`` 0 is the most popular, ``price_minor`` is in minor units of ``currency``."""

    product_id: str
    title: str
    category: str
    price_minor: int
    currency: str
    rank: int

    @property
    def price(self) -> str:
        """The price as people read it."""
        return f"{self.price_minor / 100:.2f} {self.currency}"


class Shops:
    """All merchants' catalogues, by merchant and by rank."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises CatalogueError when it is missing or not a catalogue."""
        try:
            table = pq.read_table(path, columns=_COLUMNS)
        except (OSError, ArrowInvalid, KeyError) as error:
            raise CatalogueError(
                f"{path} is no catalogue with the columns {', '.join(_COLUMNS)}; `simpersona generate` writes one."
            ) from error
        self._shops: dict[str, list[Product]] = {}
        for row in table.sort_by("rank").to_pylist():
            self._shops.setdefault(row.pop("merchant_id"), []).append(Product(**row))

    def merchants(self) -> list[str]:
        """Return the merchants' ids in order."""
        return sorted(self._shops)

    def products(self, merchant_id: str, category: str = "", query: str = "") -> list[Product]:
        """Return products by popularity, all words of ``query`` occurring in title or category. Empty if unknown."""
        words = query.lower().split()
        return [
            product
            for product in self._shops.get(merchant_id, [])
            if (not category or product.category == category)
            and all(word in f"{product.title} {product.category}".lower() for word in words)
        ]

    def product(self, merchant_id: str, product_id: str) -> Product | None:
        """Return one product, None if the merchant does not sell it."""
        return next((p for p in self._shops.get(merchant_id, []) if p.product_id == product_id), None)

    def categories(self, merchant_id: str) -> list[str]:
        """Return the merchant's categories in alphabetical order."""
        return sorted({product.category for product in self._shops.get(merchant_id, [])})
