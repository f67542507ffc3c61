"""What a shopper can do next, as a closed list: the alphabet that traces are written in and simulators speak.

An action says which event comes next and how it relates to the shopper's own session so far: a product seen before or
a new one, of the same category or another, cheaper or dearer than those looked at. It names no product and no shop,
so that it means the same everywhere; the storefront turns it into a click on a product of its own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product

import numba as nb
import numpy as np

from agent_runtime.errors import TraceError
from schemas.taxonomy import EVENT_CODES

#: Relation of an action's product, category or query to the session so far.
NEW, SAME, RETURN = "new", "same", "return"
CATEGORY_RELATIONS = (SAME, NEW, RETURN)
#: A price against the mean of those looked at: beyond these ratios it is lower or higher.
PRICE_RELATIONS = ("lower", "similar", "higher")
PRICE_LOWER, PRICE_HIGHER = 0.8, 1.25
QUANTITIES = ("one", "many")


@dataclass(frozen=True, slots=True)
class Action:
    """One move. ``item`` is the relation of its product (or query), empty where the event has none."""

    event: str
    item: str = ""
    category: str = ""
    price: str = ""
    quantity: str = ""

    @property
    def name(self) -> str:
        """Short text, unique among all actions: ``product_viewed:new:same:lower``."""
        return ":".join(part for part in (self.event, self.item, self.category, self.price, self.quantity) if part)

    @property
    def event_code(self) -> int:
        """Code of the event in ``schemas.taxonomy``."""
        return EVENT_CODES[self.event]

    def to_json(self) -> dict[str, str]:
        """Return the action as a small JSON object without its empty parts; ``from_json`` takes it back."""
        return {key: value for key, value in asdict(self).items() if value}

    @staticmethod
    def from_json(value: Mapping[str, str]) -> "Action":
        """Return the action of a JSON object. Raises TraceError when it is none of ``ACTIONS``."""
        try:
            return ACTIONS[ACTION_INDEX[Action(**value).name]]
        except (TypeError, KeyError) as error:
            raise TraceError(f"{dict(value)!r} is no action; expected the fields of one of {len(ACTIONS)}.") from error


#: All actions. The order is part of the file format of a trained simulator: append, never insert.
ACTIONS: tuple[Action, ...] = (
    Action("page_viewed"),
    *(Action("collection_viewed", category=category) for category in CATEGORY_RELATIONS),
    *(Action("search_submitted", item) for item in (NEW, SAME)),
    *(
        Action("product_viewed", NEW, category, price)
        for category, price in product(CATEGORY_RELATIONS, PRICE_RELATIONS)
    ),
    Action("product_viewed", SAME),
    *(Action("product_viewed", RETURN, price=price) for price in PRICE_RELATIONS),
    *(
        Action("product_added_to_cart", item, quantity=quantity)
        for item, quantity in product((SAME, RETURN, NEW), QUANTITIES)
    ),
    Action("product_removed_from_cart"),
    Action("cart_viewed"),
    Action("checkout_started"),
    Action("payment_info_submitted"),
    Action("checkout_completed"),
)
ACTION_INDEX = {action.name: index for index, action in enumerate(ACTIONS)}
#: Where an event's actions stand: they are neighbours.
ACTIONS_OF = {
    event: slice(events.index(event), events.index(event) + events.count(event))
    for events in [[action.event for action in ACTIONS]]
    for event in EVENT_CODES
}

#: Upper bounds of the pauses before an action, in seconds; the last bucket ends at the session gap.
PACE_BOUNDS_S = (1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 25.0, 40.0, 70.0, 120.0, 240.0, 600.0)
PACES = len(PACE_BOUNDS_S) + 1
_PACE_BOUNDS_MS = np.array(PACE_BOUNDS_S) * 1000.0
#: Pauses shorter than this are not told apart when one is drawn from the first bucket.
PACE_FLOOR_MS = 100.0

#: A session begins on a weekday or at a weekend, in one of eight dayparts of three hours (UTC): 16 moments.
DAYPART_HOURS = 3
DAYPARTS = 24 // DAYPART_HOURS
MOMENTS = 2 * DAYPARTS
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_DAY_OF_EPOCH = 3  # 1 January 1970 was a Thursday; Monday is 0
_SATURDAY = 5


def pace_of(gap_ms: int) -> int:
    """Return the bucket of a pause in milliseconds; a pause at a bound belongs to the longer bucket."""
    return int(np.searchsorted(_PACE_BOUNDS_MS, gap_ms, side="right"))


@nb.njit(cache=True, nogil=True)
def gap_ms_of(pace: int, unit: float, longest_ms: int) -> int:
    """Return a pause of bucket ``pace``: log-uniform within it, at ``unit`` of [0, 1), at most ``longest_ms``."""
    low = PACE_FLOOR_MS if pace == 0 else float(_PACE_BOUNDS_MS[pace - 1])
    high = float(longest_ms) if pace == PACES - 1 else min(float(_PACE_BOUNDS_MS[pace]), float(longest_ms))
    return min(int(low * (high / low) ** unit), int(high) - 1) if high > low else int(high)


def moment_of(t_ms: int) -> int:
    """Return the moment of the week of a time (UTC): the daypart, plus 8 on Saturdays and Sundays."""
    weekend = (t_ms // DAY_MS + _DAY_OF_EPOCH) % 7 >= _SATURDAY
    return int(t_ms % DAY_MS // (DAYPART_HOURS * HOUR_MS)) + DAYPARTS * int(weekend)
