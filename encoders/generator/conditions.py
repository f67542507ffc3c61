"""Planted answers to a storefront's conditions: what dearer goods, free shipping or a shorter checkout do to each type.

Without ``--conditions`` every number here is multiplied by zero, and traffic is what it was.
"""

from collections.abc import Mapping

import numpy as np

from schemas.conditions import Conditions

#: Spread of shops: log of the price level, share with a banner, longest page delay in seconds.
_PRICE_SPREAD, _SHIPPING_SHARE, _LONGEST_DELAY_S = 0.25, 0.45, 2.0

#: Habits that answer to conditions, all zero or more: log-odds of adding a product lost per unit of log price level;
#: log-odds of completing a checkout won by free shipping; of going on at a checkout without a payment step; log-odds
#: of adding lost to lists in no order; moves of patience that a second's wait costs at every page.
ANSWERS = ("to_price", "to_shipping", "to_step", "to_ranking", "to_delay")
_ANYBODY = dict(zip(ANSWERS, (5.0, 0.6, 0.8, 1.2, 0.12), strict=True))
#: Types that answer otherwise than anybody.
_OWN: Mapping[str, dict[str, float]] = {
    "mission_buyer": {"to_price": 4.0, "to_step": 1.2, "to_ranking": 1.8, "to_delay": 0.2},
    "impulse_buyer": {"to_price": 3.0, "to_step": 1.6, "to_delay": 0.3},
    "replenisher": {"to_price": 2.5, "to_shipping": 0.3, "to_step": 0.4, "to_ranking": 0.3},
    "deal_sniper": {"to_price": 10.0, "to_shipping": 1.2},
    "bulk_orderer": {"to_price": 4.0, "to_shipping": 0.2, "to_step": 0.3, "to_ranking": 0.6},
    "bargain_hunter": {"to_price": 10.0, "to_shipping": 1.2, "to_step": 0.2},
    "luxury_admirer": {"to_price": 0.0, "to_shipping": 0.0},
    "night_scroller": {"to_ranking": 2.0, "to_delay": 0.3},
    "researcher": {"to_price": 7.0, "to_delay": 0.02},
    "comparer": {"to_price": 8.0, "to_delay": 0.04},
    "gift_seeker": {"to_price": 2.5, "to_shipping": 0.8, "to_ranking": 2.0},
    "cart_parker": {"to_shipping": 1.2, "to_step": 0.8},
    "hesitant_payer": {"to_shipping": 0.9, "to_step": 1.4},
    "cart_editor": {"to_price": 6.0, "to_shipping": 0.9},
}


def answers(name: str) -> tuple[float, ...]:
    """Return a buyer type's ``ANSWERS``."""
    return tuple((_ANYBODY | _OWN.get(name, {}))[answer] for answer in ANSWERS)


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Return the conditions of one shop."""
    level, banner, ranking, delay = rng.random(4)
    return Conditions(
        price_level=round(float(np.exp(_PRICE_SPREAD * (2.0 * level - 1.0))), 4),
        free_shipping=bool(banner < _SHIPPING_SHARE),
        ranking=round(float(ranking), 4),
        page_delay_s=round(float(_LONGEST_DELAY_S * delay), 4),
    )
