"""What a shopper's visit reads and writes: the shop, the shopper's habits and memory, and where they stand."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.events import U64

Rows = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Most events of one visit, most products remembered, most lines of a cart.
MAX_EVENTS, MEMORY, LINES = 160, 128, 24

#: A shopper's own factors on their type's habits.
EFFECTS = np.dtype(
    [(name, np.float64) for name in ("tempo", "depth", "search", "again", "carting", "price", "breadth", "checkout")]
)

#: Where a visit stands. ``row`` is the next row of ``out`` to write, ``first_row`` the visit's first; ``place`` the
#: kind of the last event; ``shelf``, ``query`` and ``product`` what was looked at last (-1 for nothing); ``seen`` and
#: ``lines`` count what is in the two memories below; ``moves`` are held against ``patience``.
STANDING = np.dtype(
    [
        ("row", np.int64),
        ("first_row", np.int64),
        ("visit", np.int64),
        ("t_ms", np.int64),
        ("deadline_ms", np.int64),
        ("place", np.int64),
        ("shelf", np.int64),
        ("query", np.int64),
        ("product", np.int64),
        ("seen", np.int64),
        ("lines", np.int64),
        ("attempts", np.int64),
        ("moves", np.float64),
        ("patience", np.float64),
        ("bought", np.bool_),
    ]
)
#: A product remembered, and how much the shopper liked it.
SEEN = np.dtype([("product", np.int64), ("liking", np.float64)])
#: A line of the cart.
LINE = np.dtype([("product", np.int64), ("units", np.int64), ("price_minor", np.int64)])


class Scene(NamedTuple):
    """One visit's surroundings, as compiled code passes them on.

    shop, me   rows of ``world.SHOP`` and ``buyer_types.HABITS``; effect (1,) EFFECTS
    shelves, products, promotions  the world's arrays
    at         (1,) STANDING
    seen, cart (MEMORY,) SEEN and (LINES,) LINE
    state      (1,) uint64, the visit's random state
    out        RAW_EVENT rows to write to
    """

    shop: Rows
    me: Rows
    effect: Rows
    shelves: Rows
    products: Rows
    promotions: Rows
    at: Rows
    seen: Rows
    cart: Rows
    state: U64
    out: Rows
