"""One click as JSON, read into the fields of a ClickEvent. Pure: no clock, no secret, no I/O."""

import json
from typing import Any

from infra.errors import ClickError
from schemas.taxonomy import ALIASES, EVENT_CODES

_CANONICAL = {name: name for name in EVENT_CODES} | {a: n for names in ALIASES.values() for a, n in names.items()}
_REQUIRED = ("event_id", "merchant_id", "client_id", "event_name", "occurred_at")
_OPTIONAL_TEXT = ("product_id", "category", "currency", "query", "url_path", "referrer_kind", "device")
#: Whole numbers and their bits in the Avro schema.
_OPTIONAL_WHOLE = {"price_minor": 64, "quantity": 32}
_TIME_BITS = 64
#: Characters of a value that its reason repeats.
_SHOWN = 40


def read_click(row: Any, received_ms: int) -> dict[str, Any]:
    """Return the ClickEvent of one JSON value, canonically named; ``client_id`` is as the client sent it.

    Raises ClickError with a sentence that names the field.
    """
    if not isinstance(row, dict):
        raise ClickError("An event must be a JSON object.")
    for name in _REQUIRED:
        if not row.get(name):
            raise ClickError(f"Field {name} is missing.")
    event_name = _text("event_name", row["event_name"])
    if event_name not in _CANONICAL:
        raise ClickError(f"Event {event_name!r} is in no known vocabulary.")
    given = {name: value for name, value in row.items() if value is not None}
    event: dict[str, Any] = {
        **{name: _text(name, given[name]) for name in ("event_id", "merchant_id", "client_id")},
        "event_name": _CANONICAL[event_name],
        "occurred_at": _whole("occurred_at", given["occurred_at"], _TIME_BITS),
        "received_at": received_ms,
        "is_bot": _truth("is_bot", given.get("is_bot", False)),
        "properties": _texts("properties", given.get("properties", {})),
    }
    event |= {name: _text(name, given[name]) for name in _OPTIONAL_TEXT if name in given}
    event |= {name: _whole(name, given[name], bits) for name, bits in _OPTIONAL_WHOLE.items() if name in given}
    return event


def _text(name: str, value: Any) -> str:
    """Return a text; a number, as which many shops write their ids, becomes one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ClickError(f"Field {name} must be text, not {_shown(value)}.")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClickError(f"Field {name} is no text: it holds half of a character (a lone surrogate).") from error
    return text


def _texts(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ClickError(f"Field {name} must be an object of texts, not {_shown(value)}.")
    return {_text(name, key): _text(name, one) for key, one in value.items()}


def _whole(name: str, value: Any, bits: int) -> int:
    """Return a whole number, also from digits as text or from a number such as 12.0."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise ClickError(f"Field {name} must be a whole number, not {_shown(value)}.")
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise ClickError(f"Field {name} does not fit into {bits} bits.")
    return number


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ClickError(f"Field {name} must be true or false, not {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
