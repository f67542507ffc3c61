"""A storefront and its shoppers as arrays: what the compiled walk reads, and what it writes.

``agent_runtime.storefront.visit`` is one shopper in plain Python; here are thousands, each a record of a structured
array.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agent_runtime.storefront.actions import ACTIONS, CATEGORY_RELATIONS, NEW, PRICE_RELATIONS, RETURN, SAME
from agent_runtime.storefront.capabilities import FIELDS
from agent_runtime.storefront.storefront import Shelf, Storefront
from agent_runtime.vocabulary import MAX_EVENTS
from schemas.events import I32, I64
from schemas.taxonomy import EVENT_CODES, EVENT_NAMES

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
#: Records of ``VISIT`` and of ``CLICK``.
Visits = npt.NDArray[np.void]
Clicks = npt.NDArray[np.void]
#: One of them: its fields are read and written by name, which only compiled code can.
Record = Any

#: No product, category or query.
NONE = -1
#: Relations of an action's item and category; NONE where it has none.
ITEMS = (NEW, SAME, RETURN)

#: One shopper so far. ``seen``, ``known``, ``cart`` are lists of products, categories, products with ``counts``.
VISIT = np.dtype(
    [
        ("agent", "i8"),
        ("step", "i8"),
        ("t", "i8"),
        ("price_sum", "f8"),
        ("masked", "f8"),
        ("prices", "i4"),
        ("decisions", "i4"),
        ("last", "i4"),
        ("category", "i4"),
        ("query", "i4"),
        ("done", "i4"),
        ("seen_size", "i4"),
        ("known_size", "i4"),
        ("cart_size", "i4"),
        ("seen", "i4", (MAX_EVENTS,)),
        ("known", "i4", (MAX_EVENTS,)),
        ("cart", "i4", (MAX_EVENTS,)),
        ("counts", "i4", (MAX_EVENTS,)),
    ],
    align=True,
)

#: One click: places in ``ACTIONS``, in the shop's products and queries, in the storefront's categories; 0 is no price.
CLICK = np.dtype(
    [
        ("t", "i8"),
        ("price", "i8"),
        ("product", "i4"),
        ("category", "i4"),
        ("query", "i4"),
        ("quantity", "i2"),
        ("action", "u1"),
    ],
    align=True,
)


class Tables(NamedTuple):
    """A storefront. ``P`` products, ``C`` categories, ``E`` events, ``F`` columns of ``FIELDS``.

    prices, units    (P,) as the decoder reads them, in minor units; shelf_of (P,) index of the product's own shelf
    places           all shelves one after another, each by price: shelf ``s`` is ``starts[s]:starts[s + 1]``; the
                     last one holds everything, and the one before it what has no category
    quantities       (Q,) of those who put several of a product into the cart, each as likely
    fills            (E, F); served (E,); owed (E,) bits of the events owed before; needs_cart (E,)
    """

    prices: F64
    units: I64
    shelf_of: I32
    places: I32
    shelf_prices: F64
    weights: F64
    starts: I64
    category_weights: F64
    query_weights: F64
    quantities: I64
    fills: Bools
    served: Bools
    owed: I64
    needs_cart: Bools


def tables_of(storefront: Storefront) -> Tables:
    """Return a storefront as arrays."""
    shop, codes = storefront.shop, range(len(EVENT_NAMES))
    index = {name: place for place, name in enumerate(storefront.categories)}
    nowhere = len(index)
    nothing = Shelf(np.empty(0, np.int64), np.empty(0), np.empty(0), {})
    shelves = [storefront.shelves[name] for name in storefront.categories]
    shelves += [storefront.shelves.get(None, nothing), storefront.everything]
    capabilities = shop.capabilities
    requires = [capabilities.requires.get(EVENT_NAMES[code], frozenset()) for code in codes]
    return Tables(
        prices=np.array(storefront.prices),
        units=np.array([product.price_minor or 0 for product in shop.products], np.int64),
        shelf_of=np.array([nowhere if p.category is None else index[p.category] for p in shop.products], np.int32),
        places=np.concatenate([shelf.places for shelf in shelves]).astype(np.int32),
        shelf_prices=np.concatenate([shelf.prices for shelf in shelves]),
        weights=np.concatenate([shelf.weights for shelf in shelves]),
        starts=np.concatenate([[0], np.cumsum([len(shelf.places) for shelf in shelves])]).astype(np.int64),
        category_weights=np.array([storefront.category_weights[name] for name in storefront.categories], np.float64),
        query_weights=storefront.query_weights,
        quantities=np.array(shop.quantities, np.int64),
        fills=np.array([[capabilities.fills(EVENT_NAMES[code], column) for column in FIELDS] for code in codes]),
        served=np.array([EVENT_NAMES[code] in capabilities.events for code in codes]),
        owed=np.array([sum(1 << EVENT_CODES[name] for name in owed) for owed in requires], np.int64),
        needs_cart=np.array(
            [
                "product_added_to_cart" in owed and name != "cart_viewed"
                for name, owed in zip(EVENT_NAMES, requires, strict=True)
            ]
        ),
    )


def new_visits(agents: I64) -> Visits:
    """Return shoppers who have not begun, one for each of ``agents`` (n,)."""
    visits = np.zeros(len(agents), VISIT)
    visits["agent"] = agents
    for name in ("last", "category", "query"):
        visits[name] = NONE
    return visits


def _codes(names: tuple[str, ...], of: str) -> npt.NDArray[np.int8]:
    values = [getattr(action, of) for action in ACTIONS]
    return np.array([names.index(value) if value else NONE for value in values], np.int8)


#: What each of ``ACTIONS`` is, (A,).
ACTION_EVENT = np.array([action.event_code for action in ACTIONS], np.int64)
ACTION_ITEM = _codes(ITEMS, "item")
ACTION_CATEGORY = _codes(CATEGORY_RELATIONS, "category")
ACTION_PRICE = _codes(PRICE_RELATIONS, "price")
ACTION_MANY = np.array([action.quantity == "many" for action in ACTIONS])
