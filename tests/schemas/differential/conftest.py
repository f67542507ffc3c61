"""Random Avro, valid in every layout the specification allows and spoilt in every way we could think of.

Every differential test takes ``SIMPERSONA_TEST_RECORDS`` byte strings made from ``SIMPERSONA_TEST_SEED``; without them
a few seconds' worth. A long run, one process per seed:

    SIMPERSONA_TEST_RECORDS=500000 SIMPERSONA_TEST_SEED=7 pytest -s tests/schemas/differential
"""

import math
import os
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from schemas.packaged import Schema
from schemas.taxonomy import ALIASES, DEVICES, EVENT_CODES, REFERRERS

LONG_RUN = int(os.environ.get("SIMPERSONA_TEST_RECORDS", "0"))
SEED = int(os.environ.get("SIMPERSONA_TEST_SEED", "1"))
#: Byte strings decoded at once, as a chunk would be.
ROUND = 2_000

NOON_MS = 1_700_000_000_000
INTS = (0, 1, -1, 63, -64, 64, -65, 8_191, 2**31 - 1, -(2**31), 2**24 + 1)
LONGS = (*INTS, 2**31, -(2**31) - 1, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1)
HUGE = (-1, -(2**63), 2**63 - 1, 2**31, 2**40, 10**9, -5, 2**62)
ALPHABETS = ("abcxyz019-", "äßé", "東京都", "🛒💸", "\x00\x1f\x7f|", "Ａ\u202e\ufeff")
BROKEN_UTF8 = (b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"\xff", b"\xf0\x80\x80\xaf")
EVENT_NAMES = (*EVENT_CODES, *(alias for names in ALIASES.values() for alias in names))


def framed(schema_id: int, body: bytes) -> bytes:
    """A body behind Confluent's header."""
    return b"\x00" + struct.pack(">I", schema_id) + body


class RandomAvro:
    """Records of any schema, also in layouts that a writer seldom uses: padded varints, several blocks, sized ones.

    A block's size is untrue now and then, which no damage done afterwards would often bring about.
    """

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)
        self._named: dict[str, Any] = {}

    def varint(self, value: int) -> bytes:
        rest = ((value << 1) ^ (value >> 63)) & (2**64 - 1)
        groups = [rest & 0x7F]
        while rest := rest >> 7:
            groups.append(rest & 0x7F)
        if self.random.random() < 0.01:
            groups += [0] * self.random.randint(0, 10 - len(groups))
        return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])

    def text(self) -> str:
        r = self.random
        if r.random() < 0.02:
            length = r.choice((255, 256, 257, 300, 2_000))
            return "a" * length if r.random() < 0.5 else "é" * (length // 2)
        return "".join(r.choices(r.choice(ALPHABETS), k=r.randint(0, 20)))

    def value(self, kind: str, name: str) -> Any:
        """A value of a primitive type; what it is named makes it likely to be usable as a click's field."""
        r = self.random
        if kind in ("string", "bytes"):
            return self.text_value(kind, name)
        if kind == "long" and name.endswith("_at") and r.random() < 0.95:
            return NOON_MS + r.randint(-(10**9), 10**9)
        if kind == "int":
            return r.choice(INTS) if r.random() < 0.5 else r.randint(-(2**31), 2**31 - 1)
        if kind == "long":
            return r.choice(LONGS) if r.random() < 0.3 else r.randint(-(2**20), 2**45)
        if kind == "boolean":
            return r.random() < 0.3
        return r.choice((0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e-40, r.uniform(-1e9, 1e9)))

    def text_value(self, kind: str, name: str) -> bytes:
        r = self.random
        if name == "event_name" and r.random() < 0.97:
            return r.choice(EVENT_NAMES).encode()
        if name in ("device", "referrer_kind") and r.random() < 0.8:
            return r.choice(DEVICES if name == "device" else REFERRERS).encode()
        if kind == "bytes" and r.random() < 0.03:
            return r.randbytes(r.randint(0, 12))
        return self.text().encode() or (b"x" if name.endswith("_id") and r.random() < 0.95 else b"")

    def field(self, schema: Any, name: str = "") -> bytes:
        """One encoded value of a type."""
        r = self.random
        if isinstance(schema, list):
            branch = r.randrange(len(schema))
            return self.varint(branch) + self.field(schema[branch], name)
        if isinstance(schema, dict):
            self._named[schema.get("name", "")] = schema
            match schema["type"]:
                case "map":
                    return self.blocks(lambda: self.field("string") + self.field(schema["values"]))
                case "array":
                    return self.blocks(lambda: self.field(schema["items"]))
                case "record":
                    return self.body(schema)
                case "enum":
                    return self.varint(r.randrange(len(schema["symbols"])))
                case "fixed":
                    return r.randbytes(schema["size"])
            return self.field(schema["type"], name)
        if schema == "null":
            return b""
        if schema in self._named:
            return self.field(self._named[schema])
        value = self.value(schema, name)
        if schema in ("string", "bytes"):
            return self.varint(len(value)) + value
        if schema == "boolean":
            return b"\x01" if value else b"\x00"
        if schema in ("int", "long"):
            return self.varint(value)
        return struct.pack("<f" if schema == "float" else "<d", value)

    def blocks(self, item: Callable[[], bytes]) -> bytes:
        r, out = self.random, b""
        for _ in range(r.choice((0, 0, 1, 1, 2, 3))):
            items = [item() for _ in range(r.randint(1, 3))]
            body = b"".join(items)
            if r.random() < 0.4:
                untrue = r.random() < 0.01
                out += self.varint(-len(items)) + self.varint(len(body) + (r.choice((-1, 1, 7)) if untrue else 0))
            else:
                out += self.varint(len(items))
            out += body
        return out + self.varint(0)

    def body(self, schema: Mapping[str, Any]) -> bytes:
        """One encoded record."""
        return b"".join([self.field(field["type"], field["name"]) for field in schema["fields"]])

    def spoilt(self, value: bytes, other: bytes) -> bytes:
        """A record's bytes with something done to them; by chance they may be a record still."""
        r = self.random
        at = r.randint(0, len(value))
        match r.randrange(10):
            case 0:
                return value[:at]
            case 1:
                spoilt = bytearray(value)
                for _ in range(r.choice((1, 1, 1, 2, 8))):
                    spoilt[r.randrange(len(spoilt))] ^= 1 << r.randrange(8)
                return bytes(spoilt)
            case 2:
                return value[:at] + self.varint(r.choice(HUGE)) + value[at + r.randint(0, 2) :]
            case 3:
                tail = r.choice((b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80\x00"))
                return value[:at] + b"\xff" * r.choice((4, 8, 9, 10)) + tail + value[at + 1 :]
            case 4:
                return value + r.randbytes(r.randint(1, 4))
            case 5:
                return value[:at] + other[r.randint(0, len(other)) :]
            case 6:
                return value[:5] + r.randbytes(r.randint(0, 60))
            case 7:
                return r.choice((b"", value[:4], b"\x01" + value[1:], r.randbytes(r.randint(0, 8)), other[5:]))
            case 8:
                broken = r.choice(BROKEN_UTF8)
                return value[:at] + broken + value[at + len(broken) :]
            case _:
                return value[:at] + r.randbytes(r.randint(1, 3)) + value[at + r.randint(0, 3) :]

    def rounds(self, schemas: Mapping[int, Schema], count: int, hostile: float = 0.5) -> Iterator[list[bytes]]:
        """Framed records of some schemas by the round, a share of them spoilt."""
        ids = list(schemas)
        previous = framed(0, b"\x00")
        for start in range(0, count, ROUND):
            values = []
            for _ in range(min(ROUND, count - start)):
                schema_id = self.random.choice(ids)
                value = framed(schema_id, self.body(schemas[schema_id]))
                if self.random.random() < hostile:
                    value = self.spoilt(value, previous)
                else:
                    previous = value
                values.append(value)
            yield values


@pytest.fixture
def random_avro() -> RandomAvro:
    """A maker of records, its seed the run's."""
    return RandomAvro()


@pytest.fixture(params=[pytest.param(4_000, marks=pytest.mark.fast), 40_000], ids=["quick", "long"])
def count(request: pytest.FixtureRequest) -> int:
    """How many byte strings a test looks at."""
    usual: int = request.param
    return LONG_RUN if LONG_RUN and usual == 40_000 else usual
