"""Clicks as bytes: what goes in comes out, hostile bytes never crash, and nothing lenient slips through."""

import io
import math
import struct
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.click_codec import (
    NOT_AN_EVENT,
    ClickDecoder,
    decode_click,
    encode_click,
    encode_watermark,
)
from schemas.events import FLAG_BOT
from schemas.hashing import hash32, hash64
from schemas.packaged import CLICK_EVENT_ID, packaged_schema
from schemas.rejections import CODE_OF_REASON, REASONS
from schemas.taxonomy import ALIASES, DEVICES, EVENT_CODES, EVENT_NAMES, REFERRERS

pytestmark = pytest.mark.fast

NOON_MS = 1_700_000_000_000
CLICK: dict[str, Any] = {
    "event_id": "e-1",
    "merchant_id": "north",
    "client_id": "c-1",
    "event_name": "product_viewed",
    "occurred_at": NOON_MS,
    "received_at": NOON_MS + 1_000,
    "product_id": "p-1",
    "category": "shoes",
    "price_minor": 4_990,
    "currency": "EUR",
    "quantity": 2,
    "query": None,
    "url_path": "/p/1",
    "referrer_kind": "search",
    "device": "mobile",
    "is_bot": False,
    "schema_version": 1,
    "properties": {"list": "home"},
}

_text = st.text(max_size=20)
_id = st.text(min_size=1, max_size=20)
clicks = st.fixed_dictionaries(
    {
        "event_id": _id,
        "merchant_id": _id,
        "client_id": _id,
        "event_name": st.sampled_from(EVENT_NAMES[1:]),
        "occurred_at": st.integers(NOON_MS, NOON_MS + 10**10),
        "received_at": st.integers(NOON_MS, NOON_MS + 10**10),
        "product_id": st.none() | _text,
        "category": st.none() | _text,
        "price_minor": st.none() | st.integers(0, 2**40),
        "currency": st.none() | st.just("USD"),
        "quantity": st.none() | st.integers(0, 2**31 - 1),
        "query": st.none() | _text,
        "url_path": st.none() | _text,
        "referrer_kind": st.none() | st.sampled_from(REFERRERS),
        "device": st.none() | st.sampled_from(DEVICES),
        "is_bot": st.booleans(),
        "schema_version": st.integers(-(2**31), 2**31 - 1),
        "properties": st.dictionaries(_text, _text, max_size=3),
    }
)


def reason_of(value: bytes) -> str:
    return REASONS[int(ClickDecoder().decode([value]).batch.fault[0])]


@given(st.lists(clicks, max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_click_decodes_to_what_fastavro_says(rows: list[dict[str, Any]]) -> None:
    values = [encode_click(row) for row in rows]
    batch = ClickDecoder().decode(values).batch
    assert len(batch) == len(rows)
    for i, value in enumerate(values):
        row = decode_click(value)
        event = batch.events[i]
        assert batch.fault[i] == 0
        assert batch.merchant(i) == row["merchant_id"] and batch.client(i) == row["client_id"]
        assert event["t"] == min(row["occurred_at"], row["received_at"])  # type: ignore[type-var]
        assert batch.received_ms[i] == row["received_at"]
        assert event["id"] == hash64(str(row["event_id"]).encode())
        for name in ("product", "category", "query"):
            text = row["product_id" if name == "product" else name]
            assert event[name] == (hash32(str(text).encode()) if text else 0)
        price = row["price_minor"]
        assert math.isnan(event["price"]) if price is None else event["price"] == np.float32(price)  # type: ignore[arg-type]
        assert event["quantity"] == min(row["quantity"] or 0, 65_535)  # type: ignore[type-var]
        assert event["event"] == EVENT_CODES[str(row["event_name"])]
        assert DEVICES[event["device"]] == (row["device"] or "unknown")
        assert REFERRERS[event["referrer"]] == (row["referrer_kind"] or "unknown")
        assert bool(event["flags"] & FLAG_BOT) == row["is_bot"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"event_id": ""}, "empty_id"),
        ({"merchant_id": ""}, "empty_id"),
        ({"client_id": ""}, "empty_id"),
        ({"client_id": "c" * 256}, ""),
        ({"client_id": "c" * 257}, "oversized_id"),
        ({"event_name": "danced"}, "unknown_event"),
        ({"event_name": ""}, "unknown_event"),
        ({"occurred_at": 946_684_799_999}, "bad_time"),
        ({"occurred_at": 946_684_800_000}, ""),
        ({"received_at": 4_102_444_800_000}, "bad_time"),
        ({"price_minor": -1}, "bad_price"),
        ({"price_minor": 0}, ""),
        ({"price_minor": -(2**63)}, "bad_price"),  # the number that stands for an absent price in columns
    ],
)
def test_a_well_formed_click_is_judged(change: dict[str, Any], reason: str) -> None:
    assert reason_of(encode_click(CLICK | change)) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "malformed_avro"),
        (b"\x00\x00\x00", "malformed_avro"),
        (b"\x01" + encode_click(CLICK)[1:], "malformed_avro"),
        (b"\x00" + struct.pack(">I", 99) + encode_click(CLICK)[5:], "unknown_schema"),
        (encode_click(CLICK) + b"\x00", "malformed_avro"),
        (encode_click(CLICK)[:-1], "malformed_avro"),
        (encode_click(CLICK).replace(b"north", b"nor\xff\xfe"), "malformed_avro"),
    ],
)
def test_bytes_that_are_no_click_are_named(value: bytes, reason: str) -> None:
    assert reason_of(value) == reason


def test_a_fast_clock_is_cut_back_to_the_time_of_receipt() -> None:
    batch = ClickDecoder().decode([encode_click(CLICK | {"occurred_at": NOON_MS + 9_000})]).batch
    assert batch.events["t"][0] == NOON_MS + 1_000


def test_watermarks_are_taken_out_of_the_clicks() -> None:
    chunk = ClickDecoder().decode([encode_watermark(NOON_MS), encode_click(CLICK), encode_watermark(NOON_MS + 5)])
    assert chunk.watermark_ms == NOON_MS + 5
    assert chunk.batch.fault.tolist() == [NOT_AN_EVENT, 0, NOT_AN_EVENT]
    assert ClickDecoder().decode([encode_click(CLICK)]).watermark_ms is None


@pytest.mark.parametrize("watermark_ms", [-(2**63), 0, 946_684_799_999, 4_102_444_800_000, 2**63 - 1])
def test_a_watermark_that_cannot_be_meant_is_rejected(watermark_ms: int) -> None:
    chunk = ClickDecoder().decode([encode_watermark(watermark_ms), encode_watermark(NOON_MS)])
    assert chunk.watermark_ms == NOON_MS
    assert [REASONS[chunk.batch.fault[0]], chunk.batch.fault[1]] == ["bad_time", NOT_AN_EVENT]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (["null", "string"], "north", ""),
        (["null", "string"], None, "malformed_avro"),  # a union may hold null, an id may not
        ("bytes", "東".encode(), ""),
        ("bytes", b"nor\xed\xa0\x80th", "malformed_avro"),  # no UTF-8: decoding it as an id would raise later
    ],
)
def test_another_writers_id_must_be_a_text(kind: object, value: object, reason: str) -> None:
    writer = packaged_schema(CLICK_EVENT_ID)
    writer["fields"][1] |= {"type": kind}
    decoder = ClickDecoder()
    decoder.learn(76, writer)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), CLICK | {"merchant_id": value})
    batch = decoder.decode([b"\x00" + struct.pack(">I", 76) + out.getvalue()]).batch
    assert REASONS[batch.fault[0]] == reason
    if not reason:
        assert batch.merchant(0) == (value.decode() if isinstance(value, bytes) else value)


def test_bytes_written_with_an_older_schema_still_decode() -> None:
    older = packaged_schema(CLICK_EVENT_ID)
    gone = ("properties", "is_bot", "schema_version", "referrer_kind")
    older["fields"] = [field for field in older["fields"] if field["name"] not in gone]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(older), CLICK)
    decoder = ClickDecoder()
    decoder.learn(77, older)
    batch = decoder.decode([b"\x00" + struct.pack(">I", 77) + out.getvalue()]).batch
    assert batch.fault[0] == 0 and batch.client(0) == "c-1"
    assert batch.events["flags"][0] == 0 and batch.events["referrer"][0] == 0


def test_bytes_written_with_a_newer_schema_decode_without_its_new_fields() -> None:
    newer = packaged_schema(CLICK_EVENT_ID)
    newer["fields"].insert(3, {"name": "experiment", "type": ["null", "string"], "default": None})
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), CLICK | {"experiment": "blue-button"})
    decoder = ClickDecoder()
    decoder.learn(78, newer)
    batch = decoder.decode([b"\x00" + struct.pack(">I", 78) + out.getvalue()]).batch
    assert batch.fault[0] == 0 and batch.events["event"][0] == EVENT_CODES["product_viewed"]


@pytest.mark.parametrize("dialect", sorted(ALIASES))
def test_every_alias_means_a_canonical_event_and_decodes_as_it(dialect: str) -> None:
    assert set(ALIASES[dialect].values()) == set(EVENT_CODES)
    values = [encode_click(CLICK | {"event_name": alias}) for alias in ALIASES[dialect]]
    decoded = ClickDecoder().decode(values).batch.events["event"].tolist()
    assert decoded == [EVENT_CODES[name] for name in ALIASES[dialect].values()]


def test_reason_codes_are_positions() -> None:
    assert all(REASONS[code] == reason for reason, code in CODE_OF_REASON.items())
