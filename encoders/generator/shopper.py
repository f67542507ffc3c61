"""One visit of a shopper: a semi-Markov walk over pages with memory of products seen, a cart and limited patience.

Nothing here knows the encoder: a shopper has habits (``buyer_types``), effects of their own that last over visits, a
mood of the day, and reacts to the shop's prices, promotions and missing pages.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from encoders.generator import raw_events as raw
from encoders.generator.randomness import gamma, normal, uniform
from encoders.generator.shelf import discount_at, pick_product, pick_shelf
from encoders.generator.vocabulary import INFO_PAGES, QUERIES_PER_CATEGORY
from schemas.events import U64

Rows = npt.NDArray[np.void]

#: Most events of one visit, most products remembered, most lines of a cart.
MAX_EVENTS, _MEMORY, _LINES = 160, 128, 24
#: Standard deviations of a buyer's lasting effects and of a day's mood, on the log scale of habits.
BUYER_SPREAD, MOOD_SPREAD = 0.12, 0.1
#: Share of visits on which a shopper behaves like anybody.
OFF_DAY = 0.015
#: Shape of the gamma distribution of patience: from visit to visit it varies by about 1/sqrt(shape).
_PATIENCE_SHAPE = 6
#: Effects: tempo, depth, search, again, cart, price, breadth, checkout.
_EFFECTS = 8
_TEMPO, _DEPTH, _SEARCH, _AGAIN, _CARTING, _PRICE, _BREADTH, _CHECKOUT = range(_EFFECTS)
#: Next moves of a browsing shopper.
_MOVES = 8
_INFO, _LIST, _QUERY, _VIEW, _REVIEW, _CART, _REMOVE, _BUY = range(_MOVES)
#: Pauses stay below every session gap in use, so that one visit is one session.
_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 1_500.0, 0.4
#: A pause before a decision: 40 s plus an exponential of this mean.
_HESITATION_S = 200.0
#: Seconds on a page relative to the shopper's tempo, by event code.
_LINGER = np.array([1.0, 1.2, 0.8, 0.7, 1.3, 0.5, 0.5, 0.9, 2.0, 2.2, 1.0])
#: Times a shopper tries to check out before giving up.
_ATTEMPTS = 3
_INFO_PAGES = len(INFO_PAGES)


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

    ``out`` must have room for ``MAX_EVENTS + 1`` rows. The walk draws from the visit's own key alone.
    """
    effect = np.empty(_EFFECTS)
    state = np.empty(1, dtype=np.uint64)
    state[0] = visit["buyer_key"]
    for i in range(_EFFECTS):
        effect[i] = BUYER_SPREAD * normal(state)
    state[0] = visit["visit_key"]
    for i in range(_EFFECTS):
        effect[i] = math.exp(effect[i] + MOOD_SPREAD * normal(state))
    type_row = visit["kind"] if uniform(state) >= OFF_DAY else len(habits) - 1
    me = habits[type_row]

    seen = np.empty(_MEMORY, dtype=np.int64)
    liking = np.empty(_MEMORY)
    line_product = np.empty(_LINES, dtype=np.int64)
    line_units = np.empty(_LINES, dtype=np.int64)
    line_price = np.empty(_LINES, dtype=np.int64)
    weight = np.empty(_MOVES)
    seen_count = 0
    lines = 0
    attempts = 0
    bought = False

    first_row = row
    limit = row + MAX_EVENTS
    t_ms = visit["start_ms"]
    patience = 0.0
    if uniform(state) >= me["bounce"]:
        patience = 2.0 + me["depth"] * effect[_DEPTH] * shop["depth"] * gamma(state, _PATIENCE_SHAPE)
    moves = 0.0
    shelf = pick_shelf(shop, shelves, state)
    query = -1
    product = -1
    place = _landing(me, uniform(state))
    move = _INFO if place == raw.PAGE else _LIST if place == raw.LIST else _QUERY if place == raw.SEARCH else _VIEW

    while True:
        # --- the move itself
        if move == _INFO:
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.PAGE)
            out[row]["page"] = 0 if row == first_row else 1 + int(uniform(state) * (_INFO_PAGES - 1))
            place = raw.PAGE
        elif move == _LIST:
            if row > first_row and uniform(state) < min(me["breadth"] * effect[_BREADTH], 1.0):
                shelf = pick_shelf(shop, shelves, state)
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.LIST)
            out[row]["category"] = shelves[shelf]["category"]
            place = raw.LIST
        elif move == _QUERY:
            fresh = query < 0 or uniform(state) >= me["refine"]
            if fresh and query >= 0 and uniform(state) < me["breadth"]:
                shelf = pick_shelf(shop, shelves, state)
            query = _next_query(query, shelves[shelf]["category"], fresh, state)
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.SEARCH)
            out[row]["query"] = query
            place = raw.SEARCH
        elif move == _VIEW or move == _REVIEW:
            if move == _VIEW:
                product = pick_product(
                    shelves[shelf], products, me["price"] * effect[_PRICE], me["fame"], shop["shows_price"], state
                )
                times = 0
                for i in range(seen_count):
                    if seen[i] == product:
                        times = 1
                like = normal(state)
                if times == 0 and seen_count < _MEMORY:
                    seen[seen_count], liking[seen_count] = product, like
                    seen_count += 1
            else:
                pick = _remembered(seen, liking, seen_count, product, state)
                product, like, times = seen[pick], liking[pick], 1
            goods = products[product]
            shelf = goods["shelf"]
            cut = discount_at(shop, promotions, goods["category"], t_ms)
            price_minor = int(math.floor(goods["price_minor"] * (1.0 - cut)))
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.VIEW)
            raw.put_product(out, row, product, goods["category"], price_minor, 0)
            if cut > 0.0:
                out[row]["list_price_minor"] = goods["price_minor"]
            place = raw.VIEW
            # A cut of the price moves a product as many standard deviations as it would move its log price.
            z_price = goods["z_price"] + 2.0 * math.log(1.0 - cut)
            leaning = me["add"] + math.log(effect[_CARTING]) * 2.0 + 0.8 * like + times * me["add_again"]
            leaning += 0.5 * me["price"] * effect[_PRICE] * z_price + (me["promo"] if cut > 0.0 else 0.0)
            leaning -= 1.5 * lines / me["basket"]
            if lines < _LINES and row + 1 < limit and uniform(state) < 1.0 / (1.0 + math.exp(-leaning)):
                pause_s = _pause(me, effect[_TEMPO] * shop["tempo"], raw.VIEW, me["hesitate"], state)
                if t_ms + int(pause_s * 1000.0) <= visit["deadline_ms"]:
                    t_ms += int(pause_s * 1000.0)
                    row += 1
                    units = 1 + int(-math.log(1.0 - uniform(state)) * me["units"])
                    raw.put(out, row, visit_index, row - first_row, t_ms, raw.ADD)
                    raw.put_product(out, row, product, goods["category"], price_minor, units)
                    line_product[lines], line_units[lines], line_price[lines] = product, units, price_minor
                    lines += 1
                    place = raw.ADD
        elif move == _CART:
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.CART)
            out[row]["price_minor"], out[row]["quantity"] = _total(line_units, line_price, lines), 1
            place = raw.CART
        elif move == _REMOVE:
            line = _dearest(line_price, lines) if uniform(state) < 0.6 else int(uniform(state) * lines)
            gone = line_product[line]
            raw.put(out, row, visit_index, row - first_row, t_ms, raw.REMOVE)
            raw.put_product(out, row, gone, products[gone]["category"], line_price[line], line_units[line])
            lines -= 1
            line_product[line], line_units[line] = line_product[lines], line_units[lines]
            line_price[line] = line_price[lines]
            place = raw.REMOVE
        else:
            attempts += 1
            total = _total(line_units, line_price, lines)
            row, t_ms, bought = _check_out(
                row, first_row, limit, visit_index, visit, shop, me, effect, t_ms, total, state, out
            )
            if bought:
                break
            if attempts >= _ATTEMPTS or uniform(state) < 0.5:
                row += 1
                break
            patience += 2.0
            place = raw.CHECKOUT
        row += 1
        moves += 1.0
        # --- what next
        if row >= limit:
            break
        if moves >= patience:
            if lines == 0 or attempts > 0 or uniform(state) >= me["close"]:
                break
            move = _BUY
        else:
            move = _next_move(me, effect, shop, place, seen_count, lines, query, weight, state)
        pause_s = _pause(me, effect[_TEMPO] * shop["tempo"], place, me["hesitate"], state)
        t_ms += int(pause_s * 1000.0)
        if t_ms > visit["deadline_ms"]:
            break
    if bought:
        row += 1
    return row, bought


@numba.njit(cache=True, nogil=True)
def _check_out(
    row: int,
    first_row: int,
    limit: int,
    visit_index: int,
    visit: Rows,
    shop: Rows,
    me: Rows,
    effect: npt.NDArray[np.float64],
    t_ms: int,
    total: int,
    state: U64,
    out: Rows,
) -> tuple[int, int, bool]:
    """Write one attempt to buy, from ``out[row]`` on; return the last row written, its time and whether it bought."""
    raw.put(out, row, visit_index, row - first_row, t_ms, raw.CHECKOUT)
    out[row]["price_minor"], out[row]["quantity"] = total, 1
    tempo = effect[_TEMPO] * shop["tempo"]
    ease = effect[_CHECKOUT]
    place = raw.CHECKOUT
    for step in (raw.PAYMENT, raw.COMPLETED):
        chance = me["proceed"] if step == raw.PAYMENT else me["complete"]
        # The effect acts on the odds, so that chances stay chances.
        chance = chance * ease / (1.0 - chance + chance * ease)
        if uniform(state) >= chance:
            return row, t_ms, False
        if step == raw.PAYMENT and not shop["has_payment"]:
            continue
        t_ms += int(_pause(me, tempo, place, me["hesitate"], state) * 1000.0)
        if t_ms > visit["deadline_ms"] or row + 1 >= limit:
            return row, t_ms, False
        row += 1
        raw.put(out, row, visit_index, row - first_row, t_ms, step)
        out[row]["price_minor"], out[row]["quantity"] = total, 1
        place = step
    return row, t_ms, True


@numba.njit(cache=True, nogil=True)
def _next_move(
    me: Rows,
    effect: npt.NDArray[np.float64],
    shop: Rows,
    place: int,
    seen_count: int,
    lines: int,
    query: int,
    weight: npt.NDArray[np.float64],
    state: U64,
) -> int:
    weight[_INFO] = me["info"]
    weight[_LIST] = me["list"] * (0.3 if place == raw.LIST else 1.0)
    # After a search without luck those who refine search again.
    weight[_QUERY] = me["search"] * effect[_SEARCH] * (1.0 + me["refine"] if place == raw.SEARCH else 1.0)
    weight[_VIEW] = me["view"] * (
        2.0 if place == raw.LIST or place == raw.SEARCH else 0.4 if place == raw.PAGE else 1.0
    )
    weight[_REVIEW] = me["again"] * effect[_AGAIN] if seen_count > 1 else 0.0
    weight[_CART] = 0.0
    weight[_REMOVE] = 0.0
    weight[_BUY] = 0.0
    if lines > 0:
        if shop["has_cart"] and place != raw.CART:
            weight[_CART] = me["cart"] * effect[_CARTING]
        # Where there is a cart page, removing happens there.
        if place == raw.CART or not shop["has_cart"]:
            weight[_REMOVE] = me["remove"]
        full = lines / me["basket"]
        weight[_BUY] = me["checkout"] * effect[_CHECKOUT] * min(full, 2.0)
    target = uniform(state) * weight.sum()
    for move in range(_MOVES):
        target -= weight[move]
        if target < 0.0:
            return move
    return _VIEW


@numba.njit(cache=True, nogil=True)
def _landing(me: Rows, u: float) -> int:
    target = u * (me["land_home"] + me["land_list"] + me["land_search"] + me["land_product"])
    if target < me["land_home"]:
        return raw.PAGE
    if target < me["land_home"] + me["land_list"]:
        return raw.LIST
    if target < me["land_home"] + me["land_list"] + me["land_search"]:
        return raw.SEARCH
    return raw.VIEW


@numba.njit(cache=True, nogil=True)
def _next_query(query: int, category: int, fresh: bool, state: U64) -> int:
    """Return a search term: a fresh one of the category (mostly plain), or the present one narrowed down."""
    base = category * QUERIES_PER_CATEGORY
    if fresh or query < base or query >= base + QUERIES_PER_CATEGORY:
        return base + int(uniform(state) * uniform(state) * QUERIES_PER_CATEGORY)
    within = query - base
    return base + within + int(uniform(state) * (QUERIES_PER_CATEGORY - within))


@numba.njit(cache=True, nogil=True)
def _remembered(
    seen: npt.NDArray[np.int64], liking: npt.NDArray[np.float64], count: int, current: int, state: U64
) -> int:
    """Return which product to go back to: the better liked of two recalled ones, not the one being looked at."""
    best = -1
    for _ in range(2):
        pick = int(uniform(state) * count)
        if seen[pick] == current:
            pick = (pick + 1) % count
        if best < 0 or liking[pick] > liking[best]:
            best = pick
    return best


@numba.njit(cache=True, nogil=True)
def _pause(me: Rows, tempo: float, place: int, hesitate: float, state: U64) -> float:
    """Return seconds until the next event: log-normal around the shopper's tempo, at times a pause of minutes."""
    pause_s = me["tempo_s"] * tempo * _LINGER[place] * math.exp(me["tempo_spread"] * normal(state))
    if uniform(state) < hesitate and place >= raw.VIEW:
        pause_s += 40.0 - _HESITATION_S * math.log(1.0 - uniform(state))
    return min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)


@numba.njit(cache=True, nogil=True)
def _total(units: npt.NDArray[np.int64], price: npt.NDArray[np.int64], lines: int) -> int:
    total = 0
    for line in range(lines):
        total += units[line] * price[line]
    return total


@numba.njit(cache=True, nogil=True)
def _dearest(price: npt.NDArray[np.int64], lines: int) -> int:
    best = 0
    for line in range(lines):
        if price[line] > price[best]:
            best = line
    return best
