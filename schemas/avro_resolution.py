"""Which of a writer's fields go where in a reader's columns: Avro's schema resolution, made once per writer schema.

Source: https://avro.apache.org/docs/1.12.0/specification/#schema-resolution. Record names are not compared: the topic
says what its records are. Whole numbers are not promoted to floating ones, for no reader of ours asks for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.avro_shapes import (
    BOOL,
    BYTES,
    DOUBLE,
    FLOAT,
    INT,
    KIND_OF_TYPE,
    LONG,
    NULL,
    TEXT,
    TEXT_MAP,
    Shapes,
    UnsupportedSchemaError,
    namespace_of,
)  # fmt: skip
from schemas.events import I64
from schemas.packaged import Schema

#: Where a union of a type and null has its null.
NOT_NULLABLE, NULL_FIRST, NULL_SECOND = range(3)
#: Target of a field that is read and not kept, and node of one that needs no other shape than its kind.
SKIP = -1
#: Kind of a field that is passed over by its shape.
OTHER = -1

#: (writer's kind, reader's kind) -> how the writer's bytes are read. Bytes for a text must be UTF-8 like text.
_READ_AS = {(kind, kind): kind for kind in (TEXT, LONG, INT, BOOL, BYTES, FLOAT, DOUBLE, TEXT_MAP)} | {
    (INT, LONG): INT,
    (FLOAT, DOUBLE): FLOAT,
    (TEXT, BYTES): TEXT,
    (BYTES, TEXT): TEXT,
}
#: The matrices of ``Columns``: whole numbers and booleans, floating numbers, slices of text. Maps are not kept.
INTS, FLOATS, SLICES = range(3)
_MATRIX_OF_KIND = {LONG: INTS, INT: INTS, BOOL: INTS, FLOAT: FLOATS, DOUBLE: FLOATS, TEXT: SLICES, BYTES: SLICES}


@dataclass(frozen=True, slots=True)
class Field:
    """One field that columns can keep; ``null`` says where its union has the null, ``default`` is the reader's."""

    name: str
    kind: int
    null: int
    has_default: bool
    default: object

    @property
    def matrix(self) -> int | None:
        """The matrix of columns it belongs to, None for a map."""
        return _MATRIX_OF_KIND.get(self.kind)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one writer's records are read.

    operations  (f, 5) int64, one row per field: kind or OTHER, place of null, row to fill or SKIP, whether null is
                allowed, node of an OTHER
    nodes       (k, 3) int64, children (c,) int64: see ``Shapes``
    """

    operations: I64
    nodes: I64
    children: I64


def fields_of(schema: Schema) -> list[Field]:
    """Return a reader's fields. Raises UnsupportedSchemaError, which names the field that columns cannot keep."""
    return [_field_of(field) for field in _declared(schema)]


def resolve(writer: Schema, reader: Mapping[str, Field], row_of: Mapping[str, int]) -> Plan:
    """Return how a writer's records become a reader's columns; ``row_of`` is a field's row in its matrix.

    Raises UnsupportedSchemaError, which names the field, when the two schemas do not match.
    """
    declared = _declared(writer)
    missing = {name for name, field in reader.items() if not field.has_default} - {field["name"] for field in declared}
    if missing:
        raise UnsupportedSchemaError(
            f"Schema {writer.get('name')!r} lacks {', '.join(sorted(missing))}; a record cannot do without."
        )
    shapes = Shapes(namespace_of(writer))
    operations = []
    for field in declared:
        # Also of fields that columns keep: types may be named in one field and used in another.
        node = shapes.add(field["type"])
        wanted = reader.get(field["name"])
        operations.append(
            (OTHER, NOT_NULLABLE, SKIP, True, node)
            if wanted is None
            else (*_operation(_field_of(field), wanted, row_of), SKIP)
        )
    return Plan(np.array(operations, dtype=np.int64).reshape(-1, 5), *shapes.tables())


def _declared(schema: Schema) -> list[dict[str, Any]]:
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        raise UnsupportedSchemaError(f"Schema {schema!r} is not a record; register the record's own schema.")
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(
        isinstance(field, dict) and {"name", "type"} <= set(field) for field in fields
    ):
        raise UnsupportedSchemaError(f"Schema {schema.get('name')!r} has no list of named and typed fields.")
    return fields


def _field_of(field: Mapping[str, Any]) -> Field:
    declared, null = field["type"], NOT_NULLABLE
    try:
        if isinstance(declared, list):
            null = (NULL_FIRST, NULL_SECOND)[declared.index("null")]
            [declared] = [branch for branch in declared if branch != "null"]
        kind = _kind_of(declared)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UnsupportedSchemaError(
            f"Field {field['name']!r} has type {field['type']!r}, which is not a primitive, a map of strings, or one "
            "of them or null; give it another type."
        ) from error
    return Field(field["name"], kind, null, "default" in field, field.get("default"))


def _kind_of(declared: Any) -> int:
    """Return the kind of a type without its union with null. Raises KeyError or TypeError on any other shape."""
    while isinstance(declared, Mapping):
        if declared["type"] == "map" and declared["values"] == "string":
            return TEXT_MAP
        declared = declared["type"]
    kind = KIND_OF_TYPE[declared]
    if kind == NULL:
        raise KeyError(declared)
    return kind


def _operation(field: Field, wanted: Field, row_of: Mapping[str, int]) -> tuple[int, int, int, bool]:
    kind = _READ_AS.get((field.kind, wanted.kind))
    if kind is None:
        raise UnsupportedSchemaError(
            f"Field {field.name!r} changed to a type that cannot be read as the former one; give the new field a new "
            "name."
        )
    return kind, field.null, row_of.get(field.name, SKIP), wanted.null != NOT_NULLABLE
