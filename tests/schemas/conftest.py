"""A second reader of Avro, as plain and as strict as the specification allows: what every other one is held against.

Source: https://avro.apache.org/docs/1.12.0/specification/ (binary encoding, schema resolution). fastavro reads the same
records but is lenient: it accepts trailing bytes, ints beyond 32 bits, negative enum and union indices, booleans above
1, varints of any length and block sizes that are not true. This reader shares no code with it or with the product.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Value = Any
Read = Callable[[bytes, int], tuple[Value, int]]

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_VARINT_BYTES = 10
_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class MalformedError(Exception):
    """Some bytes are no record of the schema; the argument says which rule they break."""


def varint(data: bytes, pos: int) -> tuple[int, int]:
    """A zig-zag long in at most ten bytes that fits 64 bits; leading zero groups are not forbidden."""
    value = 0
    for group in range(_VARINT_BYTES):
        if pos >= len(data):
            raise MalformedError("short")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << 7 * group
        if byte < 0x80:
            if value >= 2**64:
                raise MalformedError("varint")
            return (value >> 1) ^ -(value & 1), pos
    raise MalformedError("varint")


def _int(data: bytes, pos: int) -> tuple[int, int]:
    value, pos = varint(data, pos)
    if not _INT_MIN <= value <= _INT_MAX:
        raise MalformedError("int")
    return value, pos


def _boolean(data: bytes, pos: int) -> tuple[bool, int]:
    if pos >= len(data):
        raise MalformedError("short")
    if data[pos] > 1:
        raise MalformedError("boolean")
    return data[pos] == 1, pos + 1


def _fixed(size: int) -> Read:
    def read(data: bytes, pos: int) -> tuple[bytes, int]:
        if pos + size > len(data):
            raise MalformedError("short")
        return data[pos : pos + size], pos + size

    return read


def _number(layout: str) -> Read:
    size = struct.calcsize(layout)

    def read(data: bytes, pos: int) -> tuple[float, int]:
        if pos + size > len(data):
            raise MalformedError("short")
        return struct.unpack_from(layout, data, pos)[0], pos + size

    return read


def _bytes(data: bytes, pos: int) -> tuple[bytes, int]:
    size, pos = varint(data, pos)
    if size < 0:
        raise MalformedError("length")
    if pos + size > len(data):
        raise MalformedError("short")
    return data[pos : pos + size], pos + size


def _string(data: bytes, pos: int) -> tuple[str, int]:
    raw, pos = _bytes(data, pos)
    try:
        return raw.decode("utf-8"), pos
    except UnicodeDecodeError:
        raise MalformedError("utf-8") from None


_PRIMITIVES: dict[str, Read] = {
    "null": lambda data, pos: (None, pos),
    "boolean": _boolean,
    "int": _int,
    "long": varint,
    "float": _number("<f"),
    "double": _number("<d"),
    "bytes": _bytes,
    "string": _string,
}


def _blocks(item: Read) -> Read:
    """Items of an array or map: blocks until one of none; a negative count comes with the block's size in bytes."""

    def read(data: bytes, pos: int) -> tuple[list[Value], int]:
        items = []
        while True:
            count, pos = varint(data, pos)
            if count == 0:
                return items, pos
            end = None
            if count < 0:
                size, pos = varint(data, pos)
                if size < 0:
                    raise MalformedError("block size")
                count, end = -count, pos + size
            for _ in range(count):
                value, pos = item(data, pos)
                items.append(value)
            if end not in (None, pos):
                raise MalformedError("block size")

    return read


def _compile(schema: Any, named: dict[str, Read]) -> Read:
    if isinstance(schema, str) and schema not in _PRIMITIVES:
        # Looked up when it is read: a type may name itself.
        return lambda data, pos: named[schema](data, pos)
    if isinstance(schema, list):
        branches = [_compile(branch, named) for branch in schema]

        def union(data: bytes, pos: int) -> tuple[tuple[int, Value], int]:
            branch, pos = _int(data, pos)
            if not 0 <= branch < len(branches):
                raise MalformedError("union")
            value, pos = branches[branch](data, pos)
            return (branch, value), pos

        return union
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _compile(kind, named)
    if kind == "record":
        fields = [(field["name"], _compile(field["type"], named)) for field in schema["fields"]]

        def record(data: bytes, pos: int) -> tuple[dict[str, Value], int]:
            values = {}
            for name, read in fields:
                values[name], pos = read(data, pos)
            return values, pos

        named[schema["name"]] = record
        return record
    if kind == "map":
        value = _compile(schema["values"], named)

        def entry(data: bytes, pos: int) -> tuple[tuple[str, Value], int]:
            key, pos = _string(data, pos)
            found, pos = value(data, pos)
            return (key, found), pos

        entries = _blocks(entry)

        def mapping(data: bytes, pos: int) -> tuple[dict[str, Value], int]:
            pairs, pos = entries(data, pos)
            return dict(pairs), pos

        return mapping
    if kind == "array":
        return _blocks(_compile(schema["items"], named))
    if kind == "fixed":
        named[schema["name"]] = fixed = _fixed(schema["size"])
        return fixed
    if kind == "enum":
        symbols = schema["symbols"]

        def enum(data: bytes, pos: int) -> tuple[str, int]:
            index, pos = _int(data, pos)
            if not 0 <= index < len(symbols):
                raise MalformedError("enum")
            return symbols[index], pos

        named[schema["name"]] = enum
        return enum
    return _PRIMITIVES[kind]


def _resolve(writer: Any, reader: Any, value: Value) -> Value:
    """One value as the reader's type, by the specification's schema resolution; only primitives, unions and maps."""
    if isinstance(writer, list):
        branch, value = value
        return _resolve(writer[branch], reader, value)
    written = writer["type"] if isinstance(writer, dict) else writer
    options = reader if isinstance(reader, list) else [reader]
    names = [option["type"] if isinstance(option, dict) else option for option in options]
    if written in names:
        return value
    for name in names:
        if name in _PROMOTIONS.get(written, ()):
            if (written, name) == ("bytes", "string"):
                try:
                    return value.decode("utf-8")
                except UnicodeDecodeError:
                    raise MalformedError("utf-8") from None
            return value.encode() if (written, name) == ("string", "bytes") else value
    raise MalformedError("resolution")


class StrictAvro:
    """Reads the bodies of one writer's records as the fields of a reader, absent ones at the reader's default."""

    Malformed = MalformedError

    def __init__(self, writer: Mapping[str, Any], reader: Mapping[str, Any] | None = None) -> None:
        self._read = _compile(writer, {})
        self._writer = {field["name"]: field["type"] for field in writer["fields"]}
        self._reader = None if reader is None else list(reader["fields"])

    def written(self, body: bytes) -> dict[str, Value]:
        """The record as it was written; union values are (branch, value). Raises Malformed."""
        record, end = self._read(body, 0)
        if end != len(body):
            raise MalformedError("trailing")
        return record

    def read(self, body: bytes) -> dict[str, Value]:
        """The record as its reader sees it. Raises Malformed."""
        record = self.written(body)
        assert self._reader is not None
        return {
            field["name"]: _resolve(self._writer[field["name"]], field["type"], record[field["name"]])
            if field["name"] in record
            else field["default"]
            for field in self._reader
        }


@pytest.fixture(scope="session")
def strict_avro() -> type[StrictAvro]:
    """The reference reader."""
    return StrictAvro
