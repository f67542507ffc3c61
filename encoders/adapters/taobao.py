"""Taobao UserBehavior.csv: page views, carts, favourites and buys with times of one second, without a header line.

Source: tianchi.aliyun.com/dataset/649. A favourite has no counterpart among the canonical
events and is counted as such.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import scaled_ms

ADAPTER = Adapter(
    name="taobao",
    about="Taobao UserBehavior.csv",
    events={"pv": "product_viewed", "cart": "product_added_to_cart", "buy": "checkout_completed", "fav": ""},
    layouts=(
        Layout(
            columns=("user", "item", "category", "behaviour", "time"),
            header=False,
            values={
                "client_id": '"user"',
                "raw_event": "behaviour",
                "occurred_text": "time",
                "occurred_ms": scaled_ms("time", "1000"),
                "product_id": "item",
                "category": "category",
                # All items that one buyer bought in one second are one order.
                "group_key": "CASE WHEN behaviour = 'buy' THEN time END",
            },
            required=("product_id",),
        ),
    ),
)
