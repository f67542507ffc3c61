"""The order and pace in which logged events come in again."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.event_log import TIMESTAMP
from streams.event_logs.arrival import Pace, by_received, shifted, times_ms

pytestmark = pytest.mark.fast

SCHEMA = pa.schema([("event_id", pa.string()), ("occurred_at", TIMESTAMP), ("received_at", TIMESTAMP)])


def batches(rows: list[tuple[int, int]], size: int) -> list[pa.RecordBatch]:
    columns = [
        pa.array([str(number) for number in range(len(rows))]),
        pa.array([occurred for occurred, _ in rows], pa.int64()).cast(TIMESTAMP),
        pa.array([received for _, received in rows], pa.int64()).cast(TIMESTAMP),
    ]
    whole = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
    return [whole.slice(start, size) for start in range(0, len(rows), size)]


events = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=40)


@given(events=events, size=st.integers(1, 50))
def test_events_come_in_the_order_of_reception_and_none_is_lost(events: list[tuple[int, int]], size: int) -> None:
    rows = sorted((occurred, occurred + delay) for occurred, delay in events)
    arrived = list(by_received(batches(rows, size)))
    assert [time for batch in arrived for time in times_ms(batch, "received").tolist()] == sorted(r for _, r in rows)
    order = [int(number) for batch in arrived for number in batch.column("event_id").to_pylist()]
    assert order == sorted(range(len(rows)), key=lambda number: (rows[number][1], number))


def test_memory_holds_only_what_is_under_way() -> None:
    """A batch is handed on as soon as the log has passed its events' arrival."""
    rows = [(number, number + 3) for number in range(100)]
    pending = iter(batches(rows, 10))
    taken = 0

    def counted() -> object:
        nonlocal taken
        for batch in pending:
            taken += 1
            yield batch

    stream = by_received(counted())  # type: ignore[arg-type]
    assert next(stream).num_rows == 6
    assert taken == 1


def test_an_event_received_before_it_occurred_comes_when_the_log_reaches_it() -> None:
    rows = [(10, 10), (20, 5), (30, 30)]
    arrived = [number for batch in by_received(batches(rows, 1)) for number in batch.column("event_id").to_pylist()]
    assert sorted(arrived) == ["0", "1", "2"]
    assert arrived[-1] == "2"


def test_shifting_moves_both_times_and_nothing_else() -> None:
    (batch,) = batches([(10, 15), (20, 21)], 2)
    moved = shifted(batch, 1_000)
    assert times_ms(moved, "occurred").tolist() == [1_010, 1_020]
    assert times_ms(moved, "received").tolist() == [1_015, 1_021]
    assert moved.column("event_id").equals(batch.column("event_id"))
    assert shifted(batch, 0) is batch


@pytest.mark.parametrize(
    ("speed", "due"),
    [(1.0, [100.0, 100.5, 102.0]), (2.0, [100.0, 100.25, 101.0]), (None, [100.0, 100.0, 100.0])],
)
def test_events_are_due_at_the_pace_asked_for(speed: float | None, due: list[float]) -> None:
    (batch,) = batches([(5_000, 0), (5_500, 0), (7_000, 0)], 3)
    assert Pace(speed, 5_000, 100.0).due_s(times_ms(batch, "occurred")).tolist() == due
