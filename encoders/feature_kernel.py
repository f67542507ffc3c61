"""The compiled loop behind ``encoders.features``: one pass over a session's events writes all its features."""

import math

import numba
import numpy as np
import numpy.typing as npt

from encoders.feature_spec import (
    BREAK_S,
    CONTEXT_FEATURES,
    GAP_BOUNDS_S,
    LOG_RATIO_LIMIT,
    MEMORY,
    QUICK_S,
    SUMMARY_FEATURES,
    TOKEN_FEATURES,
)
from schemas.events import I32, I64, Events
from schemas.taxonomy import DEVICES, EVENT_CODES, EVENT_NAMES, REFERRERS

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

_VIEWED = EVENT_CODES["product_viewed"]
_ADDED = EVENT_CODES["product_added_to_cart"]
_REMOVED = EVENT_CODES["product_removed_from_cart"]
_EVENTS = len(EVENT_NAMES) - 1
_DEVICES = len(DEVICES) - 1
_REFERRERS = len(REFERRERS) - 1
_BOUNDS_S = np.array(GAP_BOUNDS_S)

# Where each feature lies; the kernel below writes by name.
_T_GAP_BUCKET = TOKEN_FEATURES.index("gap_bucket_0")
_T_LOG_GAP = TOKEN_FEATURES.index("log_gap")
_T_ELAPSED = TOKEN_FEATURES.index("log_elapsed")
_T_POSITION = TOKEN_FEATURES.index("log_position")
_T_PRODUCT = TOKEN_FEATURES.index("product_new")
_T_PRODUCT_VISITS = TOKEN_FEATURES.index("log_product_visits")
_T_CATEGORY = TOKEN_FEATURES.index("category_new")
_T_QUERY = TOKEN_FEATURES.index("query_new")
_T_HAS_PRICE = TOKEN_FEATURES.index("has_price")
_T_PRICE_TO_MEAN = TOKEN_FEATURES.index("price_to_mean")
_T_PRICE_TO_PREVIOUS = TOKEN_FEATURES.index("price_to_previous")
_T_PRICE_LOWEST = TOKEN_FEATURES.index("price_lowest")
_T_PRICE_HIGHEST = TOKEN_FEATURES.index("price_highest")
_T_CART = TOKEN_FEATURES.index("log_cart")
_T_QUANTITY = TOKEN_FEATURES.index("log_quantity")
_T_ENDED = TOKEN_FEATURES.index("session_ended")
_S_EVENTS = SUMMARY_FEATURES.index("log_events")
_S_DURATION = SUMMARY_FEATURES.index("log_duration")
_S_MEAN_GAP = SUMMARY_FEATURES.index("mean_log_gap")
_S_STD_GAP = SUMMARY_FEATURES.index("std_log_gap")
_S_MAX_GAP = SUMMARY_FEATURES.index("max_log_gap")
_S_QUICK = SUMMARY_FEATURES.index("quick_share")
_S_BREAK = SUMMARY_FEATURES.index("break_share")
_S_PRODUCTS = SUMMARY_FEATURES.index("log_products")
_S_PRODUCT_SAME = SUMMARY_FEATURES.index("product_same_share")
_S_PRODUCT_RETURN = SUMMARY_FEATURES.index("product_return_share")
_S_TOP_VISITS = SUMMARY_FEATURES.index("log_top_product_visits")
_S_CATEGORIES = SUMMARY_FEATURES.index("log_categories")
_S_SWITCH = SUMMARY_FEATURES.index("category_switch_share")
_S_QUERIES = SUMMARY_FEATURES.index("log_queries")
_S_REFINED = SUMMARY_FEATURES.index("query_refined_share")
_S_PRICED = SUMMARY_FEATURES.index("priced")
_S_PRICE_SPREAD = SUMMARY_FEATURES.index("price_spread")
_S_PRICE_TREND = SUMMARY_FEATURES.index("price_trend")
_S_BELOW_MEAN = SUMMARY_FEATURES.index("price_below_mean_share")
_S_PUT_IN_CART = SUMMARY_FEATURES.index("price_put_in_cart")
_S_VIEWS_BEFORE = SUMMARY_FEATURES.index("log_views_before_cart")
_S_CART_WAIT = SUMMARY_FEATURES.index("log_cart_wait")
_S_QUANTITY = SUMMARY_FEATURES.index("log_max_quantity")
_S_REFERRER = SUMMARY_FEATURES.index("referrer_direct")
_C_HOUR = CONTEXT_FEATURES.index("hour_sin")
_C_WEEKEND = CONTEXT_FEATURES.index("weekend")
_C_DEVICE = CONTEXT_FEATURES.index("device_desktop")

# How a product, category or query relates to those before it in the session.
_NEW, _SAME, _RETURN = 0, 1, 2

# Logarithms of seconds and counts are brought near one, so that no feature drowns the others at the start of training.
_LOG_GAP_SCALE, _LOG_ELAPSED_SCALE, _LOG_POSITION_SCALE = 4.0, 6.0, 3.0

#: log1p of the numbers that are counted in a session; others are computed.
_LOG1P = np.array([math.log1p(count) for count in range(1024)])

_DAY_MS = 86_400_000
_WEEKDAY_OF_EPOCH = 3  # 1 January 1970 was a Thursday; Monday is 0
_FRIDAY = 4


@numba.njit(cache=True, nogil=True)
def fill_features(
    events: Events,
    starts: I64,
    lengths: I64,
    read: I32,
    ended: npt.NDArray[np.bool_],
    tokens: F32,
    summaries: F32,
    contexts: F32,
) -> None:
    """Write the features of sessions into zeroed arrays of the shapes that ``session_features`` returns."""
    memory, visits = np.empty((3, MEMORY), np.uint32), np.empty(MEMORY, np.int32)
    counts = np.empty(_EVENTS + 1, np.int32)
    for row in range(len(starts)):
        session = events[starts[row] : starts[row] + lengths[row]]
        _fill_session(session, read[row], memory, visits, counts, tokens[:, row], summaries[row])
        if ended[row]:
            tokens[lengths[row] - read[row], row, _T_ENDED] = 1.0
        _fill_context(session, contexts[row])


@numba.njit(cache=True, nogil=True)
def _log1p(count: int) -> float:
    return _LOG1P[count] if count < len(_LOG1P) else math.log1p(count)


@numba.njit(cache=True, nogil=True)
def _place(memory: U32, known: int, value: int) -> int:
    """Return where ``value`` is among the ``known`` remembered, latest first, or -1."""
    for place in range(known - 1, -1, -1):
        if memory[place] == value:
            return place
    return -1


@numba.njit(cache=True, nogil=True)
def _relation(place: int, value: int, last: int) -> int:
    if place < 0:
        return _NEW
    return _SAME if value == last else _RETURN


@numba.njit(cache=True, nogil=True)
def _log_ratio(price: float, other: float) -> float:
    if price <= 0.0 or other <= 0.0:
        return 0.0
    return min(max(math.log(price / other), -LOG_RATIO_LIMIT), LOG_RATIO_LIMIT)


@numba.njit(cache=True, nogil=True)
def _fill_session(events: Events, read: int, memory: U32, visits: I32, counts: I32, tokens: F32, summary: F32) -> None:
    """Write one session's features; what the memory holds beforehand does not matter."""
    length = len(events)
    products, categories, queries = memory
    counts[:] = 0
    known_products = known_categories = known_queries = 0
    product_events = category_events = query_events = 0
    last_product = last_category = last_query = np.uint32(0)
    same = returns = switches = refined = quick = breaks = 0
    views = below_mean = priced_adds = cart = views_before_cart = 0
    price_sum = log_sum = log_squares = put_in_cart = 0.0
    first_price = last_price = lowest = highest = 0.0
    gap_sum = gap_squares = longest_gap = 0.0
    most_at_once = 1
    referrer = 0
    first_add = cart_end = np.int64(-1)
    start = previous = events[0].t

    for position in range(length):
        event = events[position]
        # Logarithms are most of the work, and of an event that has been read before only the summary needs any.
        fresh = position >= read
        token = tokens[max(position - read, 0)]
        code = int(event.event)
        if 0 < code <= _EVENTS:
            counts[code] += 1
            if fresh:
                token[code - 1] = 1.0

        if position > 0:
            gap_s = (event.t - previous) / 1000.0
            log_gap = math.log1p(gap_s)
            if fresh:
                bucket = 0
                while bucket < len(_BOUNDS_S) and gap_s >= _BOUNDS_S[bucket]:
                    bucket += 1
                token[_T_GAP_BUCKET + bucket] = 1.0
                token[_T_LOG_GAP] = log_gap / _LOG_GAP_SCALE
            gap_sum += log_gap
            gap_squares += log_gap * log_gap
            longest_gap = max(longest_gap, log_gap)
            quick += gap_s < QUICK_S
            breaks += gap_s >= BREAK_S
        previous = event.t
        if fresh:
            token[_T_ELAPSED] = math.log1p((event.t - start) / 1000.0) / _LOG_ELAPSED_SCALE
            token[_T_POSITION] = _log1p(position) / _LOG_POSITION_SCALE

        if event.product != 0:
            product_events += 1
            place = _place(products, known_products, event.product)
            relation = _relation(place, event.product, last_product)
            if fresh:
                token[_T_PRODUCT + relation] = 1.0
                token[_T_PRODUCT_VISITS] = _log1p(visits[place]) if place >= 0 else 0.0
            same += relation == _SAME
            returns += relation == _RETURN
            if place >= 0:
                visits[place] += 1
            elif known_products < MEMORY:
                products[known_products] = event.product
                visits[known_products] = 1
                known_products += 1
            last_product = event.product
        if event.category != 0:
            category_events += 1
            place = _place(categories, known_categories, event.category)
            relation = _relation(place, event.category, last_category)
            if fresh:
                token[_T_CATEGORY + relation] = 1.0
            switches += relation != _SAME and category_events > 1
            if place < 0 and known_categories < MEMORY:
                categories[known_categories] = event.category
                known_categories += 1
            last_category = event.category
        if event.query != 0:
            query_events += 1
            if event.query == last_query:
                relation = _SAME
            elif query_events == 1:
                relation = _NEW
            else:
                relation = _RETURN
                refined += 1
            if fresh:
                token[_T_QUERY + relation] = 1.0
            if _place(queries, known_queries, event.query) < 0 and known_queries < MEMORY:
                queries[known_queries] = event.query
                known_queries += 1
            last_query = event.query

        price = float(event.price)
        if price > 0.0:  # NaN, for absent, is not
            if fresh:
                token[_T_HAS_PRICE] = 1.0
            if fresh and views > 0:
                token[_T_PRICE_TO_MEAN] = _log_ratio(price, price_sum / views)
                token[_T_PRICE_TO_PREVIOUS] = _log_ratio(price, last_price)
                token[_T_PRICE_LOWEST] = price < lowest
                token[_T_PRICE_HIGHEST] = price > highest
            if code == _VIEWED:
                if views == 0:
                    first_price = lowest = highest = price
                else:
                    below_mean += price < price_sum / views
                views += 1
                price_sum += price
                # Prices have 24 bits, and so would squares: of one price alone they would not be those of the mean.
                log_price = np.float64(math.log(price))
                log_sum += log_price
                log_squares += log_price**2
                lowest, highest, last_price = min(lowest, price), max(highest, price), price
            elif code == _ADDED and views > 0:
                priced_adds += 1
                put_in_cart += _log_ratio(price, price_sum / views)

        quantity = max(int(event.quantity), 1)
        most_at_once = max(most_at_once, quantity)
        if code == _ADDED:
            cart += quantity
            if first_add < 0:
                first_add = event.t
                views_before_cart = counts[_VIEWED]
        elif code == _REMOVED:
            cart = max(cart - quantity, 0)
        if code > _ADDED and first_add >= 0:
            cart_end = event.t
        if fresh:
            token[_T_CART] = _log1p(cart)
            token[_T_QUANTITY] = math.log(quantity)
        if referrer == 0:
            referrer = int(event.referrer)

    most_visits = 0
    for place in range(known_products):
        most_visits = max(most_visits, visits[place])
    gaps = max(length - 1, 1)
    for code in range(1, _EVENTS + 1):
        summary[code - 1] = _log1p(counts[code])
    summary[_S_EVENTS] = math.log(length)
    summary[_S_DURATION] = math.log1p((previous - start) / 1000.0)
    summary[_S_MEAN_GAP] = gap_sum / gaps
    summary[_S_STD_GAP] = math.sqrt(max(gap_squares / gaps - (gap_sum / gaps) ** 2, 0.0))
    summary[_S_MAX_GAP] = longest_gap
    summary[_S_QUICK] = quick / gaps
    summary[_S_BREAK] = breaks / gaps
    summary[_S_PRODUCTS] = _log1p(known_products)
    summary[_S_PRODUCT_SAME] = same / max(product_events, 1)
    summary[_S_PRODUCT_RETURN] = returns / max(product_events, 1)
    summary[_S_TOP_VISITS] = _log1p(most_visits)
    summary[_S_CATEGORIES] = _log1p(known_categories)
    summary[_S_SWITCH] = switches / max(category_events, 1)
    summary[_S_QUERIES] = _log1p(known_queries)
    summary[_S_REFINED] = refined / max(query_events, 1)
    if views > 0:
        summary[_S_PRICED] = 1.0
        summary[_S_PRICE_SPREAD] = math.sqrt(max(log_squares / views - (log_sum / views) ** 2, 0.0))
        summary[_S_PRICE_TREND] = _log_ratio(last_price, first_price)
        summary[_S_BELOW_MEAN] = below_mean / views
        summary[_S_PUT_IN_CART] = put_in_cart / max(priced_adds, 1)
    summary[_S_VIEWS_BEFORE] = _log1p(views_before_cart)
    if cart_end >= 0:
        summary[_S_CART_WAIT] = math.log1p((cart_end - first_add) / 1000.0)
    summary[_S_QUANTITY] = math.log(most_at_once)
    if 0 < referrer <= _REFERRERS:
        summary[_S_REFERRER + referrer - 1] = 1.0


@numba.njit(cache=True, nogil=True)
def _fill_context(events: Events, context: F32) -> None:
    start = events[0].t
    angle = (start % _DAY_MS) / _DAY_MS * 2.0 * math.pi
    context[_C_HOUR] = math.sin(angle)
    context[_C_HOUR + 1] = math.cos(angle)
    context[_C_WEEKEND] = (start // _DAY_MS + _WEEKDAY_OF_EPOCH) % 7 > _FRIDAY
    for event in events:
        device = int(event.device)
        if 0 < device <= _DEVICES:
            context[_C_DEVICE + device - 1] = 1.0
            return
