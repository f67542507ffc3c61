"""REES46: behaviour in a multi-category (or cosmetics) store, one row per event with times of one second.

Source: kaggle.com/datasets/mkechinov/ecommerce-behavior-data-from-multi-category-store. Prices are in US dollars.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import local_ms, minor_units, properties

ADAPTER = Adapter(
    name="rees46",
    about="REES46 multi-category store (2019-Oct.csv …)",
    events={
        "view": "product_viewed",
        "cart": "product_added_to_cart",
        "remove_from_cart": "product_removed_from_cart",
        "purchase": "checkout_completed",
    },
    layouts=(
        Layout(
            columns=(
                "event_time",
                "event_type",
                "product_id",
                "category_id",
                "category_code",
                "brand",
                "price",
                "user_id",
                "user_session",
            ),
            values={
                "client_id": "userid",
                "raw_event": "eventtype",
                "occurred_text": "eventtime",
                "occurred_ms": local_ms("eventtime", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S"),
                "product_id": "productid",
                "category": "coalesce(categorycode, categoryid)",
                "price_text": "price",
                "price_minor": minor_units("price"),
                "currency": "CASE WHEN price IS NOT NULL THEN 'USD' END",
                "properties": properties({"brand": "brand", "session": "usersession"}),
                # All items that one buyer bought at one moment are one order.
                "group_key": "CASE WHEN eventtype = 'purchase' THEN eventtime END",
            },
            required=("product_id",),
        ),
    ),
)
