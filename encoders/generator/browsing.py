"""What a shopper does on the pages of a shop before the checkout: open, list, search, look, look again."""

import math

import numba

from encoders.generator import raw_events as raw
from encoders.generator.randomness import normal, uniform
from encoders.generator.scene import LINES, MAX_EVENTS, MEMORY, Scene
from encoders.generator.shelf import discount_at, pick_product, pick_shelf
from encoders.generator.tempo import wait
from encoders.generator.vocabulary import INFO_PAGES, QUERIES_PER_CATEGORY

_INFO_PAGES = len(INFO_PAGES)
#: Log-odds of adding a product: per unit of the shopper's own carting effect (log scale), of liking, of taste for
#: price times the product's standardised price, and per wanted basket already in the cart.
_CARTING_ODDS, _LIKING_ODDS, _PRICE_ODDS, _FULL_ODDS = 2.0, 0.8, 0.5, 1.5
#: Standard deviations of log price that a price cut of one log unit counts as.
_CUT_WEIGHT = 2.0


@numba.njit(cache=True, nogil=True)
def write(scene: Scene, event: int) -> int:
    """Write the visit's next event at its present time, and return its row; the caller fills in what it names."""
    at = scene.at[0]
    row = at["row"]
    raw.put(scene.out, row, at["visit"], row - at["first_row"], at["t_ms"], event)
    at["row"] = row + 1
    at["place"] = event
    return int(row)


@numba.njit(cache=True, nogil=True)
def open_page(scene: Scene) -> None:
    """Open the home page at the start of a visit, some page of information later on."""
    is_first = scene.at[0]["row"] == scene.at[0]["first_row"]
    row = write(scene, raw.PAGE)
    scene.out[row]["page"] = 0 if is_first else 1 + int(uniform(scene.state) * (_INFO_PAGES - 1))


@numba.njit(cache=True, nogil=True)
def open_list(scene: Scene) -> None:
    """Open a list of products, of another category where the shopper's breadth says so."""
    at = scene.at[0]
    wanders = uniform(scene.state) < min(scene.me["breadth"] * scene.effect[0]["breadth"], 1.0)
    if at["row"] > at["first_row"] and wanders:
        at["shelf"] = pick_shelf(scene.shop, scene.shelves, scene.state)
    row = write(scene, raw.LIST)
    scene.out[row]["category"] = scene.shelves[at["shelf"]]["category"]


@numba.njit(cache=True, nogil=True)
def search(scene: Scene) -> None:
    """Search: narrow the last search down, or begin a new one, perhaps for something else."""
    at = scene.at[0]
    is_fresh = at["query"] < 0 or uniform(scene.state) >= scene.me["refine"]
    if is_fresh and at["query"] >= 0 and uniform(scene.state) < scene.me["breadth"]:
        at["shelf"] = pick_shelf(scene.shop, scene.shelves, scene.state)
    base = scene.shelves[at["shelf"]]["category"] * QUERIES_PER_CATEGORY
    within = at["query"] - base
    if is_fresh or within < 0 or within >= QUERIES_PER_CATEGORY:
        # Plain terms come first in a category's list, and are searched for most.
        within = int(uniform(scene.state) * uniform(scene.state) * QUERIES_PER_CATEGORY)
    else:
        within += int(uniform(scene.state) * (QUERIES_PER_CATEGORY - within))
    at["query"] = base + within
    row = write(scene, raw.SEARCH)
    scene.out[row]["query"] = at["query"]


@numba.njit(cache=True, nogil=True)
def look(scene: Scene) -> None:
    """Open a product from the present shelf, and perhaps add it to the cart."""
    at, state = scene.at[0], scene.state
    taste = scene.me["price"] * scene.effect[0]["price"]
    at["product"] = pick_product(
        scene.shelves[at["shelf"]], scene.products, taste, scene.me["fame"], scene.shop["shows_price"],
        scene.shop["disorder"], state,
    )  # fmt: skip
    is_known = False
    for i in range(at["seen"]):
        is_known |= scene.seen[i]["product"] == at["product"]
    liking = normal(state)
    if not is_known and at["seen"] < MEMORY:
        scene.seen[at["seen"]]["product"] = at["product"]
        scene.seen[at["seen"]]["liking"] = liking
        at["seen"] += 1
    _consider(scene, liking, is_known)


@numba.njit(cache=True, nogil=True)
def look_again(scene: Scene) -> None:
    """Go back to a product seen before: the better liked of two recalled ones, not the one being looked at."""
    at = scene.at[0]
    best = -1
    for _ in range(2):
        pick = int(uniform(scene.state) * at["seen"])
        if scene.seen[pick]["product"] == at["product"]:
            pick = (pick + 1) % at["seen"]
        if best < 0 or scene.seen[pick]["liking"] > scene.seen[best]["liking"]:
            best = pick
    at["product"] = scene.seen[best]["product"]
    _consider(scene, scene.seen[best]["liking"], True)


@numba.njit(cache=True, nogil=True)
def _consider(scene: Scene, liking: float, is_known: bool) -> None:
    """View the present product and decide whether to add it: a logit of habit, liking, price and cart."""
    at, me = scene.at[0], scene.me
    product = at["product"]
    goods = scene.products[product]
    at["shelf"] = goods["shelf"]
    cut = discount_at(scene.shop, scene.promotions, goods["category"], at["t_ms"])
    price_minor = math.floor(goods["price_minor"] * (1.0 - cut))
    row = write(scene, raw.VIEW)
    raw.put_product(scene.out, row, product, goods["category"], price_minor, 0)
    if cut > 0.0:
        scene.out[row]["list_price_minor"] = goods["price_minor"]
    odds = me["add"] + _CARTING_ODDS * math.log(scene.effect[0]["carting"]) + _LIKING_ODDS * liking
    if is_known:
        odds += me["add_again"]
    z_price = goods["z_price"] + _CUT_WEIGHT * math.log(1.0 - cut)
    odds += _PRICE_ODDS * me["price"] * scene.effect[0]["price"] * z_price
    if cut > 0.0:
        odds += me["promo"]
    odds -= _FULL_ODDS * at["lines"] / me["basket"]
    odds -= me["to_price"] * scene.shop["price_log"] + me["to_ranking"] * scene.shop["disorder"]
    wants = uniform(scene.state) < 1.0 / (1.0 + math.exp(-odds))
    has_room = at["lines"] < LINES and at["row"] < at["first_row"] + MAX_EVENTS
    if not (wants and has_room and wait(scene)):
        return
    units = 1 + int(-math.log(1.0 - uniform(scene.state)) * me["units"])
    row = write(scene, raw.ADD)
    raw.put_product(scene.out, row, product, goods["category"], price_minor, units)
    line = scene.cart[at["lines"]]
    line["product"] = product
    line["units"] = units
    line["price_minor"] = price_minor
    at["lines"] += 1
