"""Numbers of the compiled storefront: relations, events and columns that ``storefront.visit`` knows by name."""

from agent_runtime.storefront.capabilities import FIELDS
from schemas.taxonomy import EVENT_CODES

NEW_ITEM, SAME_ITEM, RETURN_ITEM = 0, 1, 2  # of ITEMS
IN_SAME, IN_NEW, IN_RETURN = 0, 1, 2  # of CATEGORY_RELATIONS
SIMILAR = 1  # of PRICE_RELATIONS

COLLECTION = EVENT_CODES["collection_viewed"]
SEARCH = EVENT_CODES["search_submitted"]
VIEWED = EVENT_CODES["product_viewed"]
ADDED = EVENT_CODES["product_added_to_cart"]
REMOVED = EVENT_CODES["product_removed_from_cart"]
CART = EVENT_CODES["cart_viewed"]
BOUGHT = EVENT_CODES["checkout_completed"]
F_PRODUCT, F_CATEGORY, F_PRICE, F_QUANTITY, F_QUERY = (FIELDS.index(name) for name in FIELDS)
