"""The compiled storefront: which moves a shopper has, and the click that a move makes.

The same rules as ``agent_runtime.visit``, which a test holds this to, click for click. One shopper is a record of
``VISIT``, the storefront a ``Tables``; nothing here is allocated.
"""

import numba as nb
import numpy as np

from agent_runtime.actions import ACTIONS_OF, PRICE_HIGHER, PRICE_LOWER
from agent_runtime.capabilities import FIELDS
from agent_runtime.draws import Purpose
from agent_runtime.walk_draws import unit_of
from agent_runtime.walk_tables import (
    ACTION_CATEGORY,
    ACTION_EVENT,
    ACTION_ITEM,
    ACTION_MANY,
    ACTION_PRICE,
    NONE,
    Bools,
    Record,
    Tables,
)
from schemas.events import I32
from schemas.taxonomy import EVENT_CODES

_NEW, _SAME, _RETURN = 0, 1, 2  # of ITEMS
_IN_SAME, _IN_NEW, _IN_RETURN = 0, 1, 2  # of CATEGORY_RELATIONS
_PRICES = 3
_SIMILAR = 1  # of PRICE_RELATIONS
_MOST_OF_ONE = 4

_COLLECTION = EVENT_CODES["collection_viewed"]
_SEARCH = EVENT_CODES["search_submitted"]
_VIEWED = EVENT_CODES["product_viewed"]
_ADDED = EVENT_CODES["product_added_to_cart"]
_REMOVED = EVENT_CODES["product_removed_from_cart"]
_CART = EVENT_CODES["cart_viewed"]
_BOUGHT = EVENT_CODES["checkout_completed"]
_EVENTS = len(EVENT_CODES) + 1
_FIRST = np.array([0] + [ACTIONS_OF[event].start for event in EVENT_CODES])
_END = np.array([0] + [ACTIONS_OF[event].stop for event in EVENT_CODES])
_F_PRODUCT, _F_CATEGORY, _F_PRICE, _F_QUANTITY, _F_QUERY = (FIELDS.index(name) for name in FIELDS)

_P_CATEGORY_NEW, _P_CATEGORY_RETURN = int(Purpose.CATEGORY_NEW), int(Purpose.CATEGORY_RETURN)
_P_PRODUCT, _P_QUERY, _P_QUANTITY = int(Purpose.PRODUCT), int(Purpose.QUERY), int(Purpose.QUANTITY)


@nb.njit(cache=True, nogil=True)
def _has(memory: I32, size: int, value: int) -> bool:
    for place in range(size):  # noqa: SIM110 -- a generator would not compile
        if memory[place] == value:
            return True
    return False


@nb.njit(cache=True, nogil=True)
def _relation(price: float, price_sum: float, prices: int) -> int:
    """Return the index in PRICE_RELATIONS, as ``retrace`` has it."""
    if prices == 0 or not price > 0.0:
        return _SIMILAR
    ratio = price * prices / price_sum
    return 0 if ratio < PRICE_LOWER else (2 if ratio > PRICE_HIGHER else _SIMILAR)


@nb.njit(cache=True, nogil=True)
def _category(tables: Tables, visit: Record, relation: int, seed: int) -> int:
    """Return the category that a relation stands for at this step, NONE when there is none."""
    if relation == _IN_SAME:
        return int(visit.category)
    total, fitting, only = 0.0, 0, NONE
    if relation == _IN_NEW:
        for category in range(len(tables.category_weights)):
            if not _has(visit.known, visit.known_size, category):
                total, fitting, only = total + tables.category_weights[category], fitting + 1, category
        if fitting < 2:
            return only
        at, heap = unit_of(seed, visit.agent, visit.step, _P_CATEGORY_NEW) * total, 0.0
        for category in range(len(tables.category_weights)):
            if not _has(visit.known, visit.known_size, category):
                heap, only = heap + tables.category_weights[category], category
                if heap > at:
                    break
        return only
    for place in range(visit.known_size):
        if visit.known[place] != visit.category:
            total, fitting, only = total + tables.category_weights[visit.known[place]], fitting + 1, visit.known[place]
    if fitting < 2:
        return only
    at, heap = unit_of(seed, visit.agent, visit.step, _P_CATEGORY_RETURN) * total, 0.0
    for place in range(visit.known_size):
        if visit.known[place] != visit.category:
            heap, only = heap + tables.category_weights[visit.known[place]], visit.known[place]
            if heap > at:
                break
    return only


@nb.njit(cache=True, nogil=True)
def _shelf(tables: Tables, visit: Record, category: int, relation: int, event: int) -> int:
    """Return the shelf of a relation, whose category was told; NONE when it stands for none."""
    categories = len(tables.category_weights)
    if tables.fills[event, _F_CATEGORY] and categories > 0:
        return category
    if relation != _IN_SAME:
        return NONE
    shelf = categories if visit.category == NONE else visit.category
    return shelf if tables.starts[shelf + 1] > tables.starts[shelf] else categories + 1


@nb.njit(cache=True, nogil=True)
def _bound(tables: Tables, visit: Record, low: int, high: int, limit: float, right: bool) -> int:
    """Return where on a shelf (``low`` to ``high``) prices reach ``limit`` times the mean looked at."""
    while low < high:
        middle = (low + high) // 2
        ratio = tables.shelf_prices[middle] * visit.prices / visit.price_sum
        if ratio < limit or (right and ratio == limit):
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def _stretch(tables: Tables, visit: Record, shelf: int, price: int) -> tuple[int, int]:
    """Return where on a shelf the products of one price relation begin and end."""
    low, end = tables.starts[shelf], tables.starts[shelf + 1]
    if visit.prices == 0 or low == end or not tables.shelf_prices[end - 1] > 0.0:
        return (low, end) if price == _SIMILAR else ((low, low) if price < _SIMILAR else (end, end))
    if price == 0:
        return low, _bound(tables, visit, low, end, PRICE_LOWER, False)
    higher = _bound(tables, visit, low, end, PRICE_HIGHER, True)
    if price == _SIMILAR:
        return _bound(tables, visit, low, end, PRICE_LOWER, False), higher
    return higher, end


@nb.njit(cache=True, nogil=True)
def _mark_fresh(tables: Tables, visit: Record, shelf: int, served: Bools, first: int) -> None:
    """Say for each price relation whether a product of it lies unseen on a shelf."""
    for price in range(_PRICES):
        low, high = _stretch(tables, visit, shelf, price)
        seen = 0
        if high > low:
            categories = len(tables.category_weights)
            for place in range(visit.seen_size):
                product = visit.seen[place]
                if shelf == categories + 1 or tables.shelf_of[product] == shelf:
                    seen += _relation_on(tables, visit, product, shelf) == price
        served[first + price] = high - low > seen


@nb.njit(cache=True, nogil=True)
def _relation_on(tables: Tables, visit: Record, product: int, shelf: int) -> int:
    """Return a product's price relation as its shelf cuts it: free ones are lower there, once prices are known."""
    if visit.prices == 0 or not tables.shelf_prices[tables.starts[shelf + 1] - 1] > 0.0:
        return _SIMILAR
    ratio = tables.prices[product] * visit.prices / visit.price_sum
    return 0 if ratio < PRICE_LOWER else (2 if ratio > PRICE_HIGHER else _SIMILAR)


@nb.njit(cache=True, nogil=True)
def find_moves(tables: Tables, visit: Record, seed: int, served: Bools) -> None:
    """Write which of ``ACTIONS`` the storefront serves a shopper now, (A,) bool."""
    served[:] = False
    for event in range(1, _EVENTS):
        owed = tables.owed[event]
        if not tables.served[event] or owed & visit.done != owed:
            continue
        if tables.needs_cart[event] and visit.cart_size == 0:
            continue
        first = _FIRST[event]
        if event == _COLLECTION:
            if not tables.fills[event, _F_CATEGORY]:
                served[first + _IN_SAME] = True
            else:
                for relation in range(3):
                    served[first + relation] = _category(tables, visit, relation, seed) != NONE
        elif event == _SEARCH:
            if not tables.fills[event, _F_QUERY]:
                served[first] = True
            else:
                queries = len(tables.query_weights)
                served[first] = queries > 1 or (queries == 1 and visit.query != 0)
                served[first + 1] = visit.query != NONE
        elif event == _VIEWED:
            _mark_viewable(tables, visit, seed, served, first)
        elif event == _ADDED:
            _mark_addable(tables, visit, served, first)
        else:
            served[first : _END[event]] = True


@nb.njit(cache=True, nogil=True)
def _mark_viewable(tables: Tables, visit: Record, seed: int, served: Bools, first: int) -> None:
    for relation in range(3):
        category = _category(tables, visit, relation, seed)
        shelf = _shelf(tables, visit, category, relation, _VIEWED)
        if shelf != NONE:
            _mark_fresh(tables, visit, shelf, served, first + relation * _PRICES)
    if not tables.fills[_VIEWED, _F_PRODUCT]:
        return
    same = first + 3 * _PRICES
    served[same] = visit.last != NONE
    for place in range(visit.seen_size):
        if visit.seen[place] != visit.last:
            price = tables.prices[visit.seen[place]]
            served[same + 1 + _relation(price, visit.price_sum, visit.prices)] = True


@nb.njit(cache=True, nogil=True)
def _mark_addable(tables: Tables, visit: Record, served: Bools, first: int) -> None:
    many = tables.fills[_ADDED, _F_QUANTITY]
    if tables.fills[_ADDED, _F_PRODUCT]:
        others = visit.seen_size > 1 or (visit.seen_size == 1 and visit.seen[0] != visit.last)
        fresh = visit.seen_size < len(tables.prices)
        same = visit.last != NONE
    else:
        same, others, fresh = True, False, False
    served[first], served[first + 1] = same, same and many
    served[first + 2], served[first + 3] = others, others and many
    served[first + 4], served[first + 5] = fresh, fresh and many


@nb.njit(cache=True, nogil=True)
def _popular(tables: Tables, visit: Record, low: int, high: int, seed: int) -> int:
    """Return an unseen product of a stretch of shelf in proportion to popularity, NONE when all were seen."""
    total, fitting, only = 0.0, 0, NONE
    for at in range(low, high):
        if not _has(visit.seen, visit.seen_size, tables.places[at]):
            total, fitting, only = total + tables.weights[at], fitting + 1, tables.places[at]
    if fitting < 2:
        return only
    goal, heap = unit_of(seed, visit.agent, visit.step, _P_PRODUCT) * total, 0.0
    for at in range(low, high):
        if not _has(visit.seen, visit.seen_size, tables.places[at]):
            heap, only = heap + tables.weights[at], tables.places[at]
            if heap > goal:
                break
    return only


@nb.njit(cache=True, nogil=True)
def _back(tables: Tables, visit: Record, price: int, seed: int) -> int:
    """Return one of the other products seen (of one price relation; NONE: of any), each as likely."""
    fitting = 0
    for turn in range(2):
        at = 0
        if turn == 1:
            unit = unit_of(seed, visit.agent, visit.step, _P_PRODUCT) if fitting > 1 else 0.0
            at = min(int(unit * fitting), fitting - 1)
        for place in range(visit.seen_size):
            product = visit.seen[place]
            if product == visit.last:
                continue
            if price != NONE and _relation(tables.prices[product], visit.price_sum, visit.prices) != price:
                continue
            if turn == 0:
                fitting += 1
            elif at == 0:
                return int(product)
            else:
                at -= 1
    return NONE


@nb.njit(cache=True, nogil=True)
def _search(tables: Tables, visit: Record, item: int, seed: int) -> int:
    queries = len(tables.query_weights)
    if item == _SAME or queries == 0:
        return int(visit.query)
    if queries < 2:
        return 0
    total = 0.0
    for query in range(queries):
        total += 0.0 if query == visit.query else tables.query_weights[query]
    goal, heap = unit_of(seed, visit.agent, visit.step, _P_QUERY) * total, 0.0
    for query in range(queries):
        heap += 0.0 if query == visit.query else tables.query_weights[query]
        if heap > goal:
            return query
    return queries - 1


@nb.njit(cache=True, nogil=True)
def _notice(tables: Tables, visit: Record, product: int, event: int) -> None:
    if tables.fills[event, _F_PRODUCT]:
        visit.last = product
        if not _has(visit.seen, visit.seen_size, product):
            visit.seen[visit.seen_size] = product
            visit.seen_size += 1


@nb.njit(cache=True, nogil=True)
def _enter(tables: Tables, visit: Record, category: int, event: int) -> None:
    if category != NONE and tables.fills[event, _F_CATEGORY]:
        visit.category = category
        if not _has(visit.known, visit.known_size, category):
            visit.known[visit.known_size] = category
            visit.known_size += 1


@nb.njit(cache=True, nogil=True)
def _view(tables: Tables, visit: Record, action: int, seed: int) -> int:
    item = ACTION_ITEM[action]
    if item == _SAME and visit.last != NONE:
        product = visit.last
    elif item == _RETURN:
        product = _back(tables, visit, ACTION_PRICE[action], seed)
    else:
        relation = ACTION_CATEGORY[action]
        shelf = _shelf(tables, visit, _category(tables, visit, relation, seed), relation, _VIEWED)
        low, high = _stretch(tables, visit, shelf, ACTION_PRICE[action])
        product = _popular(tables, visit, low, high, seed)
    _notice(tables, visit, product, _VIEWED)
    own = tables.shelf_of[product]
    _enter(tables, visit, own if own < len(tables.category_weights) else NONE, _VIEWED)
    price = tables.prices[product]
    if price > 0.0 and tables.fills[_VIEWED, _F_PRICE]:
        visit.price_sum += price
        visit.prices += 1
    return int(product)


@nb.njit(cache=True, nogil=True)
def _add(tables: Tables, visit: Record, action: int, seed: int) -> tuple[int, int]:
    everything = len(tables.category_weights) + 1
    low, high = tables.starts[everything], tables.starts[everything + 1]
    item, product = ACTION_ITEM[action], NONE
    if item == _SAME:
        product = visit.last if visit.last != NONE else _any_product(tables, visit, low, high, seed)
    elif item == _RETURN:
        product = _back(tables, visit, NONE, seed)
    else:
        shelf = _shelf(tables, visit, visit.category, _IN_SAME, _ADDED)
        if shelf != NONE:
            product = _popular(tables, visit, tables.starts[shelf], tables.starts[shelf + 1], seed)
        if product == NONE:
            product = _popular(tables, visit, low, high, seed)
    _notice(tables, visit, product, _ADDED)
    quantity = 1
    if ACTION_MANY[action]:
        spread = unit_of(seed, visit.agent, visit.step, _P_QUANTITY) ** 2
        quantity = 2 + int(spread * (_MOST_OF_ONE - 1))
    visit.cart[visit.cart_size], visit.counts[visit.cart_size] = product, quantity
    visit.cart_size += 1
    return product, quantity


@nb.njit(cache=True, nogil=True)
def _any_product(tables: Tables, visit: Record, low: int, high: int, seed: int) -> int:
    """Return any product in proportion to popularity, seen or not."""
    if high - low < 2:
        return int(tables.places[low])
    total = 0.0
    for at in range(low, high):
        total += tables.weights[at]
    goal, heap = unit_of(seed, visit.agent, visit.step, _P_PRODUCT) * total, 0.0
    for at in range(low, high):
        heap += tables.weights[at]
        if heap > goal:
            return int(tables.places[at])
    return int(tables.places[high - 1])


@nb.njit(cache=True, nogil=True)
def _remove(visit: Record, seed: int) -> tuple[int, int]:
    size = visit.cart_size
    if size == 0:
        return visit.last, 1
    unit = unit_of(seed, visit.agent, visit.step, _P_PRODUCT) if size > 1 else 0.0
    at = min(int(unit * size), size - 1)
    product, quantity = visit.cart[at], visit.counts[at]
    for place in range(at, size - 1):
        visit.cart[place], visit.counts[place] = visit.cart[place + 1], visit.counts[place + 1]
    visit.cart_size = size - 1
    return product, quantity


@nb.njit(cache=True, nogil=True)
def take(tables: Tables, visit: Record, action: int, seed: int, click: Record) -> None:
    """Do one action that ``find_moves`` serves and write its click (all but its time), carried columns or not."""
    event = ACTION_EVENT[action]
    product, quantity, category = NONE, 1, NONE
    if event == _COLLECTION:
        category = _category(tables, visit, ACTION_CATEGORY[action], seed)
        _enter(tables, visit, category, event)
    elif event == _SEARCH:
        visit.query = _search(tables, visit, ACTION_ITEM[action], seed)
    elif event == _VIEWED:
        product = _view(tables, visit, action, seed)
    elif event == _ADDED:
        product, quantity = _add(tables, visit, action, seed)
    elif event == _REMOVED:
        product, quantity = _remove(visit, seed)
    elif event >= _CART:
        product = visit.cart[visit.cart_size - 1] if visit.cart_size > 0 else visit.last
    price = 0 if product == NONE else tables.units[product]
    if event >= _CART and visit.cart_size > 0:
        price = 0
        for place in range(visit.cart_size):
            price += tables.units[visit.cart[place]] * visit.counts[place]
    click.action, click.product, click.category, click.query = action, product, category, visit.query
    click.price, click.quantity = price, quantity
    visit.done |= 1 << event
    if event == _BOUGHT:
        visit.cart_size, visit.done = 0, 0
    visit.step += 1
