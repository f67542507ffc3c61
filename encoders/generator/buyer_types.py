"""The planted buyer types: how each kind of shopper moves, looks, hesitates and buys.

Types overlap on purpose (three kinds of browsers that hardly buy, three kinds of quick buyers, three that wrestle with
their cart), and are told apart by tempo, depth and habit, never by a label in the events.
"""

from dataclasses import astuple, dataclass, fields

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


def _type(name: str, **habits: float) -> BuyerType:
    """Return a type that differs from an unremarkable shopper in ``habits`` only."""
    plain: dict[str, float] = dict(
        tempo_s=18.0, tempo_spread=0.7, depth=8.0, bounce=0.04,
        land_home=1.0, land_list=1.0, land_search=0.3, land_product=1.0,
        info=0.15, list=0.6, search=0.2, view=1.0, again=0.25, cart=0.4, remove=0.08,
        refine=0.3, breadth=0.3, price=0.0, fame=0.6,
        add=-2.2, add_again=0.8, checkout=0.5, close=0.35, proceed=0.75, complete=0.85,
        hesitate=0.04, basket=1.5, units=0.1, promo=0.3,
        peak_hour=17.0, focus=0.5, weekend=0.0, mobile=0.5, tablet=0.08,
        direct=1.0, organic=1.0, social=0.5, email=0.3, ads=0.5, returns=0.5, lag_h=26.0,
    )  # fmt: skip
    return BuyerType(name, **(plain | habits))


BUYER_TYPES: tuple[BuyerType, ...] = (
    _type("mission_buyer", tempo_s=13, depth=4.5, land_search=2.5, land_product=2.0, land_home=0.4, land_list=0.3,
          search=0.7, list=0.1, refine=0.5, breadth=0.05, add=0.2, checkout=2.5, close=0.85, proceed=0.93, complete=0.95,
          cart=0.3, basket=1.0, organic=2.5, hesitate=0.01, mobile=0.35),
    _type("window_shopper", tempo_s=11, depth=14, list=1.6, view=0.8, again=0.1, add=-5.0, close=0.05, breadth=0.35,
          peak_hour=20, social=1.2, focus=0.8, search=0.06, land_home=2.0),
    _type("bargain_hunter", tempo_s=12, depth=13, list=0.9, price=-1.8, add=-2.6, promo=1.3, close=0.35, again=0.35,
          breadth=0.45, units=0.4, email=1.0, basket=2.5, checkout=0.4, search=0.12),
    _type("comparer", tempo_s=34, depth=15, again=2.0, list=0.3, search=0.25, refine=0.6, breadth=0.04, add=-4.2,
          add_again=1.4, mobile=0.2, hesitate=0.09, peak_hour=21, returns=0.65, fame=0.9, info=0.2),
    _type("impulse_buyer", tempo_s=6, tempo_spread=0.6, depth=4.0, add=0.4, checkout=2.2, close=0.75, proceed=0.88,
          again=0.04, search=0.03, list=0.4, land_product=2.5, land_home=0.2, land_search=0.05, social=2.5, mobile=0.88,
          cart=0.1, hesitate=0.005, peak_hour=21, focus=0.9, price=-0.1, fame=1.3),
    _type("cart_parker", tempo_s=15, depth=12, add=-0.3, cart=0.7, remove=0.12, checkout=0.02, close=0.04, proceed=0.3,
          basket=7.0, again=0.2, returns=0.65, lag_h=14),
    _type("hesitant_payer", tempo_s=20, depth=7, add=-0.8, cart=0.9, remove=0.1, checkout=1.8, close=0.8, proceed=0.3,
          complete=0.35, hesitate=0.22, info=0.3, again=0.4, returns=0.6, lag_h=8),
    _type("query_refiner", tempo_s=12, depth=11, search=2.2, refine=0.85, list=0.08, view=0.9, again=0.2, breadth=0.1,
          land_search=3.0, land_home=0.8, land_list=0.2, add=-2.6, organic=2.0, mobile=0.4),
    _type("replenisher", tempo_s=8, tempo_spread=0.5, depth=2.6, bounce=0.01, land_product=2.0, land_home=1.5,
          land_list=0.2, land_search=0.3, search=0.25, list=0.15, again=0.05, add=1.8, units=1.6, checkout=3.0, close=0.95,
          proceed=0.97, complete=0.98, direct=3.0, social=0.05, ads=0.1, peak_hour=9, focus=1.3, basket=2.0, fame=1.2,
          hesitate=0.003, returns=0.7, lag_h=40),
    _type("explorer", tempo_s=17, depth=13, list=1.3, breadth=0.95, view=1.0, again=0.12, add=-3.0, fame=0.0,
          land_home=2.0, search=0.3, refine=0.05, tablet=0.2, info=0.2),
    _type("bouncer", tempo_s=9, depth=1.3, bounce=0.6, add=-4.0, ads=2.5, social=2.0, direct=0.2, land_product=3.0,
          land_home=0.5, returns=0.2, mobile=0.7),
    _type("deal_sniper", tempo_s=7, depth=5.0, land_list=3.5, land_product=0.8, land_home=0.3, email=3.5, price=-0.9,
          promo=1.8, add=-0.4, close=0.55, list=0.7, checkout=1.5, units=0.5, search=0.05, peak_hour=11, mobile=0.6,
          proceed=0.85, again=0.08),
    _type("gift_seeker", tempo_s=24, depth=10, search=0.8, refine=0.15, breadth=0.75, add=-1.5, info=0.7, weekend=0.7,
          peak_hour=19, basket=2.5, price=0.4, fame=1.4, close=0.6, checkout=0.6, again=0.3, hesitate=0.05),
    _type("luxury_admirer", tempo_s=45, depth=9, price=2.0, fame=0.1, add=-4.0, again=0.7, list=0.5, info=0.3,
          tablet=0.25, mobile=0.35, peak_hour=22, focus=0.8, search=0.1, breadth=0.25, close=0.15),
    _type("bulk_orderer", tempo_s=9, depth=12, add=0.9, units=7.0, basket=8.0, checkout=0.5, close=0.9, proceed=0.92,
          mobile=0.06, tablet=0.02, peak_hour=11, focus=1.6, weekend=-1.2, cart=0.5, direct=2.0, social=0.05, again=0.05,
          search=0.5, breadth=0.4, remove=0.1),
    _type("night_scroller", tempo_s=4.5, tempo_spread=0.6, depth=26, list=0.5, view=1.8, again=0.05, search=0.03,
          add=-4.5, mobile=0.94, peak_hour=1, focus=1.6, social=1.8, breadth=0.2, close=0.05, hesitate=0.005),
    _type("researcher", tempo_s=42, tempo_spread=0.8, depth=10, info=1.8, again=0.7, search=0.35, refine=0.4, add=-2.9,
          add_again=0.8, breadth=0.05, mobile=0.22, organic=2.0, peak_hour=14, returns=0.7, lag_h=18, hesitate=0.06),
    _type("cart_editor", tempo_s=19, depth=12, add=-0.6, cart=1.6, remove=1.2, basket=4.0, price=-0.8, checkout=0.35,
          close=0.55, proceed=0.65, again=0.5, hesitate=0.09, list=0.4),
)  # fmt: skip
TYPE_NAMES = tuple(kind.name for kind in BUYER_TYPES)

_HABITS = [field.name for field in fields(BuyerType) if field.name != "name"]
#: One row of habits as the simulation reads it.
HABITS = np.dtype([(name, np.float64) for name in _HABITS])
#: Habits that wrap around the clock cannot be averaged.
_CIRCULAR = ("peak_hour",)


def habits(overlap: float) -> npt.NDArray[np.void]:
    """Return the types as a (T + 1,) ``HABITS`` array; the last row is the average shopper, used on an off day.

    ``overlap`` in [0, 1] is the difficulty dial: every habit moves that share of the way to the average of all types,
    so 0 leaves the types as written and 1 makes them the same.
    """
    table = np.array([astuple(kind)[1:] for kind in BUYER_TYPES], dtype=np.float64)
    average = table.mean(axis=0)
    moved = table + overlap * (average - table)
    for name in _CIRCULAR:
        moved[:, _HABITS.index(name)] = table[:, _HABITS.index(name)]
    rows = np.vstack([moved, average])
    result = np.empty(len(rows), dtype=HABITS)
    for column, name in enumerate(_HABITS):
        result[name] = rows[:, column]
    return result
