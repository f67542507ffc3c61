"""Click topics: decoder and strict reference say the same about every byte string, and see the same in every click."""

import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest

from schemas.click_codec import NOT_AN_EVENT, ClickDecoder
from schemas.events import FLAG_BOT, EventBatch
from schemas.hashing import hash_column
from schemas.packaged import CLICK_EVENT_ID, WATERMARK_ID, Schema, packaged_schema
from schemas.rejections import REASONS
from schemas.slices import Slices
from schemas.taxonomy import ALIASES, DEVICES, EVENT_CODES, REFERRERS

CODES = EVENT_CODES | {alias: EVENT_CODES[name] for names in ALIASES.values() for alias, name in names.items()}
OLDER, NEWER, OTHER, WIDER = 77, 78, 79, 80
Verdict = tuple[str, dict[str, Any]]


def evolved() -> dict[int, Schema]:
    """Writer schemas that may be met: the packaged one, an older, a newer, one of other but fitting types, and one with
    new fields of every shape there is.
    """
    older, newer, other, wider = (packaged_schema(CLICK_EVENT_ID) for _ in range(4))
    gone = {"properties", "is_bot", "schema_version", "referrer_kind", "price_minor", "category"}
    older["fields"] = [field for field in older["fields"] if field["name"] not in gone]
    added = {
        "experiment": ["null", "string"],
        "score": "double",
        "blob": ["bytes", "null"],
        "labels": ["null", {"type": "map", "values": "string"}],
        "weight": ["float", "null"],
        "position": "int",
        "seen": ["null", "boolean"],
    }
    for number, (name, kind) in enumerate(added.items()):
        newer["fields"].insert(3 * number, {"name": name, "type": kind})
    types: dict[str, Any] = {
        "event_id": "bytes",
        "merchant_id": ["string", "null"],
        "client_id": ["null", "bytes"],
        "occurred_at": ["null", "long"],
        "category": "string",
        "query": "bytes",
        "price_minor": "int",
        "quantity": ["int", "null"],
        "is_bot": ["boolean", "null"],
        "properties": [{"type": "map", "values": "string"}, "null"],
    }
    item_fields = [{"name": "id", "type": "string"}, {"name": "n", "type": "int"}]
    step_fields = [{"name": "n", "type": "long"}, {"name": "next", "type": ["null", "Step"]}]
    shapes: dict[str, Any] = {
        "channel": {"type": "enum", "name": "Channel", "symbols": ["WEB", "APP", "SHOP"]},
        "fingerprint": {"type": "fixed", "name": "Fingerprint", "size": 7},
        "items": {"type": "array", "items": {"type": "record", "name": "Item", "fields": item_fields}},
        "first_item": ["null", "Item"],
        "path": [{"type": "record", "name": "Step", "fields": step_fields}, "null"],
        "choice": ["string", "long", "null", "Channel", "double", "Fingerprint", "boolean", "bytes"],
        "counts": {"type": "map", "values": ["null", "long"]},
        "nothing": "null",
        "matrix": {"type": "array", "items": {"type": "array", "items": "float"}},
    }
    for number, (name, kind) in enumerate(shapes.items()):
        wider["fields"].insert(2 * number, {"name": name, "type": kind})
    other["fields"] = [field | {"type": types.get(field["name"], field["type"])} for field in other["fields"]][::-1]
    return {CLICK_EVENT_ID: packaged_schema(CLICK_EVENT_ID), OLDER: older, NEWER: newer, OTHER: other, WIDER: wider}


WRITERS = evolved()


def is_usual(time_ms: int) -> bool:
    return 946_684_800_000 <= time_ms < 4_102_444_800_000


def judged(click: dict[str, Any]) -> str:
    """The product's own rules for a record that is a ClickEvent."""
    lengths = [len(click[name].encode()) for name in ("event_id", "merchant_id", "client_id")]
    if min(lengths) == 0:
        return "empty_id"
    if max(lengths) > 256:
        return "oversized_id"
    if click["event_name"] not in CODES:
        return "unknown_event"
    if not (is_usual(click["occurred_at"]) and is_usual(click["received_at"])):
        return "bad_time"
    return "bad_price" if click["price_minor"] is not None and click["price_minor"] < 0 else ""


class Reference:
    """What the strict reader and the rules above say about values of a click topic."""

    def __init__(self, strict_avro: Any) -> None:
        click, watermark = packaged_schema(CLICK_EVENT_ID), packaged_schema(WATERMARK_ID)
        self._malformed = strict_avro.Malformed
        self._readers = {schema_id: strict_avro(writer, click) for schema_id, writer in WRITERS.items()}
        self._watermarks = strict_avro(watermark, watermark)
        #: How often each verdict was given, with the rule that was broken.
        self.verdicts: Counter[str] = Counter()

    def verdict(self, value: bytes) -> Verdict:
        """Return (reason or "", click), or ("watermark", record)."""
        schema_id = struct.unpack(">I", value[1:5])[0] if len(value) >= 5 and value[0] == 0 else -1
        found: Verdict = ("malformed_avro" if schema_id < 0 else "unknown_schema", {})
        rule = ": frame" if schema_id < 0 else ""
        try:
            if schema_id == WATERMARK_ID:
                record = self._watermarks.read(value[5:])
                found = ("watermark" if is_usual(record["watermark"]) else "bad_time", record)
            elif schema_id in self._readers:
                click = self._readers[schema_id].read(value[5:])
                found = (judged(click), click)
        except self._malformed as error:
            found, rule = ("malformed_avro", {}), f": {error}"
        self.verdicts[(found[0] or "accepted") + rule] += 1
        return found


def decoder() -> ClickDecoder:
    """A decoder that has learnt every writer schema."""
    made = ClickDecoder()
    for schema_id, writer in WRITERS.items():
        if schema_id != CLICK_EVENT_ID:
            made.learn(schema_id, writer)
    return made


def compare(clicks: ClickDecoder, reference: Reference, values: list[bytes]) -> None:
    """Fail on the first values about which decoder and reference differ, in verdict or in any column."""
    chunk = clicks.decode(values)
    verdicts = [reference.verdict(value) for value in values]
    found = ["watermark" if fault == NOT_AN_EVENT else REASONS[fault] for fault in chunk.batch.fault.tolist()]
    differing = [row for row, (expected, _) in enumerate(verdicts) if found[row] != expected]
    assert not differing, [(values[row].hex(), found[row], verdicts[row]) for row in differing[:3]]
    marks = [record["watermark"] for reason, record in verdicts if reason == "watermark"]
    assert chunk.watermark_ms == max(marks, default=None)
    rows = [row for row, (reason, _) in enumerate(verdicts) if not reason]
    compare_columns(chunk.batch, rows, [verdicts[row][1] for row in rows])


def compare_columns(batch: EventBatch, rows: list[int], expected: list[dict[str, Any]]) -> None:
    """Fail on the first column in which accepted clicks differ from what the reference read."""

    def column(name: str) -> list[Any]:
        return [click[name] for click in expected]

    times = zip(column("occurred_at"), column("received_at"), strict=True)
    prices = np.array([price or 0 for price in column("price_minor")], np.int64).astype(np.float32)
    columns = {
        "t": [min(pair) for pair in times],
        "id": hashes(column("event_id")),
        "product": hashes32(column("product_id")),
        "category": hashes32(column("category")),
        "query": hashes32(column("query")),
        "price": np.where([price is None for price in column("price_minor")], np.float32(np.nan), prices),
        "quantity": [min(max(quantity or 0, 0), 65_535) for quantity in column("quantity")],
        "event": [CODES[name] for name in column("event_name")],
        "device": [DEVICES.index(name) if name in DEVICES else 0 for name in column("device")],
        "referrer": [REFERRERS.index(name) if name in REFERRERS else 0 for name in column("referrer_kind")],
        "flags": [FLAG_BOT if bot else 0 for bot in column("is_bot")],
    }
    for name, values in columns.items():
        ours = batch.events[name][rows]
        theirs = np.asarray(values, dtype=ours.dtype)
        assert np.array_equal(ours, theirs, equal_nan=name == "price"), name
    assert batch.received_ms[rows].tolist() == column("received_at")
    assert [batch.merchant(row) for row in rows] == column("merchant_id")
    assert [batch.client(row) for row in rows] == column("client_id")
    keys = zip(column("merchant_id"), column("client_id"), strict=True)
    assert np.array_equal(batch.key_hash[rows], hashes([f"{merchant}\x1f{client}" for merchant, client in keys]))


def hashes(texts: list[str]) -> Any:
    values = Slices.of([text.encode() for text in texts])
    return hash_column(values.data, values.starts, values.lengths)


def hashes32(texts: list[str | None]) -> Any:
    """Hashes folded to 32 bits, never 0; 0 where there is no text."""
    full = hashes([text or "" for text in texts])
    folded = ((full ^ (full >> np.uint64(32))) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return np.where([not text for text in texts], 0, np.maximum(folded, 1))


def test_random_and_hostile_values_are_read_alike(random_avro: Any, strict_avro: Any, count: int) -> None:
    clicks, reference = decoder(), Reference(strict_avro)
    for values in random_avro.rounds(WRITERS | {WATERMARK_ID: packaged_schema(WATERMARK_ID)}, count):
        compare(clicks, reference, values)
    print(f"\n{count:,} values: " + ", ".join(f"{name} {n:,}" for name, n in reference.verdicts.most_common()))
    broken = {verdict.partition(": ")[2] for verdict in reference.verdicts}
    rules = {"frame", "short", "trailing", "varint", "length", "int", "boolean", "union", "utf-8", "block size"}
    assert broken >= rules | {"resolution", "enum"}, "every rule was broken by some value"
    assert reference.verdicts["accepted"] > count / 5
    assert reference.verdicts["watermark"]


@pytest.mark.fast
@pytest.mark.parametrize("schema_id", WRITERS)
def test_a_record_cut_at_any_byte_is_read_alike(random_avro: Any, strict_avro: Any, schema_id: int) -> None:
    clicks, reference = decoder(), Reference(strict_avro)
    for [value] in (next(random_avro.rounds({schema_id: WRITERS[schema_id]}, 1, hostile=0.0)) for _ in range(20)):
        compare(clicks, reference, [value[:end] for end in range(len(value) + 1)])


@pytest.mark.fast
def test_every_flipped_bit_is_read_alike(random_avro: Any, strict_avro: Any) -> None:
    clicks, reference = decoder(), Reference(strict_avro)
    for [value] in (next(random_avro.rounds(WRITERS, 1, hostile=0.0)) for _ in range(8)):
        flipped = [
            value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :] for at in range(len(value)) for bit in range(8)
        ]
        compare(clicks, reference, flipped)


@pytest.mark.fast
def test_values_nested_deeper_than_the_limit_are_rejected(random_avro: Any) -> None:
    link = {"type": "record", "name": "Link", "fields": [{"name": "next", "type": ["null", "Link"]}]}
    schema = packaged_schema(CLICK_EVENT_ID)
    [value] = next(random_avro.rounds({CLICK_EVENT_ID: schema}, 1, hostile=0.0))
    schema["fields"].append({"name": "chain", "type": link})
    clicks = ClickDecoder()
    clicks.learn(WIDER, schema)
    header = b"\x00" + struct.pack(">I", WIDER)
    chains = [header + value[5:] + b"\x02" * links + b"\x00" for links in (0, 63, 64, 100_000)]
    malformed = [REASONS[fault] == "malformed_avro" for fault in clicks.decode(chains).batch.fault.tolist()]
    assert malformed == [False, False, True, True]
