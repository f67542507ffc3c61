"""One visit of a bot: tireless, even tempo, no hesitation."""

import numba
import numpy as np
import numpy.typing as npt

from encoders.generator import raw_events as raw
from encoders.generator.randomness import uniform
from schemas.events import U64

Rows = npt.NDArray[np.void]

#: Most events of one bot visit; above the session cap of 512, so that the cap is met.
MAX_EVENTS = 700
_FEWEST = 30
#: Log-uniform between the fewest and the most; this exponent makes long visits rare.
_RARITY = 1.7
#: Share of a pause that varies.
_JITTER = 0.15


@numba.njit(cache=True, nogil=True)
def crawl(row: int, visit_index: int, visit: Rows, shop: Rows, products: Rows, out: Rows) -> int:
    """Write one bot visit's events from ``out[row]`` on and return the row after the last.

    Kind -1 opens one product after another, -2 reads a list between products, -3 puts every product into the cart.
    ``out`` must have room for ``MAX_EVENTS`` rows.
    """
    state: U64 = np.empty(1, dtype=np.uint64)
    state[0] = visit["visit_key"]
    length = int(_FEWEST * (MAX_EVENTS / _FEWEST) ** (uniform(state) ** _RARITY))
    pause_ms = 120.0 + 900.0 * uniform(state)
    first, count = shop["first_product"], shop["products"]
    product = first + int(uniform(state) * count)
    t_ms = visit["start_ms"]
    for sequence in range(length):
        goods = products[product]
        if visit["kind"] == -2 and sequence % 8 == 0:
            raw.put(out, row, visit_index, sequence, t_ms, raw.LIST)
            out[row]["category"] = goods["category"]
        elif visit["kind"] == -3 and sequence % 2 == 1:
            raw.put(out, row, visit_index, sequence, t_ms, raw.ADD)
            raw.put_product(out, row, product, goods["category"], goods["price_minor"], 1)
            product = first + (product - first + 1) % count
        else:
            raw.put(out, row, visit_index, sequence, t_ms, raw.VIEW)
            raw.put_product(out, row, product, goods["category"], goods["price_minor"], 0)
            if visit["kind"] != -3:
                product = first + (product - first + 1) % count
        row += 1
        t_ms += max(1, int(pause_ms * (1.0 + _JITTER * (uniform(state) - 0.5))))
    return row
