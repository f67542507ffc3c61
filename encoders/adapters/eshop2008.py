"""E-shop clothing 2008 (UCI 553): clicks on products, with the day and the click's number in its session but no clock.

Times are made: a session starts at a moment of its day fixed by its id (even over the first twenty hours) and its
clicks follow each other every twenty seconds, in order. Tempo and hour of day therefore carry no information.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import literal, local_ms, minor_units, properties, spread_ms, whole

#: Sessions start early enough that even long ones end on their day.
_START_RANGE_MS = 20 * 3_600_000
_CLICK_MS = 20_000
_CATEGORIES = {"1": "trousers", "2": "skirts", "3": "blouses", "4": "sale"}
_CATEGORY_CASES = " ".join(f"WHEN {literal(code)} THEN {literal(name)}" for code, name in _CATEGORIES.items())

#: The click's number in its session, from 1.
_PLACE = whole('"order"')

ADAPTER = Adapter(
    name="eshop2008",
    about="E-shop clothing 2008, UCI 553 (e-shop clothing 2008.csv)",
    events={"click": "product_viewed"},
    layouts=(
        Layout(
            columns=(
                "year",
                "month",
                "day",
                "order",
                "country",
                "session ID",
                "page 1 (main category)",
                "page 2 (clothing model)",
                "price",
                "page",
            ),
            delimiter=";",
            values={
                "client_id": "sessionid",
                "raw_event": "'click'",
                "occurred_text": 'year || month || day || "order"',
                "occurred_ms": local_ms("year || '-' || month || '-' || day", "%Y-%m-%d")
                + f" + {spread_ms('sessionid', _START_RANGE_MS)} + ({_PLACE} - 1) * {_CLICK_MS}",
                "product_id": "page2clothingmodel",
                "category": f"CASE page1maincategory {_CATEGORY_CASES} ELSE page1maincategory END",
                "price_text": "price",
                "price_minor": minor_units("price"),
                "currency": "CASE WHEN price IS NOT NULL THEN 'USD' END",
                "properties": properties({"country": "country", "page": "page"}),
            },
            required=("product_id",),
        ),
    ),
)
