"""Writer schemas are asked for when they are met, and none of them, or their absence, stops a reader."""

import logging

import pytest

from schemas.click_codec import encode_click
from schemas.packaged import CLICK_EVENT_ID, Schema, packaged_schema
from schemas.rejections import REASONS
from schemas.slices import Slices
from streams.broker.click_reader import ASKED_AT_ONCE, ClickReader

pytestmark = pytest.mark.fast

CLICK = {
    "event_id": "e", "merchant_id": "m", "client_id": "c", "event_name": "page_viewed",
    "occurred_at": 1_700_000_000_000, "received_at": 1_700_000_000_000,
}  # fmt: skip
GOOD, LACKING, UNKNOWN = 7, 8, 9


class Schemas:
    """A registry in a dictionary, which remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        lacking = packaged_schema(CLICK_EVENT_ID)
        lacking["fields"] = lacking["fields"][1:]
        self.known: dict[int, Schema] = {GOOD: packaged_schema(CLICK_EVENT_ID), LACKING: lacking}

    def find(self, schema_id: int) -> Schema | None:
        self.asked.append(schema_id)
        return self.known.get(schema_id)


def record(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + encode_click(CLICK)[5:]


def reasons(reader: ClickReader, values: list[bytes]) -> list[str]:
    return [REASONS[fault] for fault in reader.read(Slices.of(values)).batch.fault.tolist()]


def test_a_schema_is_learnt_when_its_first_record_comes() -> None:
    schemas = Schemas()
    reader = ClickReader(schemas.find)
    assert reasons(reader, [encode_click(CLICK)]) == [""]
    assert schemas.asked == []
    assert reasons(reader, [record(GOOD), encode_click(CLICK)]) == ["", ""]
    assert reasons(reader, [record(GOOD)]) == [""]
    assert schemas.asked == [GOOD]


def test_without_a_registry_other_schemas_are_unknown() -> None:
    assert reasons(ClickReader(), [record(GOOD), encode_click(CLICK)]) == ["unknown_schema", ""]


def test_a_schema_that_cannot_be_read_is_named_once_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    schemas = Schemas()
    reader = ClickReader(schemas.find)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = reasons(reader, [record(LACKING), record(UNKNOWN), record(GOOD)])
            assert found == ["unknown_schema", "unknown_schema", ""]
    [told] = caplog.messages
    assert told.startswith("Records of schema 8 are rejected: Schema 'ClickEvent' lacks event_id")
    assert schemas.asked.count(LACKING) == 1


def test_garbage_that_looks_like_many_ids_hides_no_schema_of_many_records() -> None:
    schemas = Schemas()
    values = [record(1_000 + number) for number in range(1_000)]
    values[500:500] = [record(GOOD)] * 2
    found = reasons(ClickReader(schemas.find), values)
    assert found[500:502] == ["", ""]
    assert len(schemas.asked) == ASKED_AT_ONCE
