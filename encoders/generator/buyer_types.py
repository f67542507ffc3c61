"""The planted buyer types: how each kind of shopper moves, looks, hesitates and buys.

Types overlap on purpose (three kinds of browsers that hardly buy, three kinds of quick buyers, three that wrestle with
their cart), and are told apart by tempo, depth and habit, never by a label in the events.
"""

from dataclasses import astuple, dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from encoders.generator.conditions import ANSWERS, answers
from encoders.generator.new_habits import NEW_HABITS, TEMPO_FACTOR


@dataclass(frozen=True, slots=True)
class BuyerType:
    """Habits of one kind of shopper. Weights are relative to ``view`` = opening a product not seen yet.

    tempo_s, tempo_spread       median seconds on a page, and sigma of its log-normal
    depth, bounce               mean number of moves before patience ends; probability of leaving at once
    land_*                      weights of the first page
    info, list, search, view, again, cart, remove   weights of the next move (``again`` = back to a product seen before)
    refine, breadth             chance that a search refines the last one; chance that a list is of another category
    price, fame                 taste for dear (+) or cheap (-) products per standard deviation; for popular ones
    add, add_again              log-odds of adding a product on view; extra when it is seen again
    checkout, close             weight of going to checkout with a cart; chance of trying it when patience ends
    proceed, complete           chance of going on at checkout, and of completing after payment details
    hesitate                    chance of a pause of minutes before a decision
    basket, units               products wanted in the cart; mean of further units of each
    promo                       answer to promotions: log factor on arrivals, adds and checkouts
    peak_hour, focus, weekend   preferred local hour, concentration around it, log factor at weekends
    mobile, tablet              device shares (the rest is desktop)
    direct .. ads               referrer weights
    returns, lag_h              chance of another visit after each; median hours until it
    """

    name: str
    tempo_s: float
    tempo_spread: float
    depth: float
    bounce: float
    land_home: float
    land_list: float
    land_search: float
    land_product: float
    info: float
    list: float
    search: float
    view: float
    again: float
    cart: float
    remove: float
    refine: float
    breadth: float
    price: float
    fame: float
    add: float
    add_again: float
    checkout: float
    close: float
    proceed: float
    complete: float
    hesitate: float
    basket: float
    units: float
    promo: float
    peak_hour: float
    focus: float
    weekend: float
    mobile: float
    tablet: float
    direct: float
    organic: float
    social: float
    email: float
    ads: float
    returns: float
    lag_h: float


_ANYBODY = BuyerType(
    name="anybody", tempo_s=17.0, tempo_spread=0.5, depth=8.0, bounce=0.012,
    land_home=1.0, land_list=1.0, land_search=0.2, land_product=1.0,
    info=0.08, list=0.5, search=0.08, view=1.0, again=0.12, cart=0.35, remove=0.04,
    refine=0.3, breadth=0.15, price=0.0, fame=0.6,
    add=-2.2, add_again=0.6, checkout=0.35, close=0.3, proceed=0.75, complete=0.85,
    hesitate=0.01, basket=1.5, units=0.05, promo=0.3,
    peak_hour=17.0, focus=0.5, weekend=0.0, mobile=0.5, tablet=0.08,
    direct=1.0, organic=1.0, social=0.5, email=0.3, ads=0.5, returns=0.62, lag_h=20.0,
)  # fmt: skip


def _type(name: str, **habits: float) -> BuyerType:
    """Return a type that differs from an unremarkable shopper in ``habits`` only."""
    return replace(_ANYBODY, name=name, **habits)


BUYER_TYPES: tuple[BuyerType, ...] = (
    # Quick buyers: by search, on impulse, by habit, by the offer of the day, by the crate.
    _type("mission_buyer", tempo_s=15, depth=4.5, land_search=8.0, land_product=0.8, land_home=0.3, land_list=0.1,
          search=0.9, list=0.02, refine=0.5, breadth=0.02, add=-0.2, checkout=2.5, close=0.7, proceed=0.9,
          complete=0.92, cart=0.2, basket=1.0, organic=3.0, mobile=0.3, again=0.05),
    _type("impulse_buyer", tempo_s=5, tempo_spread=0.45, depth=5.5, add=-0.6, checkout=1.5, close=0.5, proceed=0.8,
          again=0.02, search=0.01, list=0.12, land_product=5.0, land_home=0.1, land_list=0.2, land_search=0.02,
          social=4.0, mobile=0.96, cart=0.05, hesitate=0.0, peak_hour=21, focus=0.9, fame=2.2, info=0.01),
    _type("replenisher", tempo_s=8, tempo_spread=0.45, depth=3.5, bounce=0.005, land_product=1.0, land_home=4.0,
          land_list=0.1, land_search=0.1, search=0.05, list=0.05, again=0.02, add=3.2, units=2.0, checkout=1.0,
          close=0.95, proceed=0.96, complete=0.97, direct=5.0, social=0.05, ads=0.05, peak_hour=8, focus=1.6,
          basket=3.0, fame=1.2, hesitate=0.0, returns=0.7, lag_h=40, mobile=0.25, info=0.02),
    _type("deal_sniper", tempo_s=6, depth=7, land_list=8.0, land_product=0.3, land_home=0.1, land_search=0.05,
          email=6.0, price=-1.8, promo=1.4, add=-2.2, close=0.4, list=2.6, checkout=1.0, units=0.3, search=0.01,
          peak_hour=11, mobile=0.7, proceed=0.8, again=0.02, info=0.01, breadth=0.3, tempo_spread=0.5),
    _type("bulk_orderer", tempo_s=8, depth=9, add=1.6, units=9.0, basket=8.0, checkout=0.35, close=0.8, proceed=0.9,
          mobile=0.04, tablet=0.02, peak_hour=11, focus=1.8, weekend=-1.4, cart=0.3, direct=2.5, social=0.02,
          again=0.02, search=0.5, breadth=0.3, remove=0.05),
    # Those who look, each in their own way.
    _type("window_shopper", tempo_s=12, depth=11, list=2.4, view=0.6, again=0.03, add=-6.5, close=0.05, breadth=0.1,
          peak_hour=20, social=1.2, focus=0.8, search=0.02, land_home=3.0, land_product=0.3, info=0.05),
    _type("explorer", tempo_s=19, depth=11, list=1.1, breadth=1.0, view=1.0, again=0.02, add=-5.0, fame=-0.2,
          land_home=3.0, search=0.05, refine=0.02, tablet=0.25, info=0.5, land_product=0.5),
    _type("night_scroller", tempo_s=4, tempo_spread=0.5, depth=22, list=0.35, view=1.8, again=0.02, search=0.01,
          add=-6.5, mobile=0.96, peak_hour=1, focus=1.8, social=2.5, breadth=0.1, close=0.05, hesitate=0.0,
          info=0.01),
    _type("bargain_hunter", tempo_s=15, depth=12, list=0.9, price=-2.8, add=-2.6, promo=1.2, close=0.2, again=0.25,
          breadth=0.5, units=0.4, email=1.0, basket=4.0, checkout=0.15, search=0.03, land_list=2.0, cart=0.5),
    _type("luxury_admirer", tempo_s=42, depth=9, price=3.0, fame=0.0, add=-5.5, again=0.25, list=0.3, info=0.05,
          tablet=0.35, mobile=0.25, peak_hour=22, focus=1.0, search=0.02, breadth=0.1, close=0.1, land_product=2.0),
    _type("bouncer", tempo_s=9, depth=1.2, bounce=0.65, add=-5.0, ads=5.0, social=2.0, direct=0.1, land_product=4.0,
          land_home=0.4, returns=0.25, mobile=0.8),
    # Those who ask: by search, by reading, by comparing, for somebody else.
    _type("query_refiner", tempo_s=13, depth=9, search=4.0, refine=0.9, list=0.02, view=0.9, again=0.05, breadth=0.05,
          land_search=5.0, land_home=1.0, land_list=0.1, add=-3.6, organic=2.0, mobile=0.4, info=0.03),
    _type("researcher", tempo_s=45, tempo_spread=0.6, depth=9, info=2.2, again=0.3, search=0.15, refine=0.4, add=-3.8,
          add_again=0.8, breadth=0.03, mobile=0.2, organic=2.5, peak_hour=14, returns=0.7, lag_h=18, list=0.15),
    _type("comparer", tempo_s=26, depth=12, again=4.0, list=0.15, search=0.05, refine=0.6, breadth=0.02, add=-5.2,
          add_again=1.6, mobile=0.12, hesitate=0.03, peak_hour=21, returns=0.65, fame=0.9, info=0.06),
    _type("gift_seeker", tempo_s=21, depth=10, search=1.3, refine=0.02, breadth=0.95, add=-1.6, info=0.7, weekend=0.8,
          peak_hour=19, basket=3.0, price=0.5, fame=1.6, close=0.45, checkout=0.25, again=0.06, list=0.1,
          land_search=1.0, land_home=2.0),
    # Those who wrestle with their cart.
    _type("cart_parker", tempo_s=16, depth=10, add=0.3, cart=0.3, remove=0.02, checkout=0.01, close=0.02, proceed=0.2,
          basket=9.0, again=0.08, returns=0.7, lag_h=14),
    _type("hesitant_payer", tempo_s=20, depth=8, add=0.5, cart=0.5, remove=0.03, checkout=4.0, close=0.95,
          proceed=0.35, complete=0.4, hesitate=0.3, info=0.25, again=0.1, returns=0.6, lag_h=8, list=0.3),
    _type("cart_editor", tempo_s=17, depth=11, add=0.3, cart=2.5, remove=4.0, basket=4.0, price=-0.6, checkout=0.15,
          close=0.35, proceed=0.6, again=0.25, hesitate=0.03, list=0.3),
)  # fmt: skip
TYPE_NAMES = tuple(kind.name for kind in BUYER_TYPES)

_HABITS = [field.name for field in fields(BuyerType) if field.name != "name"] + list(ANSWERS)
#: One row of habits as the simulation reads it.
HABITS = np.dtype([(name, np.float64) for name in _HABITS])


def habits(overlap: float, new_habits: float = 0.0) -> npt.NDArray[np.void]:
    """Return the types as a (T + 1,) ``HABITS`` array; the last row is an unremarkable shopper, for off days.

    ``overlap`` in [0, 1] is the difficulty dial: every habit moves that share of the way to the unremarkable
    shopper's, so 0 leaves the types as written and 1 makes them the same. ``new_habits`` in [0, 1] is how far the types
    have gone over to the ways of ``new_habits.NEW_HABITS``.
    """
    table = np.array([astuple(kind)[1:] + answers(kind.name) for kind in (*BUYER_TYPES, _ANYBODY)], dtype=np.float64)
    if new_habits:
        changed = table.copy()
        for row, kind in zip(changed, BUYER_TYPES, strict=False):
            for habit, value in NEW_HABITS.get(kind.name, {}).items():
                row[_HABITS.index(habit)] = value
        changed[:, _HABITS.index("tempo_s")] *= TEMPO_FACTOR
        table = (1.0 - new_habits) * table + new_habits * changed
    moved = (1.0 - overlap) * table + overlap * table[-1]
    result = np.empty(len(moved), dtype=HABITS)
    for column, name in enumerate(_HABITS):
        result[name] = moved[:, column]
    return result
