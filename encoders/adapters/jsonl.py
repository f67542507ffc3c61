"""JSON lines of one event each, as this product, Segment/RudderStack, GA4's BigQuery export or Shopify's pixel write.

The vocabularies share few keys, so every line is read by all of them at once: the first path that has a value counts,
and a file may mix them. Event names are translated by ``schemas.taxonomy.ALIASES``. Of free-form properties only the
canonical vocabulary's map is kept, since others may hold personal data.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import (
    count,
    device_of_agent,
    iso_ms,
    minor_units,
    path_of_url,
    referrer_kind,
    scaled_ms,
    whole,
)
from schemas.taxonomy import ALIASES, EVENT_CODES

#: Value -> JSON paths, first one with a value first.
_PATHS: dict[str, tuple[str, ...]] = {
    "event_id": ("event_id", "messageId", "id"),
    "merchant": ("merchant_id",),
    "client": ("client_id", "clientId", "anonymousId", "user_pseudo_id", "userId"),
    "kind": ("type",),
    "name": ("event_name", "event", "name"),
    "occurred": ("occurred_at", "timestamp", "originalTimestamp"),
    "occurred_us": ("event_timestamp",),
    "received": ("received_at", "receivedAt"),
    "product": (
        "product_id",
        "properties.product_id",
        "items[0].item_id",
        "data.productVariant.product.id",
        "data.cartLine.merchandise.product.id",
    ),
    "second_product": ("items[1].item_id", "properties.products[1].product_id"),
    "category": (
        "category",
        "properties.category",
        "items[0].item_category",
        "data.productVariant.product.type",
        "data.cartLine.merchandise.product.type",
        "data.collection.title",
    ),
    "minor": ("price_minor",),
    "total": (
        "properties.total",
        "properties.value",
        "properties.revenue",
        "ecommerce.purchase_revenue",
        "data.checkout.totalPrice.amount",
        "data.cart.cost.totalAmount.amount",
    ),
    "price": (
        "price",
        "properties.price",
        "items[0].price",
        "data.productVariant.price.amount",
        "data.cartLine.merchandise.price.amount",
    ),
    "currency": (
        "currency",
        "properties.currency",
        "data.productVariant.price.currencyCode",
        "data.cartLine.merchandise.price.currencyCode",
        "data.checkout.currencyCode",
        "data.cart.cost.totalAmount.currencyCode",
    ),
    "quantity": ("quantity", "properties.quantity", "items[0].quantity", "data.cartLine.quantity"),
    "query": ("query", "properties.query", "data.searchResult.query"),
    "url": ("url_path", "context.page.path", "properties.path", "context.document.location.pathname"),
    "referrer": ("referrer_kind", "traffic_source.medium", "context.campaign.medium"),
    "device": ("device", "device.category", "context.device.type"),
    "agent": ("context.userAgent", "context.navigator.userAgent"),
    "bot": ("is_bot",),
    "properties": ("properties",),
    "parameters": ("event_params",),
}
_ALL = [path for paths in _PATHS.values() for path in paths]
_LIST = ", ".join(f"'$.{path}'" for path in _ALL)


def _value(name: str) -> str:
    """The first of a value's paths that has text; objects are no text (GA4's ``device`` is one)."""
    found = [f"found[{_ALL.index(path) + 1}]" for path in _PATHS[name]]
    if name == "device":
        found = [f"CASE WHEN starts_with({item}, '{{') THEN NULL ELSE {item} END" for item in found]
    return f"nullif(coalesce({', '.join(found)}), '')"


_PARAMETERS = (
    '\'[{"key":"VARCHAR","value":{"string_value":"VARCHAR","int_value":"VARCHAR","double_value":"VARCHAR"}}]\''
)


def _parameter(key: str, kinds: tuple[str, ...] = ("string_value",)) -> str:
    """A parameter of a GA4 event."""
    value = f"list_filter(parameters, lambda entry: entry.key = '{key}')[1].value"
    return f"coalesce({', '.join(f'{value}.{kind}' for kind in kinds)})"


_AMOUNT = ("double_value", "int_value", "string_value")
#: The events whose price is the whole cart's or order's.
_TOTALLED = ("cart_viewed", "checkout_started", "payment_info_submitted", "checkout_completed")
_TOTALLED_NAMES = {alias for names in ALIASES.values() for alias, name in names.items() if name in _TOTALLED} | set(
    _TOTALLED
)
_IS_TOTALLED = f"name IN ({', '.join(repr(name) for name in sorted(_TOTALLED_NAMES))})"

_NAMED = ", ".join(f"{_value(name)} AS {name}" for name in _PATHS if name not in ("parameters", "properties", "name"))
_PARAMETERS_AT = _ALL.index("event_params") + 1
_PROPERTIES_AT = _ALL.index("properties") + 1

ADAPTER = Adapter(
    name="jsonl",
    about="JSON lines in canonical, Segment/RudderStack, GA4 (BigQuery export) or Shopify pixel naming",
    events={name: name for name in EVENT_CODES}
    | {alias: name for names in ALIASES.values() for alias, name in names.items()},
    parts_ties=False,
    layouts=(
        Layout(
            columns=("event_name", "event", "name", "type"),
            delimiter="",
            header=False,
            rows=f"""
                WITH parsed AS (
                    SELECT *, CASE WHEN malformed THEN NULL ELSE json_extract_string(line, [{_LIST}]) END AS found
                    FROM fields),
                named AS (
                    SELECT row, line, malformed, {_NAMED},
                        CASE WHEN found[{_ALL.index("type") + 1}] IN ('page', 'screen') THEN 'page'
                            ELSE coalesce({_value("name")}, found[{_ALL.index("type") + 1}]) END AS name,
                        TRY(from_json(found[{_PARAMETERS_AT}]::JSON, {_PARAMETERS})) AS parameters,
                        CASE WHEN found[{_ALL.index("occurred_at") + 1}] IS NOT NULL
                            THEN TRY(from_json(found[{_PROPERTIES_AT}]::JSON, '"MAP(VARCHAR,VARCHAR)"')) END AS kept
                    FROM parsed),
                amounts AS (
                    SELECT *, {_IS_TOTALLED} AND coalesce(total, {_parameter("value", _AMOUNT)}) IS NOT NULL
                            AS totalled,
                        upper(trim(coalesce(currency, {_parameter("currency")}))) AS money
                    FROM named)
                SELECT *, CASE WHEN totalled THEN coalesce(total, {_parameter("value", _AMOUNT)}) ELSE price END
                    AS amount
                FROM amounts""",
            values={
                "event_id": "event_id",
                "merchant_id": "coalesce(merchant, getvariable('merchant'))",
                "client_id": "client",
                "raw_event": "name",
                "occurred_text": "coalesce(occurred, occurred_us)",
                "occurred_ms": f"coalesce({scaled_ms('occurred', '1')}, {iso_ms('occurred')}, "
                f"{scaled_ms('occurred_us', '0.001')})",
                "received_text": "received",
                "received_ms": f"coalesce({scaled_ms('received', '1')}, {iso_ms('received')})",
                "product_id": "CASE WHEN second_product IS NULL THEN product END",
                "category": "category",
                "price_text": "coalesce(minor, amount)",
                "price_minor": f"CASE WHEN minor IS NOT NULL THEN {whole('minor')} "
                f"ELSE {minor_units('amount', 'money')} END",
                "currency": "money",
                "quantity_text": "CASE WHEN NOT totalled THEN quantity END",
                "quantity": f"CASE WHEN totalled THEN 1 ELSE {count('quantity')} END",
                "query": f"coalesce(query, {_parameter('search_term')})",
                "url_path": f"coalesce({path_of_url('url')}, {path_of_url(_parameter('page_location'))})",
                "referrer_kind": referrer_kind("referrer"),
                "device": f"coalesce(device, {device_of_agent('agent')})",
                "is_bot": "coalesce(TRY_CAST(bot AS BOOLEAN), false)",
                "properties": "coalesce(kept, MAP {})",
            },
        ),
    ),
)
