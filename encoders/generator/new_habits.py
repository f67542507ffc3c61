"""A planted change of behaviour: the same kinds of shoppers, in the same numbers, going about it in another way.

Nothing here touches who comes when (arrivals, returns, promotions, devices, referrers), so a mix of buyer types stays
what it was: only the clicks of the types named below change.
"""

from collections.abc import Mapping

#: Quicker pages for everybody: factor on the median seconds on a page.
TEMPO_FACTOR = 0.7
#: What types do once they have wholly changed; habits that are not named stay.
NEW_HABITS: Mapping[str, Mapping[str, float]] = {
    # An assistant brings them straight to the product: hardly a search any more.
    "mission_buyer": {"land_product": 7.0, "land_search": 0.8, "search": 0.15, "refine": 0.1, "cart": 0.6},
    # Filters on the lists instead of another query.
    "query_refiner": {"land_list": 5.0, "land_search": 0.6, "list": 2.2, "search": 0.5, "refine": 0.3, "breadth": 0.02},
    # What they want to know now stands on the product page.
    "researcher": {"info": 0.4, "again": 1.6, "search": 0.02},
    # The cart as a shortlist.
    "comparer": {"again": 1.5, "add": -0.6, "remove": 1.6, "cart": 1.2},
    # They ask where they used to leaf.
    "window_shopper": {"list": 0.5, "search": 1.6, "refine": 0.5, "land_search": 3.0},
    "deal_sniper": {"land_list": 1.0, "land_product": 6.0, "list": 0.6, "again": 0.3},
    # One page for the whole checkout.
    "hesitant_payer": {"checkout": 1.0, "proceed": 0.6, "complete": 0.55, "cart": 1.2, "hesitate": 0.1},
    "cart_editor": {"cart": 0.9, "remove": 1.6, "again": 0.6},
}
