"""The real logs give exactly the counts that their sources state. They are found through SIMPERSONA_DATA."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from encoders.adapters.formats import adapter_of
from encoders.adapters.importing import ImportReport, ImportTarget, import_log
from encoders.event_log import read_batches, to_event_batch
from schemas.settings import settings

GAP_MS = 1_800_000


def imported(format_name: str, name: str, folder: Path) -> tuple[ImportReport, pa.Table, ImportTarget]:
    path = settings().data / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set SIMPERSONA_DATA to the folder of real logs")
    target = ImportTarget(folder / "log.parquet", memory_mb=512)
    report = import_log(adapter_of(format_name), [path], target)
    table = pa.Table.from_batches(read_batches([target.out]))
    assert report.rejected == {}
    assert report.accepted == table.num_rows
    assert pc.count_distinct(table["event_id"]).as_py() == table.num_rows
    assert not any(to_event_batch(batch).fault.any() for batch in read_batches([target.out]))
    return report, table, target


def by_name(table: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(table["event_name"]).to_pylist()}


def sessions(table: pa.Table) -> int:
    """Sessions at a gap of half an hour."""
    order = table.select(["client_id", "occurred_at"]).sort_by(
        [("client_id", "ascending"), ("occurred_at", "ascending")]
    )
    times = pc.cast(order["occurred_at"], pa.int64()).to_numpy()
    clients = order["client_id"].to_numpy()
    return 1 + int(((times[1:] - times[:-1] > GAP_MS) | (clients[1:] != clients[:-1])).sum())


def sessions_named(table: pa.Table) -> int:
    """Sessions as the log itself names them."""
    named = pc.map_lookup(table["properties"].combine_chunks(), "session", "first")
    return (
        pa.table({"client": table["client_id"], "session": named})
        .group_by(["client", "session"])
        .aggregate([])
        .num_rows
    )


def test_rees46(tmp_path):
    report, table, _ = imported("rees46", "rees46_multicategory_2019oct/2019-Oct_first_2h50.csv.gz", tmp_path)
    assert (report.rows, report.collapsed, report.clients) == (17_434, 0, 4_504)
    assert by_name(table) == {"product_viewed": 17_055, "checkout_completed": 214, "product_added_to_cart": 165}
    assert pc.count_distinct(table["product_id"]).as_py() == 6_493
    assert f"{report.first:%F %T} {report.last:%F %T}" == "2019-10-01 00:00:00 2019-10-01 02:50:00"


def test_retailrocket(tmp_path):
    report, table, _ = imported("retailrocket", "retailrocket_sample/sample_events.csv.gz", tmp_path)
    assert (report.rows, report.clients, sessions(table)) == (9_385, 5_000, 6_229)
    assert by_name(table) == {"product_viewed": 9_076, "product_added_to_cart": 263, "checkout_completed": 40}
    assert report.collapsed == 46 - 40, "46 items were bought in 40 transactions"
    assert f"{report.first:%F} {report.last:%F}" == "2015-05-03 2015-09-18"


def test_ga360(tmp_path):
    report, table, target = imported("ga360", "google_merch_store_20170801/ga_sessions_20170801.csv.gz", tmp_path)
    assert (report.rows, report.clients) == (47_723, 1_542)
    assert sessions(table) == 1_674, "visits stay apart and whole at the usual gap"
    assert report.impressions == pq.read_metadata(target.impressions).num_rows == 42_796
    names = by_name(table)
    assert names["collection_viewed"] == 5_124, "one per hit that showed a list"
    assert (names["product_added_to_cart"], names["product_removed_from_cart"]) == (494, 75)
    assert names["checkout_started"] <= 330 and names["checkout_completed"] <= 92, "at most one per hit"
    buyers = table.filter(pc.equal(table["event_name"], "checkout_completed"))
    assert sessions_named(buyers) == 43


def test_eshop2008(tmp_path):
    report, table, _ = imported("eshop2008", "uci_eshop_clothing_2008/e-shop_clothing_2008.csv.gz", tmp_path)
    assert (report.rows, report.accepted, report.clients, sessions(table)) == (165_474, 165_474, 24_026, 24_026)
    assert pc.count_distinct(table["product_id"]).as_py() == 217
    assert set(pc.unique(table["category"]).to_pylist()) == {"trousers", "skirts", "blouses", "sale"}
    assert f"{report.first:%F} {report.last:%F}" == "2008-04-01 2008-08-13"


def test_otto(tmp_path):
    report, table, _ = imported("otto", "otto_test_fixture/train.jsonl.gz", tmp_path)
    assert (report.rows, report.clients) == (862, 20)
    names = by_name(table)
    assert (names["product_viewed"], names["product_added_to_cart"]) == (800, 52)
    assert names["checkout_completed"] + report.collapsed == 10
