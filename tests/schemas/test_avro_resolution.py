"""Which writer schemas a reader accepts, and what is said about the others."""

from typing import Any

import pytest

from schemas.avro_columns import ColumnarDecoder, UnsupportedSchemaError
from schemas.packaged import CLICK_EVENT_ID, packaged_schema

pytestmark = pytest.mark.fast

READER = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "size", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "score", "type": "double"},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}
TREES = {"type": "array", "items": "Tree"}
EMPTY = {
    "type": "record",
    "name": "Empty",
    "fields": [{"name": "a", "type": "null"}, {"name": "b", "type": {"type": "fixed", "name": "F", "size": 0}}],
}


def writer(**types: Any) -> dict[str, Any]:
    """The reader's schema with some fields of other types, None for a field that is not there."""
    known = {field["name"]: field["type"] for field in READER["fields"]}  # type: ignore[index]
    fields = [{"name": name, "type": kind} for name, kind in (known | types).items() if kind is not None]
    return {"type": "record", "name": "W", "fields": fields}


@pytest.mark.parametrize(
    "types",
    [
        {},
        {"note": None},
        {"note": "bytes"},
        {"at": "int"},
        {"at": ["long", "null"]},
        {"score": "float"},
        {"id": {"type": "string", "avro.java.string": "String"}},
        {"added": {"type": "map", "values": "string"}, "also": ["null", "double"]},
        {"added": {"type": "array", "items": {"type": "enum", "name": "a.b.E", "symbols": ["A"]}}, "also": "a.b.E"},
        {"added": {"type": "record", "name": "Tree", "fields": [{"name": "left", "type": ["null", "Tree"]}]}},
        {
            "added": {
                "type": "record",
                "name": "Tree",
                "fields": [{"name": "of", "type": {"type": "array", "items": "Tree"}}],
            }
        },
    ],
)
def test_a_schema_that_fits_is_learnt(types: dict[str, Any]) -> None:
    decoder = ColumnarDecoder(READER)
    decoder.learn(9, writer(**types))
    assert decoder.knows(9)


@pytest.mark.parametrize(
    ("types", "says"),
    [
        ({"id": None}, "lacks id"),
        ({"tags": None, "size": None}, "lacks size, tags"),
        ({"size": "long"}, "'size' changed to a type"),
        ({"at": "string"}, "'at' changed"),
        ({"at": "double"}, "'at' changed"),
        ({"score": "long"}, "'score' changed"),
        ({"note": {"type": "map", "values": "string"}}, "'note' changed"),
        ({"tags": "string"}, "'tags' changed"),
        ({"size": "boolean"}, "'size' changed"),
        ({"tags": {"type": "map", "values": "long"}}, "'tags' has type"),
        ({"note": {"type": "array", "items": "string"}}, "'note' has type"),
        ({"note": {"type": "enum", "name": "E", "symbols": ["A"]}}, "'note' has type"),
        ({"note": "null"}, "'note' has type"),
        ({"note": ["string", "long"]}, "'note' has type"),
        ({"note": ["null", "string", "long"]}, "'note' has type"),
        ({"note": ["null"]}, "'note' has type"),
        ({"note": ["null", ["null", "string"]]}, "'note' has type"),
        ({"added": {"type": "Other"}}, "'Other'} is not an Avro type"),
        ({"added": {"type": "array"}}, "is not an Avro type"),
        ({"added": {"type": "array", "items": "null"}}, "array of values without bytes"),
        ({"added": {"type": "array", "items": EMPTY}}, "array of values without bytes"),
        ({"added": 7}, "7 is not an Avro type"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused_by_name(types: dict[str, Any], says: str) -> None:
    decoder = ColumnarDecoder(READER)
    with pytest.raises(UnsupportedSchemaError, match=says):
        decoder.learn(9, writer(**types))
    assert not decoder.knows(9)


@pytest.mark.parametrize("fields", [None, "id", [{"name": "id"}], ["id"]])
def test_a_record_without_proper_fields_is_refused(fields: Any) -> None:
    with pytest.raises(UnsupportedSchemaError, match="has no list of named and typed fields"):
        ColumnarDecoder(READER).learn(9, {"type": "record", "name": "W", "fields": fields})


@pytest.mark.parametrize("schema", ["string", {"type": "array", "items": "string"}, ["null", "string"], None])
def test_a_schema_that_is_no_record_is_refused(schema: Any) -> None:
    with pytest.raises(UnsupportedSchemaError, match="is not a record"):
        ColumnarDecoder(READER).learn(9, schema)


def test_a_reader_whose_default_is_no_slice_of_the_data_is_refused() -> None:
    reader = packaged_schema(CLICK_EVENT_ID)
    reader["fields"].append({"name": "channel", "type": "string", "default": "web"})
    with pytest.raises(UnsupportedSchemaError, match="'channel' has the default 'web'"):
        ColumnarDecoder(reader)
