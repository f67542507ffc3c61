"""The canonical event log: written whole or not at all, read merged, and equal to what the stream decodes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import EmptyLogError, EventLogError
from encoders.event_log import ARROW_SCHEMA, BATCH_COLUMNS, EventLogWriter, count_rows, read_batches, to_event_batch
from schemas.click_codec import ClickDecoder, encode_click
from schemas.rejections import CODE_OF_REASON

pytestmark = pytest.mark.fast

NOON_MS = 1_700_000_000_000


def rows(times: Sequence[int], prefix: str = "e") -> pa.Table:
    click = {"merchant_id": "shop", "client_id": "ann", "event_name": "page_viewed", "is_bot": False}
    return pa.Table.from_pylist(
        [
            {
                **click,
                "event_id": f"{prefix}{i}",
                "occurred_at": t,
                "received_at": t,
                "schema_version": 1,
                "properties": {},
            }
            for i, t in enumerate(times)
        ],
        schema=ARROW_SCHEMA,
    )


def log_of(path: Path, times: Sequence[int]) -> Path:
    with EventLogWriter(path) as writer:
        writer.write(rows(times, prefix=path.stem))
    return path


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = rows([1, 2, 2, 3]).set_column(
        17, ARROW_SCHEMA.field("properties"), pa.array([[("brand", "aqua")], [], [], []], ARROW_SCHEMA[17].type)
    )
    path = tmp_path / "log.parquet"
    with EventLogWriter(path) as writer:
        writer.write(table.slice(0, 2))
        writer.write(table.slice(2))
    assert pa.Table.from_batches(read_batches([path])).equals(table)
    assert count_rows([path, path]) == 8


@given(
    logs=st.lists(st.lists(st.integers(0, 12), max_size=30), min_size=1, max_size=4).filter(lambda logs: any(logs)),
    size=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_many_logs_are_read_in_time_then_file_then_row_order(
    logs: list[list[int]], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    paths = [log_of(folder / f"{i}.parquet", sorted(times)) for i, times in enumerate(logs)]
    batches = list(read_batches(paths, rows=size, columns=["event_id"]))
    expected = sorted((t, i, row) for i, times in enumerate(logs) for row, t in enumerate(sorted(times)))
    assert [e for batch in batches for e in batch.column(0).to_pylist()] == [f"{i}{row}" for _, i, row in expected]
    assert all(batch.num_rows == size for batch in batches[:-1])


def test_a_log_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    path, draw = tmp_path / "log.parquet", np.random.default_rng(0)
    place = ARROW_SCHEMA.get_field_index("event_id")
    with EventLogWriter(path) as writer:
        for part in range(80):
            ids = pa.array([draw.bytes(2_000).hex() for _ in range(100)])
            writer.write(rows([part] * 100).set_column(place, ARROW_SCHEMA.field(place), ids))
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in read_batches([path], rows=100))
    assert most < path.stat().st_size / 4


def test_an_unsorted_log_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"row 3 is earlier"), EventLogWriter(tmp_path / "log.parquet") as writer:
        writer.write(rows([1, 2]))
        writer.write(rows([1]))
    pq.write_table(rows([5, 9, 8]), tmp_path / "foreign.parquet")
    with pytest.raises(EventLogError, match=r"foreign\.parquet: not sorted by occurred_at \(row 3"):
        list(read_batches([tmp_path / "foreign.parquet"], rows=2))


def test_a_failed_write_leaves_the_old_log_and_nothing_else(tmp_path: Path) -> None:
    path = log_of(tmp_path / "log.parquet", [7])
    with pytest.raises(ZeroDivisionError), EventLogWriter(path) as writer:
        writer.write(rows([1, 2]))
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]
    assert count_rows([path]) == 1


def test_an_empty_log_is_said_to_be_empty(tmp_path: Path) -> None:
    with EventLogWriter(tmp_path / "log.parquet"):
        pass
    with pytest.raises(EmptyLogError, match="no events"):
        read_batches([tmp_path / "log.parquet"])


def test_a_missing_column_is_named_before_anything_is_read(tmp_path: Path) -> None:
    pq.write_table(rows([1]).drop_columns(["client_id", "query"]), tmp_path / "log.parquet")
    with pytest.raises(EventLogError, match="missing columns client_id, query"):
        read_batches([tmp_path / "log.parquet"])
    assert list(read_batches([tmp_path / "log.parquet"], columns=["event_id"]))


def test_a_column_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    table = rows([1])
    wrong = table.set_column(8, "price_minor", pa.array(["cheap"]))
    pq.write_table(wrong, tmp_path / "log.parquet")
    with pytest.raises(EventLogError, match="column price_minor should be int64, found string"):
        list(read_batches([tmp_path / "log.parquet"]))


def test_a_null_where_a_value_is_needed_is_named(tmp_path: Path) -> None:
    pq.write_table(rows([1]).set_column(1, "merchant_id", pa.nulls(1, pa.string())), tmp_path / "log.parquet")
    with pytest.raises(EventLogError, match="column merchant_id has 1 nulls"):
        list(read_batches([tmp_path / "log.parquet"]))


def test_a_file_that_is_no_log_or_is_absent_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(EventLogError, match="not a Parquet event log"):
        read_batches([tmp_path / "text.parquet"])
    with pytest.raises(EventLogError, match="there is no such file"):
        read_batches([tmp_path / "absent.parquet"])


TEXT = st.text(max_size=8)
CLICK = st.fixed_dictionaries(
    {
        "event_id": st.one_of(TEXT, st.just("x" * 257), st.just("é" * 128)),
        "merchant_id": st.one_of(TEXT, st.just("m" * 256)),
        "client_id": st.one_of(TEXT, st.just("c" * 300)),
        "event_name": st.sampled_from(
            ["page_viewed", "product_viewed", "Order Completed", "view_item", "nonsense", ""]
        ),
        "occurred_at": st.one_of(st.integers(NOON_MS, NOON_MS + 9), st.sampled_from([0, 4_102_444_800_000])),
        "received_at": st.one_of(st.integers(NOON_MS, NOON_MS + 9), st.just(946_684_799_999)),
        "product_id": st.none() | TEXT,
        "category": st.none() | TEXT,
        "price_minor": st.none() | st.integers(-2, 2**40) | st.just(-(2**63)),
        "currency": st.none() | st.just("USD"),
        "quantity": st.none() | st.integers(-(2**31), 2**31 - 1),
        "query": st.none() | TEXT,
        "url_path": st.none() | TEXT,
        "referrer_kind": st.none() | st.sampled_from(["search", "ads", "moon", ""]),
        "device": st.none() | st.sampled_from(["mobile", "fridge", ""]),
        "is_bot": st.booleans(),
        "schema_version": st.just(1),
        "properties": st.just({}),
    }
)


@given(clicks=st.lists(CLICK, max_size=12), cut=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_a_log_row_means_what_its_avro_record_means(clicks: list[dict[str, Any]], cut: int) -> None:
    batch = pa.RecordBatch.from_pylist(clicks, schema=ARROW_SCHEMA).slice(cut)
    ours = to_event_batch(batch.select(BATCH_COLUMNS))
    theirs = ClickDecoder().decode([encode_click(click) for click in clicks[cut:]]).batch
    assert len(ours) == len(theirs) == len(clicks[cut:])
    for name in ("received_ms", "key_hash", "fault", "merchant_length", "client_length"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert ours.events.tobytes() == theirs.events.tobytes()
    for row in range(len(ours)):
        assert (ours.merchant(row), ours.client(row)) == (theirs.merchant(row), theirs.client(row))


def test_each_fault_is_judged_as_the_stream_judges_it() -> None:
    good = rows([NOON_MS]).to_pylist()[0]
    faulty = {
        "": {},
        "empty_id": {"client_id": ""},
        "oversized_id": {"event_id": "x" * 257},
        "unknown_event": {"event_name": "page_eaten"},
        "bad_time": {"occurred_at": 0},
        "bad_price": {"price_minor": -1},
    }
    batch = pa.RecordBatch.from_pylist([good | change for change in faulty.values()], schema=ARROW_SCHEMA)
    assert to_event_batch(batch).fault.tolist() == [CODE_OF_REASON.get(reason, 0) for reason in faulty]
