"""The planted buyer types: how each kind of shopper moves, looks, hesitates and buys.

Types overlap on purpose (three kinds of browsers that hardly buy, three kinds of quick buyers, three that wrestle with
their cart), and are told apart by tempo, depth and habit, never by a label in the events.
"""

from dataclasses import astuple, dataclass, fields, replace

import numpy as np
import numpy.typing as npt


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
    name="anybody", tempo_s=17.0, tempo_spread=0.45, depth=8.0, bounce=0.006,
    land_home=1.0, land_list=1.0, land_search=0.2, land_product=1.0,
    info=0.08, list=0.5, search=0.08, view=1.0, again=0.12, cart=0.35, remove=0.04,
    refine=0.3, breadth=0.15, price=0.0, fame=0.6,
    add=-2.2, add_again=0.6, checkout=0.35, close=0.3, proceed=0.75, complete=0.85,
    hesitate=0.01, basket=1.5, units=0.05, promo=0.3,
    peak_hour=17.0, focus=0.5, weekend=0.0, mobile=0.5, tablet=0.08,
    direct=1.0, organic=1.0, social=0.5, email=0.3, ads=0.5, returns=0.55, lag_h=26.0,
)  # fmt: skip


def _type(name: str, **habits: float) -> BuyerType:
    """Return a type that differs from an unremarkable shopper in ``habits`` only."""
    return replace(_ANYBODY, name=name, **habits)


BUYER_TYPES: tuple[BuyerType, ...] = (
    # Quick buyers: by search, on impulse, by habit, by the offer of the day, by the crate.
    _type("mission_buyer", tempo_s=14, depth=4.5, land_search=35, land_product=0.73, land_home=0.19, land_list=0.04,
          search=2.4, list=0.0055, refine=0.58, breadth=0.0085, add=0.6, checkout=5.5, close=0.82, proceed=0.93,
          complete=0.94, cart=0.16, basket=1.0, organic=4.7, mobile=0.3, again=0.035),
    _type("impulse_buyer", tempo_s=3.1, tempo_spread=0.42, depth=5.5, add=0.04, checkout=2.7, close=0.58,
          proceed=0.82, again=0.0098, search=0.0044, list=0.068, land_product=9.5, land_home=0.04, land_list=0.11,
          land_search=0.008, social=9.2, mobile=0.96, cart=0.023, hesitate=0.0004, peak_hour=21, focus=0.9, fame=2.8,
          info=0.0044),
    _type("replenisher", tempo_s=5.9, tempo_spread=0.42, depth=3.5, bounce=0.0032, land_product=1.0, land_home=7.0,
          land_list=0.04, land_search=0.076, search=0.041, list=0.02, again=0.0098, add=5.4, units=2.0, checkout=1.5,
          close=0.99, proceed=0.98, complete=0.98, direct=9.5, social=0.02, ads=0.02, peak_hour=8, focus=1.6,
          basket=3.0, fame=1.4, hesitate=0.0004, returns=0.7, lag_h=40, mobile=0.25, info=0.011),
    _type("deal_sniper", tempo_s=4.0, depth=8.0, land_list=18, land_product=0.19, land_home=0.04, land_search=0.029,
          email=20, price=-2.5, promo=1.8, add=-2.2, close=0.44, list=5.0, checkout=1.5, units=0.3, search=0.0044,
          peak_hour=11, mobile=0.7, proceed=0.82, again=0.0098, info=0.0044, breadth=0.38, tempo_spread=0.48),
    _type("bulk_orderer", tempo_s=5.9, depth=12, add=3.1, units=9.0, basket=8.0, checkout=0.35, close=0.91,
          proceed=0.93, mobile=0.04, tablet=0.02, peak_hour=11, focus=1.8, weekend=-2.0, cart=0.28, direct=3.6,
          social=0.0055, again=0.0098, search=1.0, breadth=0.38, remove=0.055),
    # Those who look, each in their own way.
    _type("window_shopper", tempo_s=10, depth=14, list=4.5, view=0.49, again=0.017, add=-8.2, close=0.022,
          breadth=0.085, peak_hour=20, social=1.7, focus=0.8, search=0.011, land_home=4.7, land_product=0.19,
          info=0.041),
    _type("explorer", tempo_s=20, depth=13, list=1.5, breadth=1.0, view=1.0, again=0.0098, add=-6.1, fame=-0.52,
          land_home=4.7, search=0.041, refine=0.006, tablet=0.25, info=1.0, land_product=0.38),
    _type("night_scroller", tempo_s=2.2, tempo_spread=0.48, depth=26, list=0.3, view=2.3, again=0.0098, search=0.0044,
          add=-8.2, mobile=0.96, peak_hour=1, focus=1.8, social=4.8, breadth=0.085, close=0.022, hesitate=0.0004,
          info=0.0044),
    _type("bargain_hunter", tempo_s=14, depth=15, list=1.1, price=-3.9, add=-2.8, promo=1.6, close=0.17, again=0.34,
          breadth=0.67, units=0.4, email=1.6, basket=4.0, checkout=0.11, search=0.02, land_list=2.6, cart=0.58),
    _type("luxury_admirer", tempo_s=60, depth=11, price=4.2, fame=-0.24, add=-6.8, again=0.34, list=0.24, info=0.041,
          tablet=0.35, mobile=0.25, peak_hour=22, focus=1.0, search=0.011, breadth=0.085, close=0.061,
          land_product=2.6),
    _type("bouncer", tempo_s=7.0, depth=1.2, bounce=0.93, add=-6.1, ads=13, social=3.5, direct=0.04, land_product=7.0,
          land_home=0.28, returns=0.25, mobile=0.8),
    # Those who ask: by search, by reading, by comparing, for somebody else.
    _type("query_refiner", tempo_s=12, depth=12, search=19, refine=0.97, list=0.0055, view=0.86, again=0.035,
          breadth=0.031, land_search=18, land_home=1.0, land_list=0.04, add=-4.2, organic=2.6, mobile=0.4, info=0.02),
    _type("researcher", tempo_s=66, tempo_spread=0.62, depth=11, info=8.3, again=0.43, search=0.19, refine=0.44,
          add=-4.4, add_again=0.88, breadth=0.015, mobile=0.2, organic=3.6, peak_hour=14, returns=0.7, lag_h=18,
          list=0.093),
    _type("comparer", tempo_s=31, depth=15, again=16, list=0.093, search=0.041, refine=0.71, breadth=0.0085, add=-6.4,
          add_again=2.0, mobile=0.12, hesitate=0.046, peak_hour=21, returns=0.65, fame=1.0, info=0.053),
    _type("gift_seeker", tempo_s=23, depth=12, search=4.0, refine=0.006, breadth=0.99, add=-1.4, info=1.7,
          weekend=1.1, peak_hour=19, basket=3.0, price=0.7, fame=2.0, close=0.51, checkout=0.22, again=0.045,
          list=0.053, land_search=1.9, land_home=2.6),
    # Those who wrestle with their cart.
    _type("cart_parker", tempo_s=16, depth=13, add=1.3, cart=0.28, remove=0.015, checkout=0.0024, close=0.006,
          proceed=0.085, basket=9.0, again=0.068, returns=0.7, lag_h=14),
    _type("hesitant_payer", tempo_s=21, depth=8, add=1.6, cart=0.58, remove=0.027, checkout=11, close=0.99,
          proceed=0.3, complete=0.3, hesitate=0.66, info=0.39, again=0.093, returns=0.6, lag_h=8, list=0.24),
    _type("cart_editor", tempo_s=17, depth=15, add=1.3, cart=5.5, remove=25, basket=4.0, price=-0.84, checkout=0.11,
          close=0.37, proceed=0.53, again=0.34, hesitate=0.046, list=0.24),
)  # fmt: skip
TYPE_NAMES = tuple(kind.name for kind in BUYER_TYPES)

_HABITS = [field.name for field in fields(BuyerType) if field.name != "name"]
#: One row of habits as the simulation reads it.
HABITS = np.dtype([(name, np.float64) for name in _HABITS])


def habits(overlap: float) -> npt.NDArray[np.void]:
    """Return the types as a (T + 1,) ``HABITS`` array; the last row is an unremarkable shopper, for off days.

    ``overlap`` in [0, 1] is the difficulty dial: every habit moves that share of the way to the unremarkable
    shopper's, so 0 leaves the types as written and 1 makes them the same.
    """
    table = np.array([astuple(kind)[1:] for kind in (*BUYER_TYPES, _ANYBODY)], dtype=np.float64)
    moved = table + overlap * (table[-1] - table)
    result = np.empty(len(moved), dtype=HABITS)
    for column, name in enumerate(_HABITS):
        result[name] = moved[:, column]
    return result
