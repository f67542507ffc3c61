"""One click at a time with fastavro, as every peer in Python reads them."""

import io
from collections.abc import Callable
from typing import Any

import fastavro

from schemas.framing import HEADER_BYTES
from schemas.packaged import CLICK_EVENT_ID, packaged_schema

#: First bytes of a click's value; the topic also holds the producers' watermark records, which peers pass over.
CLICK_HEADER = b"\x00" + CLICK_EVENT_ID.to_bytes(4, "big")


def click_reader() -> Callable[[bytes], dict[str, Any] | None]:
    """Return a function from a record's value to its fields, or None when it is no click.

    Times come as integers (milliseconds): a datetime of each would be work that no peer needs.
    """
    schema = packaged_schema(CLICK_EVENT_ID)
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    parsed = fastavro.parse_schema(schema)

    def read(value: bytes) -> dict[str, Any] | None:
        if not value.startswith(CLICK_HEADER):
            return None
        body = io.BytesIO(value)
        body.seek(HEADER_BYTES)
        click: dict[str, Any] = fastavro.schemaless_reader(body, parsed, None)
        return click

    return read
