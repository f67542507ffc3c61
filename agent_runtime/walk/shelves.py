"""The compiled storefront's shelves: where a shopper stands, and which stretch of a shelf a relation means.

The same rules as ``agent_runtime.storefront.visit``. One shopper is a record of ``VISIT``, the storefront a ``Tables``.
"""

from agent_runtime.draws import Purpose
from agent_runtime.storefront.actions import PRICE_HIGHER, PRICE_LOWER
from agent_runtime.walk.draws import unit_of
from agent_runtime.walk.tables import NONE, Record, Tables
from agent_runtime.walk.words import F_CATEGORY, IN_NEW, IN_SAME, SIMILAR
from schemas.events import I32
from schemas.machine import allocation_free

_P_CATEGORY_NEW, _P_CATEGORY_RETURN = int(Purpose.CATEGORY_NEW), int(Purpose.CATEGORY_RETURN)


@allocation_free
def has(memory: I32, size: int, value: int) -> bool:
    for place in range(size):  # noqa: SIM110 -- a generator would not compile
        if memory[place] == value:
            return True
    return False


@allocation_free
def price_relation(price: float, price_sum: float, prices: int) -> int:
    """Return the index in PRICE_RELATIONS, as ``retrace`` has it."""
    if prices == 0 or not price > 0.0:
        return SIMILAR
    ratio = price * prices / price_sum
    return 0 if ratio < PRICE_LOWER else (2 if ratio > PRICE_HIGHER else SIMILAR)


@allocation_free
def category_at(tables: Tables, visit: Record, relation: int, seed: int) -> int:
    """Return the category that a relation stands for at this step, NONE when there is none."""
    if relation == IN_SAME:
        return int(visit.category)
    total, fitting, only = 0.0, 0, NONE
    if relation == IN_NEW:
        for category in range(len(tables.category_weights)):
            if not has(visit.known, visit.known_size, category):
                total, fitting, only = total + tables.category_weights[category], fitting + 1, category
        if fitting < 2:
            return only
        at, heap = unit_of(seed, visit.agent, visit.step, _P_CATEGORY_NEW) * total, 0.0
        for category in range(len(tables.category_weights)):
            if not has(visit.known, visit.known_size, category):
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


@allocation_free
def shelf_at(tables: Tables, visit: Record, category: int, relation: int, event: int) -> int:
    """Return the shelf of a relation, whose category was told; NONE when it stands for none."""
    categories = len(tables.category_weights)
    if tables.fills[event, F_CATEGORY] and categories > 0:
        return category
    if relation != IN_SAME:
        return NONE
    shelf = categories if visit.category == NONE else visit.category
    return shelf if tables.starts[shelf + 1] > tables.starts[shelf] else categories + 1


@allocation_free
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


@allocation_free
def stretch_of(tables: Tables, visit: Record, shelf: int, price: int) -> tuple[int, int]:
    """Return where on a shelf the products of one price relation begin and end."""
    low, end = tables.starts[shelf], tables.starts[shelf + 1]
    if visit.prices == 0 or low == end or not tables.shelf_prices[end - 1] > 0.0:
        return (low, end) if price == SIMILAR else ((low, low) if price < SIMILAR else (end, end))
    if price == 0:
        return low, _bound(tables, visit, low, end, PRICE_LOWER, False)
    higher = _bound(tables, visit, low, end, PRICE_HIGHER, True)
    if price == SIMILAR:
        return _bound(tables, visit, low, end, PRICE_LOWER, False), higher
    return higher, end


@allocation_free
def relation_on(tables: Tables, visit: Record, product: int, shelf: int) -> int:
    """Return a product's price relation as its shelf cuts it: free ones are lower there, once prices are known."""
    if visit.prices == 0 or not tables.shelf_prices[tables.starts[shelf + 1] - 1] > 0.0:
        return SIMILAR
    ratio = tables.prices[product] * visit.prices / visit.price_sum
    return 0 if ratio < PRICE_LOWER else (2 if ratio > PRICE_HIGHER else SIMILAR)
