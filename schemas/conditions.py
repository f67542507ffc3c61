"""What a storefront asks of its shoppers beside the pages it has, in four numbers told by the merchant.

An event log does not show them: what others charge, what a banner promises, how lists are sorted, how long pages take.
A file of them goes beside the log, one JSON object a line:

    {"merchant_id": "shop-000", "price_level": 1.05, "free_shipping": true, "ranking": 0.8, "page_delay_s": 0.4}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from schemas.errors import SimpersonaError

#: Bounds of each number, both included.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "price_level": (0.2, 5.0),
    "ranking": (0.0, 1.0),
    "page_delay_s": (0.0, 30.0),
}


class ConditionsError(SimpersonaError):
    """A file of storefront conditions is missing, or says something that cannot be."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """One storefront's conditions. The defaults are those of a storefront of which nothing is told.

    price_level    its prices over those that shoppers expect for the same goods
    free_shipping  whether a banner promises it
    ranking        quality of its lists: 1 sorted by what shoppers like, 0 at random
    page_delay_s   seconds that every page takes longer than an immediate one
    """

    price_level: float = 1.0
    free_shipping: bool = False
    ranking: float = 1.0
    page_delay_s: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConditionsError when a number is out of its bounds."""
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConditionsError(f"{name} is {value}, expected {low:g} to {high:g}.")

    def to_json(self) -> dict[str, Any]:
        """Return the conditions as a JSON object; ``from_json`` takes it back."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Conditions":
        """Return the conditions of a JSON object; what is not named has its default. Raises ConditionsError."""
        known = {field.name for field in fields(Conditions)}
        unknown = sorted(set(value) - known)
        if unknown:
            raise ConditionsError(f"{unknown[0]!r} is no condition of a storefront; known are {', '.join(known)}.")
        for name, given in value.items():
            is_number = isinstance(given, int | float) and not isinstance(given, bool)
            if name == "free_shipping" and not isinstance(given, bool):
                raise ConditionsError(f"free_shipping is {given!r}, expected true or false.")
            if name != "free_shipping" and not is_number:
                raise ConditionsError(f"{name} is {given!r}, expected a number.")
        return Conditions(**value)


#: What holds where nobody said anything.
NOTHING_TOLD = Conditions()


def write_conditions(path: Path, told: Mapping[str, Conditions]) -> None:
    """Write the conditions of storefronts by merchant id, one JSON object a line."""
    lines = [json.dumps({"merchant_id": merchant} | conditions.to_json()) for merchant, conditions in told.items()]
    path.write_text("".join(line + "\n" for line in lines))


def read_conditions(paths: Sequence[Path]) -> dict[str, Conditions]:
    """Return the conditions in files by merchant id. Raises ConditionsError, naming the line."""
    told: dict[str, Conditions] = {}
    for path in paths:
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise ConditionsError(f"{path}: no conditions there ({error.strerror}); name another file.") from error
        except UnicodeDecodeError as error:
            raise ConditionsError(f"{path}: no text; write a line of JSON a merchant.") from error
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
                merchant = value.pop("merchant_id")
                told[merchant] = Conditions.from_json(value)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ConditionsError(f"{path}, line {number}: no JSON object with a merchant_id; mend it.") from error
            except ConditionsError as error:
                raise ConditionsError(f"{path}, line {number}: {error}") from error
    return told
