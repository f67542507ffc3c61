"""Canonical event names (Shopify's snake_case set), their codes, and what each says about the funnel.

A code is the position in the tuple; 0 always means "none" or "unknown", so zeroed memory is valid.
"""

import numpy as np

EVENT_NAMES = (
    "",
    "page_viewed",
    "collection_viewed",
    "search_submitted",
    "product_viewed",
    "product_added_to_cart",
    "product_removed_from_cart",
    "cart_viewed",
    "checkout_started",
    "payment_info_submitted",
    "checkout_completed",
)
EVENT_CODES = {name: code for code, name in enumerate(EVENT_NAMES) if name}

DEVICES = ("unknown", "desktop", "mobile", "tablet")
REFERRERS = ("unknown", "direct", "search", "social", "email", "ads", "other")

#: Funnel strata, coarse to deep: A bounce/browse, B product engagement, C cart, D checkout/purchase.
STRATA = ("A", "B", "C", "D")
#: Stratum index reached by each event code; a session's stratum is the deepest one.
STRATUM_OF_EVENT = np.array([0, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3], dtype=np.uint8)

#: Other vocabularies' names for the canonical events; Shopify's customer events are the canonical names themselves.
ALIASES: dict[str, dict[str, str]] = {
    "segment": {
        "page": "page_viewed",
        "Product List Viewed": "collection_viewed",
        "Products Searched": "search_submitted",
        "Product Viewed": "product_viewed",
        "Product Added": "product_added_to_cart",
        "Product Removed": "product_removed_from_cart",
        "Cart Viewed": "cart_viewed",
        "Checkout Started": "checkout_started",
        "Payment Info Entered": "payment_info_submitted",
        "Order Completed": "checkout_completed",
    },
    "ga4": {
        "page_view": "page_viewed",
        "view_item_list": "collection_viewed",
        "search": "search_submitted",
        "view_item": "product_viewed",
        "add_to_cart": "product_added_to_cart",
        "remove_from_cart": "product_removed_from_cart",
        "view_cart": "cart_viewed",
        "begin_checkout": "checkout_started",
        "add_payment_info": "payment_info_submitted",
        "purchase": "checkout_completed",
    },
    "shopify": {name: name for name in EVENT_CODES},
}
