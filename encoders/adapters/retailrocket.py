"""RetailRocket: views, carts and transactions with times of one millisecond, no prices (events.csv).

Source: kaggle.com/datasets/retailrocket/ecommerce-dataset.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import scaled_ms

ADAPTER = Adapter(
    name="retailrocket",
    about="RetailRocket (events.csv)",
    events={
        "view": "product_viewed",
        "addtocart": "product_added_to_cart",
        "transaction": "checkout_completed",
    },
    layouts=(
        Layout(
            columns=("timestamp", "visitorid", "event", "itemid", "transactionid"),
            values={
                "client_id": "visitorid",
                "raw_event": "event",
                "occurred_text": '"timestamp"',
                "occurred_ms": scaled_ms('"timestamp"', "1"),
                "product_id": "itemid",
                # One transaction, however many items, is one order.
                "group_key": "CASE WHEN event = 'transaction' THEN coalesce(transactionid, \"timestamp\") END",
            },
            required=("product_id",),
        ),
    ),
)
