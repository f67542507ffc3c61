"""Simulated events before they get names and ids: what the compiled simulation writes."""

import numba
import numpy as np
import numpy.typing as npt

from schemas.taxonomy import EVENT_CODES

#: One event. ``visit`` is a row of the run's visits, ``sequence`` its place in the visit; ``product``, ``category``
#: and ``query`` are -1 when absent, ``price_minor`` too; ``page`` is an index into ``vocabulary.INFO_PAGES``;
#: ``list_price_minor`` is set (else -1) while a promotion cuts the price.
RAW_EVENT = np.dtype(
    [
        ("t_ms", np.int64),
        ("price_minor", np.int64),
        ("list_price_minor", np.int64),
        ("visit", np.int32),
        ("product", np.int32),
        ("query", np.int32),
        ("quantity", np.int32),
        ("sequence", np.int16),
        ("category", np.int16),
        ("event", np.uint8),
        ("page", np.uint8),
    ]
)
RawEvents = npt.NDArray[np.void]

PAGE = EVENT_CODES["page_viewed"]
LIST = EVENT_CODES["collection_viewed"]
SEARCH = EVENT_CODES["search_submitted"]
VIEW = EVENT_CODES["product_viewed"]
ADD = EVENT_CODES["product_added_to_cart"]
REMOVE = EVENT_CODES["product_removed_from_cart"]
CART = EVENT_CODES["cart_viewed"]
CHECKOUT = EVENT_CODES["checkout_started"]
PAYMENT = EVENT_CODES["payment_info_submitted"]
COMPLETED = EVENT_CODES["checkout_completed"]


@numba.njit(cache=True, nogil=True)
def put(out: RawEvents, row: int, visit: int, sequence: int, t_ms: int, event: int) -> None:
    """Write an event that names nothing: product, category, query and price absent."""
    out[row]["t_ms"] = t_ms
    out[row]["visit"] = visit
    out[row]["sequence"] = sequence
    out[row]["event"] = event
    out[row]["product"] = -1
    out[row]["category"] = -1
    out[row]["query"] = -1
    out[row]["price_minor"] = -1
    out[row]["list_price_minor"] = -1
    out[row]["quantity"] = 0
    out[row]["page"] = 0


@numba.njit(cache=True, nogil=True)
def put_product(out: RawEvents, row: int, product: int, category: int, price_minor: int, quantity: int) -> None:
    """Name the product of the event written last, with its unit price and number of units."""
    out[row]["product"] = product
    out[row]["category"] = category
    out[row]["price_minor"] = price_minor
    out[row]["quantity"] = quantity
