"""What the same shoppers would do in a changed storefront: the truth that a predicted effect is held against."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from encoders.generator import raw_events as raw
from encoders.generator.buyer_types import habits
from encoders.generator.merchants import Merchant
from encoders.generator.simulation import simulate
from encoders.generator.visits import Visits, plan_visits
from encoders.generator.world import build_world
from schemas.conditions import Conditions

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Visited:
    """``n`` visits in columns, (n,): whether they bought, filled the cart; events; what was paid, minor units.

    ``buyer`` (n,) numbers the shoppers; ``kind`` (n,) their planted types.
    """

    buyer: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int16]
    converted: F64
    added: F64
    events: F64
    revenue_minor: F64


def shoppers(merchant: Merchant, seed: int, buyers: int, start_ms: int, end_ms: int) -> Visits:
    """Return the visits of a shop's buyers, in order of their start; none of it depends on the shop's conditions."""
    visits = plan_visits(merchant, 0, seed, buyers, start_ms, end_ms, habits(0.0))
    return visits[np.lexsort((visits["buyer"], visits["start_ms"]))]


def changed(merchant: Merchant, conditions: Conditions, has_payment: bool) -> Merchant:
    """Return a shop under other conditions, with or without a payment step; everything else is as it was."""
    return replace(merchant, conditions=conditions, has_payment=has_payment)


def visit(merchant: Merchant, visits: Visits) -> Visited:
    """Return what the visits come to in this shop. Each draws from its own keys alone."""
    size = len(visits)
    added, events, revenue, bought = (np.zeros(size) for _ in range(4))
    for part in simulate(visits, build_world([merchant]), habits(0.0)):
        place, event = part.events["visit"], part.events["event"]
        bought[part.first : part.last] = part.bought
        events[part.first : part.last] = part.counts
        added[place[event == raw.ADD]] = 1.0
        paid = event == raw.COMPLETED
        np.add.at(revenue, place[paid], part.events["price_minor"][paid].astype(np.float64))
    return Visited(visits["buyer"].copy(), visits["kind"].copy(), bought, added, events, revenue)
