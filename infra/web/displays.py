"""What each page of the storefront lays out: its own products, related ones, and a few from every department.

Which ones is a function of merchant, page and seed, so that everybody sees the same page at the same address.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from infra.web.catalogue import Assortment, Product

#: Products of a list page, related ones in each band of price, and of every other department.
LISTED, RELATED, EACH_DEPARTMENT = 12, 3, 2
#: Bands of price around a product, as its shoppers read them: cheaper than the first ratio, dearer than the second.
CHEAPER, DEARER = 0.8, 1.25
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Promotion:
    """A reduction on one category, with the banner that tells of it."""

    category: str
    percent: int

    @property
    def banner(self) -> str:
        """What every page says of it."""
        return f"{self.percent} % off {self.category}"

    def price_minor(self, product: Product) -> int:
        """Return a product's price under the promotion, whole minor units."""
        if product.category != self.category:
            return product.price_minor
        return product.price_minor * (_PERCENT - self.percent) // _PERCENT


@dataclass(frozen=True, slots=True)
class Offer:
    """A product on a page. ``was_minor`` is the price before a promotion, 0 when there is none."""

    product: Product
    was_minor: int = 0

    @property
    def price(self) -> str:
        """The price as people read it, "" when the product has none."""
        return _money(self.product.price_minor, self.product.currency)

    @property
    def was(self) -> str:
        """The price before the promotion."""
        return _money(self.was_minor, self.product.currency)

    def label(self, with_price: bool) -> str:
        """Return the name of the product's link, as a screen reader tells it."""
        told = [self.product.title, self.product.category]
        if with_price and self.price:
            told += [self.price, f"was {self.was}"] if self.was_minor else [self.price]
        return " · ".join(part for part in told if part)


@dataclass(frozen=True, slots=True)
class Displays:
    """One merchant's pages. ``promotion`` None for usual prices."""

    merchant: str
    assortment: Assortment
    seed: int = 0
    promotion: Promotion | None = None

    def offer(self, product: Product) -> Offer:
        """Return a product at today's price."""
        price = product.price_minor if self.promotion is None else self.promotion.price_minor(product)
        return Offer(replace(product, price_minor=price), product.price_minor if price != product.price_minor else 0)

    def listed(self, category: str = "", query: str = "") -> list[Offer]:
        """Return the products of a list page, most popular first."""
        return [self.offer(product) for product in self.assortment.select(category, query)[:LISTED]]

    def related(self, product: Product) -> list[Offer]:
        """Return others of a product's category: some cheaper, some alike, some dearer."""
        others = [other for other in self.assortment.select(product.category) if other is not product]
        bands: list[list[Product]] = [[], [], []]
        for other in others:
            ratio = other.price_minor / product.price_minor if product.price_minor else 1.0
            bands[0 if ratio < CHEAPER else 2 if ratio > DEARER else 1].append(other)
        return [self.offer(other) for band in bands for other in self._some(band, RELATED, product.product_id)]

    def departments(self, page: str, but: str = "") -> list[Offer]:
        """Return a cheaper and a dearer product of every category but one."""
        offers = []
        for category in self.assortment.categories:
            if category != but:
                by_price = sorted(self.assortment.select(category), key=lambda product: product.price_minor)
                halves = by_price[: len(by_price) // 2], by_price[len(by_price) // 2 :]
                offers += [
                    self.offer(product) for half in halves for product in self._some(half, EACH_DEPARTMENT // 2, page)
                ]
        return offers

    def _some(self, products: Sequence[Product], count: int, page: str) -> list[Product]:
        """Return ``count`` products, the better ranked more often: each enters with a chance weighed by its rank."""

        def place(product: Product) -> float:
            key = f"{self.seed}:{self.merchant}:{page}:{product.product_id}".encode()
            unit = (int.from_bytes(hashlib.blake2b(key, digest_size=6).digest()) + 1) / 2**48
            # Efraimidis and Spirakis (2006): the largest u^(1/w) are a weighted draw without replacement; w = 1/rank.
            return -float(unit ** (product.rank + 1))

        return sorted(products, key=place)[:count]


def _money(minor: int, currency: str) -> str:
    return f"{minor // _PERCENT}.{minor % _PERCENT:02d} {currency}".strip() if minor else ""
