"""The strict reference is fastavro with the rules that fastavro leaves out, and nothing else."""

import io
from typing import Any

import fastavro

from schemas.framing import HEADER_BYTES
from schemas.packaged import CLICK_EVENT_ID, packaged_schema

#: Rules that fastavro keeps as well; a record that breaks any other may still pass it.
KEPT_BY_FASTAVRO = {"short", "utf-8", "length"}


def plain(value: Any) -> Any:
    """A value without the branch of its union, and NaN as something equal to itself."""
    if isinstance(value, tuple):
        return plain(value[1])
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return "NaN" if value != value else value


def with_more(schema: dict[str, Any]) -> dict[str, Any]:
    """A click with fields of every other shape, its times as plain numbers, for which fastavro has a shorter range."""
    fields = [field | ({"type": "long"} if field["name"].endswith("_at") else {}) for field in schema["fields"]]
    axes = [{"name": "x", "type": "double"}, {"name": "y", "type": "float"}]
    more = {
        "blob": "bytes",
        "channel": {"type": "enum", "name": "Channel", "symbols": ["WEB", "APP", "SHOP"]},
        "hash": {"type": "fixed", "name": "Hash", "size": 5},
        "path": {"type": "array", "items": {"type": "record", "name": "Point", "fields": axes}},
        "choice": ["null", "long", "Channel", "Point", {"type": "map", "values": "int"}],
    }
    added = [{"name": name, "type": kind} for name, kind in more.items()]
    return {"type": "record", "name": "More", "fields": [*fields, *added]}


def test_fastavro_reads_what_the_reference_reads(random_avro: Any, strict_avro: Any, count: int) -> None:
    schema = with_more(packaged_schema(CLICK_EVENT_ID))
    reference, parsed = strict_avro(schema), fastavro.parse_schema(schema)
    accepted = lenient = 0
    for values in random_avro.rounds({1: schema}, count):
        for value in values:
            body = io.BytesIO(value[HEADER_BYTES:])
            failure: Exception | None = None
            try:
                read = plain(fastavro.schemaless_reader(body, parsed, None))
            except Exception as error:  # whatever its parser stumbles over
                failure = error
            left = body.read()
            try:
                expected = plain(reference.written(value[HEADER_BYTES:]))
            except strict_avro.Malformed as rule:
                passed = failure is None and not left
                assert not (passed and str(rule) in KEPT_BY_FASTAVRO), (value.hex(), rule)
                lenient += passed
                continue
            assert failure is None and not left and read == expected, (value.hex(), failure)
            accepted += 1
    assert accepted > count / 3
    assert lenient, "some records pass fastavro and are malformed all the same"
