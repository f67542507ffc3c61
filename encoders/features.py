"""Sessions as numbers: a token per event and a summary per session, without merchant or product identities.

Everything is relative to the session itself (its own earlier products, prices, queries and pauses), so that a shopper
reads alike in a shop of watches and a shop of shirts. A token depends only on events up to its own, hence the
features of a session's first ``k`` events are those of a session that has only had ``k`` events so far.
"""

import hashlib
import json
import math

import numba
import numpy as np
import numpy.typing as npt

from schemas.events import I64, Events
from schemas.taxonomy import DEVICES, EVENT_CODES, EVENT_NAMES, REFERRERS

F32 = npt.NDArray[np.float32]

#: Raised whenever a value below changes its meaning; an encoder trained on another revision is refused.
FEATURE_REVISION = 1

#: A longer session is read as its first and its last events; the summary still counts all of them.
HEAD_TOKENS = 12
TAIL_TOKENS = 20
MAX_TOKENS = HEAD_TOKENS + TAIL_TOKENS

#: Upper bounds of the pause buckets in seconds; the last bucket is open, the first token is in none.
GAP_BOUNDS_S = (2.0, 6.0, 15.0, 40.0, 120.0, 600.0)
#: A pause under the first is a flick, over the second a break.
QUICK_S, BREAK_S = 6.0, 120.0
#: Distinct products, categories and queries remembered; later ones in a very long session all count as new.
MEMORY = 128
#: Ratios of prices are clipped to e^±3, beyond which a price is a typing error.
LOG_RATIO_LIMIT = 3.0

_EVENTS = len(EVENT_NAMES) - 1
_GAPS = len(GAP_BOUNDS_S) + 1

TOKEN_FEATURES = (
    *(f"is_{name}" for name in EVENT_NAMES[1:]),
    *(f"gap_bucket_{bucket}" for bucket in range(_GAPS)),
    "log_gap",
    "log_elapsed",
    "log_position",
    "product_new",
    "product_same",
    "product_return",
    "log_product_visits",
    "category_new",
    "category_same",
    "category_return",
    "query_new",
    "query_same",
    "query_refined",
    "has_price",
    "price_to_mean",
    "price_to_previous",
    "price_lowest",
    "price_highest",
    "log_cart",
    "log_quantity",
)

SUMMARY_FEATURES = (
    *(f"log_{name}" for name in EVENT_NAMES[1:]),
    "log_events",
    "log_duration",
    "mean_log_gap",
    "std_log_gap",
    "max_log_gap",
    "quick_share",
    "break_share",
    "log_products",
    "product_same_share",
    "product_return_share",
    "log_top_product_visits",
    "log_categories",
    "category_switch_share",
    "log_queries",
    "query_refined_share",
    "priced",
    "price_spread",
    "price_trend",
    "price_below_mean_share",
    "price_put_in_cart",
    "log_views_before_cart",
    "log_cart_wait",
    "log_max_quantity",
    "hour_sin",
    "hour_cos",
    "weekend",
    *(f"device_{name}" for name in DEVICES[1:]),
    *(f"referrer_{name}" for name in REFERRERS[1:]),
)

TOKEN_WIDTH = len(TOKEN_FEATURES)
SUMMARY_WIDTH = len(SUMMARY_FEATURES)

_VIEWED = EVENT_CODES["product_viewed"]
_ADDED = EVENT_CODES["product_added_to_cart"]
_REMOVED = EVENT_CODES["product_removed_from_cart"]
_BOUNDS = np.array(GAP_BOUNDS_S)
_DEVICES = len(DEVICES) - 1
_REFERRERS = len(REFERRERS) - 1
_DAY_MS = 86_400_000
_DAY_OF_EPOCH = 3  # 1 January 1970 was a Thursday; Monday is 0
_FRIDAY = 4


def feature_spec_hash() -> str:
    """Return the SHA-256 of everything that fixes the features' meaning: an encoder and its input must agree on it."""
    spec = [FEATURE_REVISION, TOKEN_FEATURES, SUMMARY_FEATURES, HEAD_TOKENS, TAIL_TOKENS, GAP_BOUNDS_S, MEMORY]
    spec += [QUICK_S, BREAK_S, LOG_RATIO_LIMIT]
    return hashlib.sha256(json.dumps(spec).encode()).hexdigest()


def session_features(events: Events, starts: I64, lengths: I64) -> tuple[F32, F32]:
    """Return tokens ``(T, B, TOKEN_WIDTH)`` (zero where padded) and summaries ``(B, SUMMARY_WIDTH)``, both float32.

    Session ``b`` is ``events[starts[b]:starts[b] + lengths[b]]``, sorted by (t, id) and not empty; sessions may
    overlap (a prefix has a shorter length). ``T`` is the longest session's length, at most ``MAX_TOKENS``.
    Every row depends on its own session alone. Pure; releases the GIL.
    """
    steps = min(int(lengths.max(initial=1)), MAX_TOKENS)
    tokens = np.zeros((steps, len(starts), TOKEN_WIDTH), np.float32)
    summaries = np.zeros((len(starts), SUMMARY_WIDTH), np.float32)
    _fill(events, starts, lengths, tokens, summaries)
    return tokens, summaries


def token_counts(lengths: I64) -> npt.NDArray[np.int32]:
    """Return how many tokens sessions of these lengths have, (B,) int32: what the encoder takes as sequence lengths."""
    return np.minimum(lengths, MAX_TOKENS).astype(np.int32)


@numba.njit(cache=True, nogil=True)
def _seen(memory: npt.NDArray[np.uint32], size: int, value: int) -> int:
    """Return the place of ``value`` among the first ``size``, latest first, or -1."""
    for place in range(size - 1, -1, -1):
        if memory[place] == value:
            return place
    return -1


@numba.njit(cache=True, nogil=True)
def _log_ratio(price: float, other: float) -> float:
    if price <= 0.0 or other <= 0.0:
        return 0.0
    return min(max(math.log(price / other), -LOG_RATIO_LIMIT), LOG_RATIO_LIMIT)


@numba.njit(cache=True, nogil=True)
def _fill(events: Events, starts: I64, lengths: I64, tokens: F32, summaries: F32) -> None:
    for row in range(len(starts)):
        _fill_session(events[starts[row] : starts[row] + lengths[row]], tokens[:, row], summaries[row])


@numba.njit(cache=True, nogil=True)
def _fill_session(events: Events, tokens: F32, summary: F32) -> None:
    length = len(events)
    products = np.zeros(MEMORY, np.uint32)
    visits = np.zeros(MEMORY, np.int32)
    categories = np.zeros(MEMORY, np.uint32)
    queries = np.zeros(MEMORY, np.uint32)
    counts = np.zeros(_EVENTS + 1, np.int32)
    known_products = known_categories = known_queries = 0
    last_product = last_category = last_query = np.uint32(0)
    same_products = returns = product_events = switches = category_events = refined = query_events = 0
    price_sum = price_logs = price_squares = first_price = last_price = lowest = highest = 0.0
    prices = below_mean = priced_adds = 0
    put_in_cart = 0.0
    cart = views_before_cart = max_quantity = 0
    first_add = cart_end = np.int64(-1)
    gap_sum = gap_squares = max_gap = 0.0
    quick = breaks = device = referrer = 0
    start = events[0].t
    previous = start
    for position in range(length):
        event = events[position]
        step = position if position < HEAD_TOKENS or length <= MAX_TOKENS else position - (length - MAX_TOKENS)
        kept = position < HEAD_TOKENS or length <= MAX_TOKENS or position >= length - TAIL_TOKENS
        token = np.zeros(TOKEN_WIDTH, np.float32)
        code = int(event.event)
        if 0 < code <= _EVENTS:
            token[code - 1] = 1.0
            counts[code] += 1
        at = _EVENTS
        if position > 0:
            gap_s = (event.t - previous) / 1000.0
            log_gap = math.log1p(gap_s)
            bucket = 0
            while bucket < len(_BOUNDS) and gap_s >= _BOUNDS[bucket]:
                bucket += 1
            token[at + bucket] = 1.0
            token[at + _GAPS] = log_gap / 4.0
            gap_sum += log_gap
            gap_squares += log_gap * log_gap
            max_gap = max(max_gap, log_gap)
            quick += gap_s < QUICK_S
            breaks += gap_s >= BREAK_S
        previous = event.t
        at += _GAPS + 1
        token[at] = math.log1p((event.t - start) / 1000.0) / 6.0
        token[at + 1] = math.log1p(position) / 3.0
        at += 2
        if event.product != 0:
            product_events += 1
            place = _seen(products, known_products, event.product)
            if place < 0:
                token[at] = 1.0
                if known_products < MEMORY:
                    products[known_products] = event.product
                    visits[known_products] = 1
                    known_products += 1
            else:
                if event.product == last_product:
                    token[at + 1] = 1.0
                    same_products += 1
                else:
                    token[at + 2] = 1.0
                    returns += 1
                token[at + 3] = math.log1p(visits[place])
                visits[place] += 1
            last_product = event.product
        at += 4
        if event.category != 0:
            category_events += 1
            if _seen(categories, known_categories, event.category) < 0:
                token[at] = 1.0
                switches += known_categories > 0
                if known_categories < MEMORY:
                    categories[known_categories] = event.category
                    known_categories += 1
            elif event.category == last_category:
                token[at + 1] = 1.0
            else:
                token[at + 2] = 1.0
                switches += 1
            last_category = event.category
        at += 3
        if event.query != 0:
            query_events += 1
            if event.query == last_query:
                token[at + 1] = 1.0
            elif known_queries == 0:
                token[at] = 1.0
            else:
                token[at + 2] = 1.0
                refined += 1
            if _seen(queries, known_queries, event.query) < 0 and known_queries < MEMORY:
                queries[known_queries] = event.query
                known_queries += 1
            last_query = event.query
        at += 3
        price = float(event.price)
        if price > 0.0:
            token[at] = 1.0
            if prices > 0:
                token[at + 1] = _log_ratio(price, price_sum / prices)
                token[at + 2] = _log_ratio(price, last_price)
                token[at + 3] = price < lowest
                token[at + 4] = price > highest
            if code == _VIEWED:
                if prices == 0:
                    first_price = lowest = highest = price
                else:
                    below_mean += price < price_sum / prices
                prices += 1
                price_sum += price
                price_logs += math.log(price)
                price_squares += math.log(price) ** 2
                lowest = min(lowest, price)
                highest = max(highest, price)
                last_price = price
            elif code == _ADDED and prices > 0:
                priced_adds += 1
                put_in_cart += _log_ratio(price, price_sum / prices)
        at += 5
        quantity = max(int(event.quantity), 1)
        if code == _ADDED:
            cart += quantity
            if first_add < 0:
                first_add = event.t
                views_before_cart = counts[_VIEWED]
        elif code == _REMOVED:
            cart = max(cart - quantity, 0)
        if code > _ADDED and first_add >= 0:
            cart_end = event.t
        token[at] = math.log1p(cart)
        token[at + 1] = math.log(quantity)
        max_quantity = max(max_quantity, quantity)
        if device == 0:
            device = int(event.device)
        if referrer == 0:
            referrer = int(event.referrer)
        if kept:
            tokens[step] = token
    gaps = max(length - 1, 1)
    for code in range(1, _EVENTS + 1):
        summary[code - 1] = math.log1p(counts[code])
    at = _EVENTS
    summary[at] = math.log(length)
    summary[at + 1] = math.log1p((previous - start) / 1000.0)
    summary[at + 2] = gap_sum / gaps
    summary[at + 3] = math.sqrt(max(gap_squares / gaps - (gap_sum / gaps) ** 2, 0.0))
    summary[at + 4] = max_gap
    summary[at + 5] = quick / gaps
    summary[at + 6] = breaks / gaps
    at += 7
    summary[at] = math.log1p(known_products)
    summary[at + 1] = same_products / max(product_events, 1)
    summary[at + 2] = returns / max(product_events, 1)
    summary[at + 3] = math.log1p(visits.max())
    summary[at + 4] = math.log1p(known_categories)
    summary[at + 5] = switches / max(category_events, 1)
    summary[at + 6] = math.log1p(known_queries)
    summary[at + 7] = refined / max(query_events, 1)
    at += 8
    if prices > 0:
        summary[at] = 1.0
        summary[at + 1] = math.sqrt(max(price_squares / prices - (price_logs / prices) ** 2, 0.0))
        summary[at + 2] = _log_ratio(last_price, first_price)
        summary[at + 3] = below_mean / prices
        summary[at + 4] = put_in_cart / max(priced_adds, 1)
    at += 5
    summary[at] = math.log1p(views_before_cart)
    if cart_end >= 0:
        summary[at + 1] = math.log1p((cart_end - first_add) / 1000.0)
    summary[at + 2] = math.log(max(max_quantity, 1))
    at += 3
    hour = (start % _DAY_MS) / _DAY_MS * 2.0 * math.pi
    summary[at] = math.sin(hour)
    summary[at + 1] = math.cos(hour)
    summary[at + 2] = (start // _DAY_MS + _DAY_OF_EPOCH) % 7 > _FRIDAY
    at += 3
    if 0 < device <= _DEVICES:
        summary[at + device - 1] = 1.0
    at += _DEVICES
    if 0 < referrer <= _REFERRERS:
        summary[at + referrer - 1] = 1.0
