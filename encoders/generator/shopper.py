"""One visit of a shopper: a semi-Markov walk over pages with memory of products seen, a cart and limited patience.

Nothing here knows the encoder: a shopper has habits (``buyer_types``), effects of their own that last over visits, a
mood of the day, and reacts to the shop's prices, promotions and missing pages.
"""

import math

import numba
import numpy as np

from encoders.generator import raw_events as raw
from encoders.generator.browsing import look, look_again, open_list, open_page, search
from encoders.generator.cart import check_out, open_cart, take_out
from encoders.generator.randomness import gamma, normal, uniform
from encoders.generator.scene import EFFECTS, LINE, LINES, MAX_EVENTS, MEMORY, SEEN, STANDING, Rows, Scene
from encoders.generator.shelf import pick_shelf
from encoders.generator.tempo import wait

#: Standard deviations of a buyer's lasting effects and of a day's mood, on the log scale of habits.
BUYER_SPREAD, MOOD_SPREAD = 0.12, 0.1
#: Share of visits on which a shopper behaves like anybody.
OFF_DAY = 0.015
#: Shape of the gamma distribution of patience: from visit to visit it varies by about 1 / sqrt(shape).
_PATIENCE_SHAPE = 6
#: Moves that everybody makes who does not leave at once, and those that a failed checkout gives back.
_LEAST_PATIENCE, _SECOND_WIND = 2.0, 2.0
#: Times a shopper tries to check out, and the chance to give up after each.
_ATTEMPTS, _GIVE_UP = 3, 0.5

#: Moves of a shopper.
_MOVES = 8
_PAGE, _LIST, _SEARCH, _LOOK, _LOOK_AGAIN, _CART, _TAKE_OUT, _CHECK_OUT = range(_MOVES)


@numba.njit(cache=True, nogil=True)
def walk(
    row: int,
    visit_index: int,
    visit: Rows,
    shop: Rows,
    shelves: Rows,
    products: Rows,
    promotions: Rows,
    habits: Rows,
    out: Rows,
) -> tuple[int, bool]:
    """Write one visit's events from ``out[row]`` on; return the row after the last and whether the visit bought.

    ``out`` must have room for ``scene.MAX_EVENTS + 1`` rows. The walk draws from the buyer's and the visit's own keys
    alone: the same visit is the same wherever and whenever it is simulated.
    """
    effect = np.empty(1, dtype=EFFECTS)
    state = np.empty(1, dtype=np.uint64)
    _draw_effects(visit, effect[0], state)
    is_off_day = uniform(state) < OFF_DAY
    me = habits[len(habits) - 1 if is_off_day else visit["kind"]]
    scene = Scene(
        shop, me, effect, shelves, products, promotions, np.zeros(1, dtype=STANDING), np.empty(MEMORY, dtype=SEEN),
        np.empty(LINES, dtype=LINE), state, out,
    )  # fmt: skip
    at = scene.at[0]
    at["row"] = at["first_row"] = row
    at["visit"] = visit_index
    at["t_ms"] = visit["start_ms"]
    at["deadline_ms"] = visit["deadline_ms"]
    at["query"] = at["product"] = -1
    at["shelf"] = pick_shelf(shop, shelves, state)
    if uniform(state) >= me["bounce"]:
        depth = me["depth"] * effect[0]["depth"] * shop["depth"]
        at["patience"] = _LEAST_PATIENCE + depth * gamma(state, _PATIENCE_SHAPE)
    move = _landing(scene)
    while move >= 0:
        _make(scene, move)
        at["moves"] += 1.0 + me["to_delay"] * shop["delay_s"]
        move = _next(scene)
        if move >= 0 and not wait(scene):
            break
    return at["row"], at["bought"]


@numba.njit(cache=True, nogil=True)
def _draw_effects(visit: Rows, effect: Rows, state: np.ndarray) -> None:
    """Draw a buyer's factors on habits: what lasts from the buyer's key, the mood of the day from the visit's."""
    state[0] = visit["buyer_key"]
    lasting = np.array([normal(state) for _ in range(8)])
    state[0] = visit["visit_key"]
    factor = np.array([math.exp(BUYER_SPREAD * lasting[i] + MOOD_SPREAD * normal(state)) for i in range(8)])
    effect["tempo"], effect["depth"], effect["search"], effect["again"] = factor[0], factor[1], factor[2], factor[3]
    effect["carting"], effect["price"] = factor[4], factor[5]
    effect["breadth"], effect["checkout"] = factor[6], factor[7]


@numba.njit(cache=True, nogil=True)
def _make(scene: Scene, move: int) -> None:
    if move == _PAGE:
        open_page(scene)
    elif move == _LIST:
        open_list(scene)
    elif move == _SEARCH:
        search(scene)
    elif move == _LOOK:
        look(scene)
    elif move == _LOOK_AGAIN:
        look_again(scene)
    elif move == _CART:
        open_cart(scene)
    elif move == _TAKE_OUT:
        take_out(scene)
    else:
        check_out(scene)


@numba.njit(cache=True, nogil=True)
def _landing(scene: Scene) -> int:
    """Return the move that opens the visit."""
    me = scene.me
    target = uniform(scene.state) * (me["land_home"] + me["land_list"] + me["land_search"] + me["land_product"])
    if target < me["land_home"]:
        return _PAGE
    if target < me["land_home"] + me["land_list"]:
        return _LIST
    if target < me["land_home"] + me["land_list"] + me["land_search"]:
        return _SEARCH
    return _LOOK


@numba.njit(cache=True, nogil=True)
def _next(scene: Scene) -> int:
    """Return the next move, -1 to leave."""
    at, me = scene.at[0], scene.me
    if at["bought"] or at["row"] >= at["first_row"] + MAX_EVENTS:
        return -1
    if raw.CHECKOUT <= at["place"] <= raw.PAYMENT:
        if at["attempts"] >= _ATTEMPTS or uniform(scene.state) < _GIVE_UP:
            return -1
        at["patience"] += _SECOND_WIND
    if at["moves"] >= at["patience"]:
        tries = at["lines"] > 0 and at["attempts"] == 0 and uniform(scene.state) < me["close"]
        return _CHECK_OUT if tries else -1
    weight = np.zeros(_MOVES)
    _weigh(scene, weight)
    target = uniform(scene.state) * weight.sum()
    for move in range(_MOVES):
        target -= weight[move]
        if target < 0.0:
            return move
    return _LOOK


@numba.njit(cache=True, nogil=True)
def _weigh(scene: Scene, weight: np.ndarray) -> None:
    """Fill in how much the shopper is drawn to each move, given the place and the cart."""
    at, me, effect, place = scene.at[0], scene.me, scene.effect[0], scene.at[0]["place"]
    weight[_PAGE] = me["info"]
    weight[_LIST] = me["list"] * (0.3 if place == raw.LIST else 1.0)
    # Those who refine search again at once.
    weight[_SEARCH] = me["search"] * effect["search"] * (1.0 + me["refine"] if place == raw.SEARCH else 1.0)
    # Lists and results are there to open products from; other pages hardly are.
    weight[_LOOK] = me["view"] * (
        2.0 if place == raw.LIST or place == raw.SEARCH else 0.4 if place == raw.PAGE else 1.0
    )
    if at["seen"] > 1:
        weight[_LOOK_AGAIN] = me["again"] * effect["again"]
    if at["lines"] > 0:
        has_cart = scene.shop["has_cart"]
        if has_cart and place != raw.CART:
            weight[_CART] = me["cart"] * effect["carting"]
        # Where there is a cart page, things are taken out there.
        if place == raw.CART or not has_cart:
            weight[_TAKE_OUT] = me["remove"]
        weight[_CHECK_OUT] = me["checkout"] * effect["checkout"] * min(at["lines"] / me["basket"], 2.0)
