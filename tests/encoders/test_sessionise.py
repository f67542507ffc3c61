from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.errors import EventLogError
from encoders.event_log import EventLogWriter
from encoders.sessionise import BOT_EVENTS, SessionLog, cut_sessions, read_sessions
from schemas.events import EVENT, FLAG_BOT

pytestmark = pytest.mark.fast

GAP_MS = 1000
START_MS = 1_700_000_000_000


def _cut(
    times_ms: list[int], keys: list[int] | None = None, ids: list[int] | None = None, cap: int = 512
) -> SessionLog:
    events = np.zeros(len(times_ms), EVENT)
    events["t"] = START_MS + np.array(times_ms, np.int64)
    events["id"] = ids if ids is not None else np.arange(len(times_ms)) + 1
    key = np.array(keys if keys is not None else [7] * len(times_ms), np.uint64)
    return cut_sessions(events, key, (key % 2).astype(np.int32), ("even", "odd"), GAP_MS, cap)


@pytest.mark.parametrize(
    ("times_ms", "lengths"),
    [
        ([0], [1]),
        ([0, 1000], [2]),  # exactly at the gap belongs
        ([0, 1001], [1, 1]),
        ([0, 900, 1800, 5000], [3, 1]),
    ],
)
def test_a_pause_over_the_gap_starts_a_new_session(times_ms: list[int], lengths: list[int]) -> None:
    assert _cut(times_ms).lengths.tolist() == lengths


def test_buyers_are_kept_apart() -> None:
    log = _cut([0, 1, 2, 3], keys=[1, 2, 1, 2])
    assert log.lengths.tolist() == [2, 2]
    assert [log.merchants[m] for m in log.merchant] == ["odd", "even"]


def test_a_session_is_cut_at_the_cap() -> None:
    assert _cut(list(range(0, 700, 100)), cap=3).lengths.tolist() == [3, 3, 1]


def test_a_retry_counts_once() -> None:
    assert _cut([0, 5, 5, 9], ids=[1, 2, 2, 3]).lengths.tolist() == [3]


def test_a_machine_is_left_out_and_a_quick_shopper_is_not() -> None:
    assert len(_cut([place * 100 for place in range(BOT_EVENTS)])) == 0
    assert len(_cut([place * 600 for place in range(BOT_EVENTS)])) == 1


def test_a_session_with_a_marked_event_is_left_out() -> None:
    events = np.zeros(3, EVENT)
    events["t"] = START_MS
    events["id"] = [1, 2, 3]
    events["flags"][1] = FLAG_BOT
    log = cut_sessions(events, np.array([1, 1, 2], np.uint64), np.zeros(3, np.int32), ("shop",), GAP_MS, 512)
    assert log.key.tolist() == [2]


@settings(deadline=None)  # machines under load are slow at times
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 3)), min_size=1, max_size=40), st.randoms())
def test_the_order_of_arrival_does_not_matter(rows: list[tuple[int, int]], random: Any) -> None:
    times, keys = [row[0] for row in rows], [row[1] for row in rows]
    order = list(range(len(rows)))
    random.shuffle(order)
    one = _cut(times, keys)
    other = _cut([times[i] for i in order], [keys[i] for i in order], [i + 1 for i in order])
    assert np.array_equal(one.batch().events, other.batch().events)
    assert np.array_equal(one.batch().offsets, other.batch().offsets)


def test_a_limit_keeps_whole_buyers() -> None:
    log = _cut([place * 5000 for place in range(60)], keys=[place % 10 for place in range(60)])
    few = log.limit(20, seed=1)
    assert len(few) == 18  # three buyers with six sessions each
    assert {int(count) for count in np.unique(few.key, return_counts=True)[1]} == {6}
    assert log.limit(60, seed=1) is log


@pytest.mark.parametrize("seed", range(8))
def test_a_buyer_of_too_many_sessions_does_not_end_the_choice(seed: int) -> None:
    keys = [0] * 50 + [1 + place // 2 for place in range(100)]
    log = _cut([place * 5000 for place in range(150)], keys=keys)
    few = log.limit(31, seed)
    assert len(few) == 30 and 0 not in few.key


def test_a_log_is_read_as_the_sessions_it_was_written_from(
    populate: Callable[[int, int, int], Any], as_table: Callable[[SessionLog], pa.Table], tmp_path: Path
) -> None:
    log = populate(2, 20, 1).log
    with EventLogWriter(tmp_path / "events.parquet") as writer:
        writer.write(as_table(log))
    told: list[int] = []
    found = read_sessions([tmp_path / "events.parquet"], 1_800_000, 512, told.append)
    assert sum(told) == len(log.events)
    assert found.merchants == log.merchants or set(found.merchants) == set(log.merchants)
    assert np.array_equal(np.sort(found.lengths), np.sort(log.lengths))
    assert len(np.unique(found.key)) == len(np.unique(log.key))


def test_an_absent_log_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"absent\.parquet"):
        read_sessions([tmp_path / "absent.parquet"], 1_800_000, 512)
