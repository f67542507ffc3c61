"""The packaged Avro schemas and the ids that their records carry when no schema registry is configured."""

import json
from importlib import resources
from typing import Any

Schema = dict[str, Any]

#: A registry counts its ids from 1 and has all 31 bits; ours begin where none will come, or a fresh registry's second
#: schema would be taken for our Watermark.
_FIRST = 2_000_000_000
CLICK_EVENT_ID = _FIRST + 1
WATERMARK_ID = _FIRST + 2
SESSION_ASSIGNMENT_ID = _FIRST + 3
REJECTED_EVENT_ID = _FIRST + 4

_FILES = {
    CLICK_EVENT_ID: "click_event.avsc",
    WATERMARK_ID: "watermark.avsc",
    SESSION_ASSIGNMENT_ID: "session_assignment.avsc",
    REJECTED_EVENT_ID: "rejected_event.avsc",
}


def packaged_schema(schema_id: int) -> Schema:
    """Return one packaged schema as plain JSON. Raises KeyError on an id that is not ours."""
    schema: Schema = json.loads(resources.files("schemas").joinpath(_FILES[schema_id]).read_text())
    return schema


def packaged_schemas() -> dict[int, Schema]:
    """Return all packaged schemas by id."""
    return {schema_id: packaged_schema(schema_id) for schema_id in _FILES}
