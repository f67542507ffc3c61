"""Event-log rows become the very bytes, keys and partitions that the reference writers make."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from encoders.event_log import ARROW_SCHEMA
from schemas.click_codec import encode_click
from schemas.topics import click_key
from streams.event_logs.click_records import ClickWriter, partition_of

pytestmark = pytest.mark.fast

text = st.text(max_size=12)
maybe = st.none() | text
clicks = st.fixed_dictionaries(
    {
        "event_id": text,
        "merchant_id": text,
        "client_id": text,
        "event_name": text,
        "occurred_at": st.integers(-(2**40), 2**42),
        "received_at": st.integers(-(2**40), 2**42),
        "product_id": maybe,
        "category": maybe,
        "price_minor": st.none() | st.integers(-(2**63), 2**63 - 1),
        "currency": maybe,
        "quantity": st.none() | st.integers(-(2**31), 2**31 - 1),
        "query": maybe,
        "url_path": maybe,
        "referrer_kind": maybe,
        "device": maybe,
        "is_bot": st.booleans(),
        "schema_version": st.integers(-(2**31), 2**31 - 1),
        "properties": st.dictionaries(text, text, max_size=3),
    }
)


def batch(rows: list[dict[str, object]]) -> pa.RecordBatch:
    columns = []
    for field in ARROW_SCHEMA:
        values = [row[field.name] for row in rows]
        is_time = field.name in ("occurred_at", "received_at")
        columns.append(pa.array(values, pa.int64()).cast(field.type) if is_time else pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=ARROW_SCHEMA)


@given(rows=st.lists(clicks, min_size=1, max_size=8), skip=st.integers(0, 7), partitions=st.integers(1, 9))
@settings(deadline=None)  # the first call may compile
def test_rows_are_written_as_the_reference_writes_them(
    rows: list[dict[str, object]], skip: int, partitions: int
) -> None:
    kept = rows[skip:]
    records = ClickWriter(partitions).records(batch(rows).slice(skip))
    assert records.values == [encode_click(row) for row in kept]
    assert records.keys == [click_key(str(row["merchant_id"]), str(row["client_id"])) for row in kept]
    assert records.partition.tolist() == [(murmur2(key) & 0x7FFFFFFF) % partitions for key in records.keys]


@given(st.binary(max_size=40), st.integers(1, 64))
@settings(deadline=None)
def test_a_key_lands_where_kafka_clients_put_it(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_absent_properties_are_an_empty_map() -> None:
    row: dict[str, object] = dict.fromkeys(ARROW_SCHEMA.names)
    now_ms = int(datetime(2026, 9, 7, tzinfo=UTC).timestamp() * 1000)
    row |= {"event_id": "e", "merchant_id": "m", "client_id": "c", "event_name": "page_viewed", "is_bot": False}
    row |= {"occurred_at": now_ms, "received_at": now_ms, "schema_version": 1}
    records = ClickWriter(3).records(batch([row, row]))
    assert records.values == [encode_click(row | {"properties": {}})] * 2
    assert records.partition.dtype == np.int32
