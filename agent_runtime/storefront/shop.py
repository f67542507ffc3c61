"""A merchant as its own traffic shows it: products, prices, categories, queries, and what the storefront can do.

Read from the canonical event log in one SQL pass per question (DuckDB streams the Parquet files and spills to disk),
so that a log of any size fits. Nothing but observed clicks is needed: no feed, no account at the shop.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from agent_runtime.errors import ShopError
from agent_runtime.storefront.capabilities import FIELDS, OWED, OWING, Capabilities
from encoders.event_log import read_batches
from schemas.conditions import NOTHING_TOLD, Conditions
from schemas.taxonomy import EVENT_CODES

#: Most viewed products and most used queries kept of a shop: the tail is hardly ever drawn.
PRODUCTS_KEPT, QUERIES_KEPT = 2_000, 500
#: Quantities above one are kept as so many quantiles of those put into carts; the largest fits a click's two bytes.
QUANTILES, LARGEST_QUANTITY = 100, 9_999
#: What is bought of a product by who wants several, where a shop's clicks do not say.
USUAL_QUANTITIES = (2, 2, 2, 3, 4)
#: A column is part of an event's clicks when at least this share of them fills it.
FILLED_SHARE = 0.5
#: One event is owed before another when it came first in at least this share of the sessions.
OWED_SHARE = 0.98
#: An event that makes up less of the clicks than this is noise (a mistagged page), not something a shop offers.
RARE_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Product:
    """One product as seen in the clicks: median price in minor units (None when never priced), views as popularity."""

    product_id: str
    category: str | None
    price_minor: int | None
    views: int


@dataclass(frozen=True, slots=True)
class Shop:
    """What simulated shoppers walk through. Products by views, most first; queries with their counts likewise.

    ``conditions`` are told, not observed; without any they are the defaults. ``quantities`` are those above one that
    were put into carts, rising, each as likely.
    """

    merchant_id: str
    currency: str | None
    products: tuple[Product, ...]
    queries: tuple[tuple[str, int], ...]
    capabilities: Capabilities
    conditions: Conditions = NOTHING_TOLD
    quantities: tuple[int, ...] = USUAL_QUANTITIES

    def to_json(self) -> dict[str, Any]:
        """Return the shop as a JSON object; ``from_json`` takes it back unchanged."""
        return {
            "merchant_id": self.merchant_id,
            "currency": self.currency,
            "events": sorted(self.capabilities.events),
            "fields": {event: sorted(columns) for event, columns in sorted(self.capabilities.fields.items())},
            "requires": {event: sorted(owed) for event, owed in sorted(self.capabilities.requires.items())},
            "queries": [list(query) for query in self.queries],
            "products": [[p.product_id, p.category, p.price_minor, p.views] for p in self.products],
            "quantities": list(self.quantities),
            **({} if self.conditions == NOTHING_TOLD else {"conditions": self.conditions.to_json()}),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Shop":
        """Return the shop of ``to_json``."""
        return Shop(
            value["merchant_id"],
            value["currency"],
            tuple(Product(*product) for product in value["products"]),
            tuple((text, count) for text, count in value["queries"]),
            Capabilities(
                frozenset(value["events"]),
                {event: frozenset(columns) for event, columns in value["fields"].items()},
                {event: frozenset(owed) for event, owed in value["requires"].items()},
            ),
            Conditions.from_json(value.get("conditions", {})),
            tuple(value.get("quantities", USUAL_QUANTITIES)),
        )


def write_shops(path: Path, shops: Sequence[Shop]) -> None:
    """Write shops as JSON lines, one a shop."""
    path.write_text("".join(json.dumps(shop.to_json(), separators=(",", ":")) + "\n" for shop in shops))


def read_shops(path: Path) -> dict[str, Shop]:
    """Return the shops of ``write_shops`` by merchant id."""
    shops = (Shop.from_json(json.loads(line)) for line in path.read_text().splitlines())
    return {shop.merchant_id: shop for shop in shops}


def under_conditions(shops: Sequence[Shop], told: Mapping[str, Conditions]) -> list[Shop]:
    """Return the shops with what was told of them. Raises ShopError when nothing was told of one."""
    missing = [shop.merchant_id for shop in shops if shop.merchant_id not in told]
    if missing:
        raise ShopError(f"The storefront conditions say nothing of {', '.join(missing[:5])}; add a line for each.")
    return [replace(shop, conditions=told[shop.merchant_id]) for shop in shops]


def observe_shops(events: Sequence[Path], gap_ms: int, merchant: str | None = None) -> list[Shop]:
    """Return the shops seen in event logs (only ``merchant`` when given), ordered by merchant id.

    Clicks marked as a bot's are left out. Raises EventLogError on a bad log; ShopError when the merchant is not in
    it, or when nobody ever looked at a product.
    """
    read_batches(events, columns=["event_id"])  # checks files and columns before SQL meets them
    with duckdb.connect() as store:
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in events)
        where = "NOT is_bot" + (" AND merchant_id = $merchant" if merchant is not None else "")
        clicks = f"(SELECT * FROM read_parquet([{names}]) WHERE {where})"

        def ask(sql: str, **values: object) -> list[tuple[Any, ...]]:
            wanted = {**values, **({"merchant": merchant} if merchant is not None else {})}
            rows: list[tuple[Any, ...]] = store.execute(sql.format(clicks=clicks), wanted).fetchall()
            return rows

        products, currencies = _products(ask(_PRODUCTS, kept=PRODUCTS_KEPT))
        queries: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for merchant_id, query, count in ask(_QUERIES, kept=QUERIES_KEPT):
            queries[merchant_id].append((query, int(count)))
        quantities = {merchant_id: tuple(map(int, some)) for merchant_id, some in ask(_QUANTITIES)}
        events_seen = ask(_EVENTS, gap_ms=gap_ms)
        if merchant is not None and not events_seen:
            known = [row[0] for row in store.execute(_MERCHANTS.format(names=names)).fetchall()]
            raise ShopError(f"Merchant {merchant} is not in the event log; it knows {', '.join(known)}.")
    shops = [
        Shop(
            merchant_id,
            currencies.get(merchant_id),
            _whole(products[merchant_id], capabilities),
            tuple(queries[merchant_id]),
            capabilities,
            quantities=quantities.get(merchant_id, USUAL_QUANTITIES),
        )
        for merchant_id, capabilities in sorted(_capabilities(events_seen).items())
        if merchant_id in products
    ]
    if not shops:
        raise ShopError("The event log holds no product views, so no storefront can be made of it.")
    return shops


def _products(rows: list[tuple[Any, ...]]) -> tuple[dict[str, list[Product]], dict[str, str]]:
    products: dict[str, list[Product]] = defaultdict(list)
    currencies: dict[str, str] = {}
    for merchant_id, product_id, category, price, currency, views in rows:
        products[merchant_id].append(
            Product(product_id, category or None, None if price is None else round(price), int(views))
        )
        if currency:
            currencies.setdefault(merchant_id, currency)
    return products, currencies


def _whole(products: list[Product], capabilities: Capabilities) -> tuple[Product, ...]:
    """Leave out products without a category or a price where the shop's product pages carry them."""
    if capabilities.fills("product_viewed", "category"):
        products = [product for product in products if product.category is not None] or products
    if capabilities.fills("product_viewed", "price_minor"):
        products = [product for product in products if product.price_minor] or products
    return tuple(products)


def _capabilities(rows: list[tuple[Any, ...]]) -> dict[str, Capabilities]:
    by_merchant: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        if row[1] in EVENT_CODES:
            by_merchant[row[0]].append(row[1:])
    found = {}
    for merchant_id, events in by_merchant.items():
        total = sum(event[1] for event in events)
        offered = [event for event in events if event[1] >= total * RARE_SHARE]
        names = frozenset(event[0] for event in offered)
        fields, requires = {}, {}
        for name, _, *shares in offered:
            filled, owed = shares[: len(FIELDS)], shares[len(FIELDS) :]
            fields[name] = frozenset(c for c, share in zip(FIELDS, filled, strict=True) if share >= FILLED_SHARE)
            if name in OWING:
                before = zip(OWED, owed, strict=True)
                requires[name] = frozenset(o for o, share in before if share >= OWED_SHARE and o in names)
        found[merchant_id] = Capabilities(names, fields, requires)
    return found


_MERCHANTS = "SELECT DISTINCT merchant_id FROM read_parquet([{names}]) ORDER BY 1 LIMIT 20"

# The largest category of a product wins; ties and order go by text, so that the same log gives the same shop.
_PRODUCTS = """
SELECT merchant_id, product_id, max(category),
       coalesce(median(price_minor) FILTER (event_name = 'product_viewed' AND price_minor > 0),
                median(price_minor) FILTER (price_minor > 0)),
       max(currency),
       count(*) AS views
FROM {clicks}
WHERE product_id <> '' AND event_name IN ('product_viewed', 'product_added_to_cart')
GROUP BY merchant_id, product_id
QUALIFY row_number() OVER (PARTITION BY merchant_id ORDER BY views DESC, product_id) <= $kept
ORDER BY merchant_id, views DESC, product_id
"""

_QUERIES = """
SELECT merchant_id, query, count(*) AS asked
FROM {clicks}
WHERE query <> '' AND event_name = 'search_submitted'
GROUP BY merchant_id, query
QUALIFY row_number() OVER (PARTITION BY merchant_id ORDER BY asked DESC, query) <= $kept
ORDER BY merchant_id, asked DESC, query
"""

_QUANTITIES = f"""
SELECT merchant_id,
       quantile_disc(least(quantity, {LARGEST_QUANTITY}), {[(place + 0.5) / QUANTILES for place in range(QUANTILES)]})
FROM {{clicks}}
WHERE event_name = 'product_added_to_cart' AND quantity > 1
GROUP BY merchant_id
"""

_EVENTS = f"""
WITH timed AS (
    SELECT *, epoch_ms(least(occurred_at, received_at)) AS t FROM {{clicks}}
), paused AS (
    SELECT *, coalesce(t - lag(t) OVER (PARTITION BY merchant_id, client_id ORDER BY t, event_id) > $gap_ms, false)
        AS starts FROM timed
), cut AS (
    SELECT *, sum(starts::INT) OVER (PARTITION BY merchant_id, client_id ORDER BY t, event_id) AS visit FROM paused
), placed AS (
    SELECT *, {
    ", ".join(
        f"coalesce(max((event_name = '{name}')::INT) OVER before, 0) AS owed_{place}" for place, name in enumerate(OWED)
    )
}
    FROM cut
    WINDOW before AS (PARTITION BY merchant_id, client_id, visit ORDER BY t, event_id
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT merchant_id, event_name, count(*), {", ".join(f"count({name}) / count(*)" for name in FIELDS)},
       {", ".join(f"avg(owed_{place})" for place in range(len(OWED)))}
FROM placed GROUP BY merchant_id, event_name ORDER BY merchant_id, event_name
"""
