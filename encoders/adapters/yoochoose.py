"""YOOCHOOSE (RecSys Challenge 2015): clicks and buys of anonymous sessions, without a header line.

A session is the only identity, so it stands for the client. The price of a buy is a whole number of unstated unit
and currency; it is taken as minor units, and 0 means unknown.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import count, iso_ms, whole

_CLICK = {
    "client_id": "session",
    "occurred_text": "time",
    "occurred_ms": iso_ms("time"),
    "product_id": "item",
}

ADAPTER = Adapter(
    name="yoochoose",
    about="YOOCHOOSE, RecSys 2015 (yoochoose-clicks.dat, yoochoose-buys.dat)",
    events={"click": "product_viewed", "buy": "checkout_completed"},
    layouts=(
        Layout(
            columns=("session", "time", "item", "category"),
            header=False,
            values=_CLICK | {"raw_event": "'click'", "category": "nullif(category, '0')"},
            required=("product_id",),
        ),
        Layout(
            columns=("session", "time", "item", "price", "quantity"),
            header=False,
            values=_CLICK
            | {
                "raw_event": "'buy'",
                "price_text": "nullif(price, '0')",
                "price_minor": f"nullif({whole('price')}, 0)",
                "quantity_text": "nullif(quantity, '0')",
                "quantity": f"nullif({count('quantity')}, 0)",
                # A session's items bought at one moment are one order.
                "group_key": "time",
            },
            required=("product_id",),
        ),
    ),
)
