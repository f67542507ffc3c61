"""The compiled storefront: the click that a move makes, and what the shopper remembers of it.

The same rules as ``agent_runtime.storefront.visit``, which a test holds this to, click for click.
"""

import numpy as np

from agent_runtime.draws import Purpose
from agent_runtime.walk.draws import unit_of
from agent_runtime.walk.shelves import category_at, has, price_relation, shelf_at, stretch_of
from agent_runtime.walk.tables import (
    ACTION_CATEGORY,
    ACTION_EVENT,
    ACTION_ITEM,
    ACTION_MANY,
    ACTION_PRICE,
    NONE,
    Record,
    Tables,
)
from agent_runtime.walk.words import (
    ADDED,
    BOUGHT,
    CART,
    COLLECTION,
    F_CATEGORY,
    F_PRICE,
    F_PRODUCT,
    IN_SAME,
    REMOVED,
    RETURN_ITEM,
    SAME_ITEM,
    SEARCH,
    VIEWED,
)
from schemas.machine import allocation_free

_P_PRODUCT, _P_QUERY, _P_QUANTITY = int(Purpose.PRODUCT), int(Purpose.QUERY), int(Purpose.QUANTITY)


@allocation_free
def _bit(product: int) -> np.uint64:
    return np.uint64(1) << np.uint64(product & 63)


@allocation_free
def _popular(tables: Tables, visit: Record, low: int, high: int, seed: int) -> int:
    """Return an unseen product of a stretch of shelf in proportion to popularity, NONE when all were seen."""
    # A bit per product modulo 64: most of a shelf is told to be unseen without a look at what was seen.
    marks = np.uint64(0)
    for place in range(visit.seen_size):
        marks |= _bit(visit.seen[place])
    total, fitting, only = 0.0, 0, NONE
    for at in range(low, high):
        if not marks & _bit(tables.places[at]) or not has(visit.seen, visit.seen_size, tables.places[at]):
            total, fitting, only = total + tables.weights[at], fitting + 1, tables.places[at]
    if fitting < 2:
        return only
    goal, heap = unit_of(seed, visit.agent, visit.step, _P_PRODUCT) * total, 0.0
    for at in range(low, high):
        if not marks & _bit(tables.places[at]) or not has(visit.seen, visit.seen_size, tables.places[at]):
            heap, only = heap + tables.weights[at], tables.places[at]
            if heap > goal:
                break
    return only


@allocation_free
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
            if price != NONE and price_relation(tables.prices[product], visit.price_sum, visit.prices) != price:
                continue
            if turn == 0:
                fitting += 1
            elif at == 0:
                return int(product)
            else:
                at -= 1
    return NONE


@allocation_free
def _search(tables: Tables, visit: Record, item: int, seed: int) -> int:
    queries = len(tables.query_weights)
    if item == SAME_ITEM or queries == 0:
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


@allocation_free
def _notice(tables: Tables, visit: Record, product: int, event: int) -> None:
    if tables.fills[event, F_PRODUCT]:
        visit.last = product
        if not has(visit.seen, visit.seen_size, product):
            visit.seen[visit.seen_size] = product
            visit.seen_size += 1


@allocation_free
def _enter(tables: Tables, visit: Record, category: int, event: int) -> None:
    if category != NONE and tables.fills[event, F_CATEGORY]:
        visit.category = category
        if not has(visit.known, visit.known_size, category):
            visit.known[visit.known_size] = category
            visit.known_size += 1


@allocation_free
def _view(tables: Tables, visit: Record, action: int, seed: int) -> int:
    item = ACTION_ITEM[action]
    if item == SAME_ITEM and visit.last != NONE:
        product = visit.last
    elif item == RETURN_ITEM:
        product = _back(tables, visit, ACTION_PRICE[action], seed)
    else:
        relation = ACTION_CATEGORY[action]
        shelf = shelf_at(tables, visit, category_at(tables, visit, relation, seed), relation, VIEWED)
        low, high = stretch_of(tables, visit, shelf, ACTION_PRICE[action])
        product = _popular(tables, visit, low, high, seed)
    _notice(tables, visit, product, VIEWED)
    own = tables.shelf_of[product]
    _enter(tables, visit, own if own < len(tables.category_weights) else NONE, VIEWED)
    price = tables.prices[product]
    if price > 0.0 and tables.fills[VIEWED, F_PRICE]:
        visit.price_sum += price
        visit.prices += 1
    return int(product)


@allocation_free
def _add(tables: Tables, visit: Record, action: int, seed: int) -> tuple[int, int]:
    everything = len(tables.category_weights) + 1
    low, high = tables.starts[everything], tables.starts[everything + 1]
    item, product = ACTION_ITEM[action], NONE
    if item == SAME_ITEM:
        product = visit.last if visit.last != NONE else _any_product(tables, visit, low, high, seed)
    elif item == RETURN_ITEM:
        product = _back(tables, visit, NONE, seed)
    else:
        shelf = shelf_at(tables, visit, visit.category, IN_SAME, ADDED)
        if shelf != NONE:
            product = _popular(tables, visit, tables.starts[shelf], tables.starts[shelf + 1], seed)
        if product == NONE:
            product = _popular(tables, visit, low, high, seed)
    _notice(tables, visit, product, ADDED)
    quantity = 1
    if ACTION_MANY[action]:
        unit = unit_of(seed, visit.agent, visit.cart_size, _P_QUANTITY)
        quantity = int(tables.quantities[int(unit * len(tables.quantities))])
    visit.cart[visit.cart_size], visit.counts[visit.cart_size] = product, quantity
    visit.cart_size += 1
    return product, quantity


@allocation_free
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


@allocation_free
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


@allocation_free
def take(tables: Tables, visit: Record, action: int, seed: int, click: Record) -> None:
    """Do one action that ``find_moves`` serves and write its click (all but its time), carried columns or not."""
    event = ACTION_EVENT[action]
    product, quantity, category = NONE, 1, NONE
    if event == COLLECTION:
        category = category_at(tables, visit, ACTION_CATEGORY[action], seed)
        _enter(tables, visit, category, event)
    elif event == SEARCH:
        visit.query = _search(tables, visit, ACTION_ITEM[action], seed)
    elif event == VIEWED:
        product = _view(tables, visit, action, seed)
    elif event == ADDED:
        product, quantity = _add(tables, visit, action, seed)
    elif event == REMOVED:
        product, quantity = _remove(visit, seed)
    elif event >= CART:
        product = visit.cart[visit.cart_size - 1] if visit.cart_size > 0 else visit.last
    price = 0 if product == NONE else tables.units[product]
    if event >= CART and visit.cart_size > 0:
        price = 0
        for place in range(visit.cart_size):
            price += tables.units[visit.cart[place]] * visit.counts[place]
    click.action, click.product, click.category, click.query = action, product, category, visit.query
    click.price, click.quantity = price, quantity
    visit.done |= 1 << event
    if event == BOUGHT:
        visit.cart_size, visit.done = 0, 0
    visit.step += 1
