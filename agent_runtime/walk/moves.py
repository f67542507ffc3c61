"""The compiled storefront: which moves a shopper has.

The same rules as ``agent_runtime.storefront.visit``, which a test holds this to, click for click.
"""

import numpy as np

from agent_runtime.storefront.actions import ACTIONS_OF
from agent_runtime.walk.shelves import category_at, price_relation, relation_on, shelf_at, stretch_of
from agent_runtime.walk.tables import NONE, Bools, Record, Tables
from agent_runtime.walk.words import (
    ADDED,
    COLLECTION,
    F_CATEGORY,
    F_PRODUCT,
    F_QUANTITY,
    F_QUERY,
    IN_SAME,
    SEARCH,
    SIMILAR,
    VIEWED,
)
from schemas.machine import allocation_free
from schemas.taxonomy import EVENT_CODES

_PRICES = 3
_EVENTS = len(EVENT_CODES) + 1
_FIRST = np.array([0] + [ACTIONS_OF[event].start for event in EVENT_CODES])
_END = np.array([0] + [ACTIONS_OF[event].stop for event in EVENT_CODES])


@allocation_free
def _mark_fresh(tables: Tables, visit: Record, shelf: int, served: Bools, first: int) -> None:
    """Say for each price relation whether a product of it lies unseen on a shelf."""
    low, end = tables.starts[shelf], tables.starts[shelf + 1]
    similar, higher = stretch_of(tables, visit, shelf, SIMILAR)
    unseen = (similar - low, higher - similar, end - higher)
    if end > low:
        everything = shelf == len(tables.category_weights) + 1
        for place in range(visit.seen_size):
            product = visit.seen[place]
            if everything or tables.shelf_of[product] == shelf:
                relation = relation_on(tables, visit, product, shelf)
                unseen = (unseen[0] - (relation == 0), unseen[1] - (relation == 1), unseen[2] - (relation == 2))
    served[first], served[first + 1], served[first + 2] = unseen[0] > 0, unseen[1] > 0, unseen[2] > 0


@allocation_free
def find_moves(tables: Tables, visit: Record, seed: int, served: Bools) -> None:
    """Write which of ``ACTIONS`` the storefront serves a shopper now, (A,) bool."""
    served[:] = False
    categories = (
        category_at(tables, visit, 0, seed), category_at(tables, visit, 1, seed), category_at(tables, visit, 2, seed),
    )  # fmt: skip
    for event in range(1, _EVENTS):
        owed = tables.owed[event]
        if not tables.served[event] or owed & visit.done != owed:
            continue
        if tables.needs_cart[event] and visit.cart_size == 0:
            continue
        first = _FIRST[event]
        if event == COLLECTION:
            if not tables.fills[event, F_CATEGORY]:
                served[first + IN_SAME] = True
            else:
                for relation in range(3):
                    served[first + relation] = categories[relation] != NONE
        elif event == SEARCH:
            if not tables.fills[event, F_QUERY]:
                served[first] = True
            else:
                queries = len(tables.query_weights)
                served[first] = queries > 1 or (queries == 1 and visit.query != 0)
                served[first + 1] = visit.query != NONE
        elif event == VIEWED:
            _mark_viewable(tables, visit, categories, served, first)
        elif event == ADDED:
            _mark_addable(tables, visit, served, first)
        else:
            served[first : _END[event]] = True


@allocation_free
def _mark_viewable(tables: Tables, visit: Record, categories: tuple[int, int, int], served: Bools, first: int) -> None:
    for relation in range(3):
        shelf = shelf_at(tables, visit, categories[relation], relation, VIEWED)
        if shelf != NONE:
            _mark_fresh(tables, visit, shelf, served, first + relation * _PRICES)
    if not tables.fills[VIEWED, F_PRODUCT]:
        return
    same = first + 3 * _PRICES
    served[same] = visit.last != NONE
    for place in range(visit.seen_size):
        if visit.seen[place] != visit.last:
            price = tables.prices[visit.seen[place]]
            served[same + 1 + price_relation(price, visit.price_sum, visit.prices)] = True


@allocation_free
def _mark_addable(tables: Tables, visit: Record, served: Bools, first: int) -> None:
    many = tables.fills[ADDED, F_QUANTITY]
    if tables.fills[ADDED, F_PRODUCT]:
        others = visit.seen_size > 1 or (visit.seen_size == 1 and visit.seen[0] != visit.last)
        fresh = visit.seen_size < len(tables.prices)
        same = visit.last != NONE
    else:
        same, others, fresh = True, False, False
    served[first], served[first + 1] = same, same and many
    served[first + 2], served[first + 3] = others, others and many
    served[first + 4], served[first + 5] = fresh, fresh and many
