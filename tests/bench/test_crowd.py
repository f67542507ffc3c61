"""Crowds: the log's own sessions, many at a time, at one rate from the first second to the last."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from bench.crowd import Crowd, make_crowd

GAP_MS = 1_800_000
CROWD = Crowd(events_per_s=400.0, seconds=60.0, speed_up=2.0, delay_speed_up=60.0, name="x", seed=1)


def milliseconds(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(pc.cast(table.column(name), pa.int64()))


@pytest.fixture(scope="module")
def crowd(small_log: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    out = tmp_path_factory.mktemp("crowd") / "crowd.parquet"
    made = make_crowd(small_log, GAP_MS, CROWD, out)
    table = pq.read_table(out)
    assert table.num_rows == made
    return table


def test_the_rate_is_the_one_asked_for_at_the_beginning_as_at_the_end(crowd: pa.Table) -> None:
    at_ms = milliseconds(crowd, "occurred_at")
    per_third = np.histogram(at_ms - at_ms[0], bins=3, range=(0.0, 60_000.0))[0] / 20.0
    assert len(at_ms) == pytest.approx(24_000, rel=0.1)
    assert per_third == pytest.approx([400.0] * 3, rel=0.2)


def test_events_come_in_event_time_order_within_the_time_asked_for(crowd: pa.Table) -> None:
    at_ms, arrives_ms = milliseconds(crowd, "occurred_at"), milliseconds(crowd, "received_at")
    assert (np.diff(at_ms) >= 0).all()
    assert np.maximum(at_ms, arrives_ms).max() - at_ms[0] <= 60_000


def test_shoppers_click_twice_as_fast_as_in_the_log(small_log: Path, crowd: pa.Table) -> None:
    def pauses_ms(table: pa.Table) -> np.ndarray:
        names = pc.binary_join_element_wise(table.column("merchant_id"), table.column("client_id"), "|")
        client = np.asarray(names.combine_chunks().dictionary_encode().indices)
        at_ms = milliseconds(table, "occurred_at")
        order = np.lexsort((at_ms, client))
        pauses = np.diff(at_ms[order])[np.diff(client[order]) == 0]
        return pauses[(pauses > 0) & (pauses <= GAP_MS)]

    # Between quantiles that neither duplicates nor the end of the crowd reach.
    ratio = np.quantile(pauses_ms(pq.read_table(small_log)), 0.4) / np.quantile(pauses_ms(crowd), 0.4)
    assert ratio == pytest.approx(2.0, rel=0.25)


def test_an_event_id_belongs_to_one_client_however_often_its_session_is_drawn(crowd: pa.Table) -> None:
    clients_of_id = crowd.group_by("event_id").aggregate([("client_id", "count_distinct")])
    assert pc.max(clients_of_id.column("client_id_count_distinct")).as_py() == 1
    drawn = crowd.group_by("client_id").aggregate([]).num_rows
    assert drawn > 1_000


def test_the_same_seed_makes_the_same_crowd(small_log: Path, crowd: pa.Table, tmp_path: Path) -> None:
    make_crowd(small_log, GAP_MS, CROWD, tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").equals(crowd)
