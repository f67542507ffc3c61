"""What a raw log's format says about itself: which files it has, and how their rows become clicks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a layout's ``values`` may give, with the SQL used where it does not. ``*_text`` is the value as the log wrote
#: it: a number that is there but cannot be read is a rejection, one that is absent is not. Rows of one client and event
#: name with the same ``group_key`` are one event.
DEFAULT_VALUES: Mapping[str, str] = {
    "event_id": "NULL::VARCHAR",
    "merchant_id": "getvariable('merchant')",
    "client_id": "NULL::VARCHAR",
    "raw_event": "NULL::VARCHAR",
    "occurred_text": "NULL::VARCHAR",
    "occurred_ms": "NULL::BIGINT",
    "received_text": "NULL::VARCHAR",
    "received_ms": "NULL::BIGINT",
    "product_id": "NULL::VARCHAR",
    "category": "NULL::VARCHAR",
    "price_text": "NULL::VARCHAR",
    "price_minor": "NULL::BIGINT",
    "currency": "NULL::VARCHAR",
    "quantity_text": "NULL::VARCHAR",
    "quantity": "NULL::INTEGER",
    "query": "NULL::VARCHAR",
    "url_path": "NULL::VARCHAR",
    "referrer_kind": "NULL::VARCHAR",
    "device": "NULL::VARCHAR",
    "is_bot": "false",
    "properties": "MAP {}::MAP(VARCHAR, VARCHAR)",
    "group_key": "NULL::VARCHAR",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of file of a format.

    columns    the columns it must have: of a header in any order (compared in lower case without punctuation, as
               ``values`` must write them); without a header exactly these; of JSON lines, the keys (any of them)
    values     canonical value -> SQL over ``rows`` (names as in DEFAULT_VALUES)
    delimiter  between fields; empty for JSON lines
    header     whether the first line names the columns
    rows       SQL of the log's rows; the view ``fields`` has the columns as text (NULL when empty), ``row`` (their
               order), ``line`` (their text) and ``malformed``; of JSON lines only those three. The variables
               ``merchant`` and ``day_ms`` can be read with ``getvariable``.
    required   columns that every accepted row has a value in
    impressions  raw event name of list impressions; they are written to a file of their own as well
    """

    columns: tuple[str, ...]
    values: Mapping[str, str]
    delimiter: str = ","
    header: bool = True
    rows: str = "SELECT * FROM fields"
    required: tuple[str, ...] = ()
    impressions: str | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """One format of raw logs.

    name         as given to ``import --format``; also the merchant where the log names none
    about        one line for people
    layouts      its kinds of files; each file's kind is found from its first line
    events       raw event name -> canonical name, or "" where the log's event has no canonical counterpart
    parts_ties   whether events of one client at one time are moved apart by a millisecond, in the log's own order
    needs_day    whether the log names no day, so that the file's name or the user must
    """

    name: str
    about: str
    layouts: tuple[Layout, ...]
    events: Mapping[str, str] = field(default_factory=dict)
    parts_ties: bool = True
    needs_day: bool = False
