"""Records of any schema: random readers, writers that fit them, and the columns that the strict reader would make."""

from typing import Any

import numpy as np
import pytest

from schemas.avro_columns import NULL_INT, NULL_LENGTH, ColumnarDecoder, Columns
from schemas.framing import schema_ids
from schemas.packaged import Schema
from schemas.slices import Slices

PRIMITIVES = ("string", "long", "int", "boolean", "bytes", "float", "double")
TEXT_MAP = {"type": "map", "values": "string"}
DEFAULTS = {"string": "", "long": -7, "int": 7, "boolean": True, "bytes": "", "float": 0.5, "double": -0.5}
#: What a writer may have had before, or have later, where the reader has this type.
FITTING = {"long": ("long", "int"), "double": ("double", "float"), "string": ("string", "bytes")}
FITTING["bytes"] = FITTING["string"]
WRITER_ID = 5
#: Records of one pair of schemas.
RECORDS = 400


def random_type(random: Any, name: str) -> tuple[Any, Any]:
    """A field type that is read, and a default that fits it."""
    if random.random() < 0.1:
        return TEXT_MAP, {}
    kind = random.choice(PRIMITIVES)
    if random.random() < 0.4:
        return ["null", kind], None
    return (kind if random.random() < 0.9 else {"type": kind, "logicalType": "custom"}), DEFAULTS[kind]


def random_reader(random: Any) -> Schema:
    fields: list[dict[str, Any]] = []
    for number in range(random.randint(1, 10)):
        kind, default = random_type(random, f"f{number}")
        field = {"name": f"f{number}", "type": kind}
        fields.append(field | {"default": default} if random.random() < 0.7 else field)
    return {"type": "record", "name": "Any", "fields": fields}


def random_writer(random: Any, reader: Schema) -> Schema:
    """A schema whose records the reader must be able to read."""
    fields = []
    for field in reader["fields"]:
        if "default" in field and random.random() < 0.3:
            continue
        kind = field["type"]
        plain = next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind
        name = plain["type"] if isinstance(plain, dict) else plain
        if name != "map":
            plain = random.choice(FITTING.get(name, (name,)))
        nullable = random.random() < 0.5
        fields.append({"name": field["name"], "type": random.choice((["null", plain], [plain, "null"]))})
        if not nullable:
            fields[-1]["type"] = plain
    fields += [{"name": f"new{number}", "type": random_type(random, "")[0]} for number in range(random.randint(0, 3))]
    random.shuffle(fields)
    return {"type": "record", "name": "Any", "fields": fields}


def read(columns: Columns, decoder: ColumnarDecoder, reader: Schema, data: bytes, row: int) -> dict[str, Any]:
    """One row of the columns as the reader's record, maps left out."""
    found: dict[str, Any] = {}
    for field in reader["fields"]:
        name = field["name"]
        if name not in decoder.row_of:
            continue
        at, kind = decoder.row_of[name], str(field["type"])
        if "string" in kind or "bytes" in kind:
            start, length = int(columns.starts[at, row]), int(columns.lengths[at, row])
            found[name] = None if length == NULL_LENGTH else data[start : start + length]
        elif "float" in kind or "double" in kind:
            found[name] = float(columns.floats[at, row])
        else:
            value = int(columns.ints[at, row])
            found[name] = None if value == NULL_INT and "null" in kind else value
    return found


def wanted(record: dict[str, Any], reader: Schema) -> dict[str, Any]:
    """The strict reader's record as columns hold it: text as bytes, null floats as NaN."""
    out: dict[str, Any] = {}
    for field in reader["fields"]:
        name, kind, value = field["name"], str(field["type"]), record[field["name"]]
        if "map" in kind:
            continue
        if isinstance(value, str):
            value = value.encode()
        elif "float" in kind or "double" in kind:
            value = np.nan if value is None else float(value)
        elif isinstance(value, int) and "null" in kind:
            value = max(int(value), NULL_INT + 1)
        out[name] = value
    return out


def same(ours: Any, theirs: Any) -> bool:
    return bool(ours == theirs or (ours != ours and theirs != theirs))


def test_any_schema_is_read_alike(random_avro: Any, strict_avro: Any, count: int) -> None:
    accepted = 0
    for _ in range(count // RECORDS):
        reader = random_reader(random_avro.random)
        writer = random_writer(random_avro.random, reader)
        decoder, reference = ColumnarDecoder(reader), strict_avro(writer, reader)
        decoder.learn(WRITER_ID, writer)
        [values] = random_avro.rounds({WRITER_ID: writer}, RECORDS)
        joined = Slices.of(values)
        columns, raw = decoder.decode(joined, schema_ids(joined)), joined.data.tobytes()
        for row, value in enumerate(values):
            try:
                if value[:5] != b"\x00\x00\x00\x00\x05":
                    raise strict_avro.Malformed("frame")
                expected = wanted(reference.read(value[5:]), reader)
            except strict_avro.Malformed as error:
                assert not columns.ok[row], (writer, reader, value.hex(), error)
                continue
            assert columns.ok[row], (writer, reader, value.hex())
            found = read(columns, decoder, reader, raw, row)
            assert found.keys() == expected.keys()
            wrong = [name for name in found if not same(found[name], expected[name])]
            assert not wrong, (writer, reader, value.hex(), wrong)
            accepted += 1
    assert accepted > count / 10


@pytest.mark.fast
def test_a_thousand_small_numbers_in_every_padding(random_avro: Any, strict_avro: Any) -> None:
    schema: Schema = {"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}
    decoder, reference = ColumnarDecoder(schema), strict_avro(schema, schema)
    decoder.learn(WRITER_ID, schema)
    bodies = []
    for first in range(256):
        for groups in range(12):
            bodies += [bytes([first | 0x80, *[0x80] * groups, last]) for last in (0, 1, 2, 0x7F)]
    values = Slices.of([b"\x00\x00\x00\x00\x05" + body for body in bodies])
    columns = decoder.decode(values, schema_ids(values))
    for row, body in enumerate(bodies):
        try:
            expected: int | None = reference.read(body)["n"]
        except strict_avro.Malformed:
            expected = None
        assert (int(columns.ints[0, row]) if columns.ok[row] else None) == expected, body.hex()
