"""A whole run: same bytes for the same seed, and a truth that the events bear out."""

import dataclasses
import math
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from encoders.errors import GeneratorError
from encoders.event_log import ARROW_SCHEMA
from encoders.generator.buyer_types import TYPE_NAMES
from encoders.generator.malformed import malformed_path, read_malformed
from encoders.generator.run import GeneratorRun, catalogue_path, generate
from schemas.click_codec import ClickDecoder
from schemas.rejections import REASONS
from tests.encoders.generator.conftest import SMALL, Made, make

pytestmark = pytest.mark.fast

MINUTE_MS = 60_000


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def sessions(made: Made) -> dict[tuple[str, str, int], list[dict[str, object]]]:
    """The events of every planted session, told apart by the truth's times."""
    spans = defaultdict(list)
    for row in made.truth.to_pylist():
        spans[row["merchant_id"], row["client_id"]].append((row["started_ms"], row["ended_ms"], row["visit"]))
    found = defaultdict(list)
    for event in made.first_copies().drop_columns(["properties"]).to_pylist():
        client = event["merchant_id"], event["client_id"]
        visits = [visit for start, end, visit in spans[client] if start <= event["occurred_at"] <= end]
        assert len(visits) == 1, f"an event of {client} lies in {len(visits)} planted sessions"
        found[*client, visits[0]].append(event)
    return found


def test_the_same_run_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    run = dataclasses.replace(SMALL, buyers=30, hours=12.0)
    for name, changed in (("a", run), ("b", run), ("c", dataclasses.replace(run, seed=4))):
        (tmp_path / name).mkdir()
        make(changed, tmp_path / name)
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert first["events.parquet"] != other["events.parquet"]
    assert set(first) == {
        "events.parquet", "events.catalogue.parquet", "events.malformed.jsonl", "truth.parquet", "truth.json",
    }  # fmt: skip


def test_the_log_has_the_canonical_columns_in_event_time_order(small: Made) -> None:
    assert small.events.schema.equals(ARROW_SCHEMA)
    times = small.events["occurred_at"].cast(pa.int64()).to_numpy()
    assert (times[1:] >= times[:-1]).all()


def test_every_event_lies_in_exactly_one_planted_session(small: Made) -> None:
    counted = {key: len(events) for key, events in sessions(small).items()}
    told = {(row["merchant_id"], row["client_id"], row["visit"]): row["events"] for row in small.truth.to_pylist()}
    assert counted == told


def test_a_planted_session_has_no_long_pause_and_two_of_them_are_far_apart(small: Made) -> None:
    for key, events in sessions(small).items():
        times = [event["occurred_at"] for event in events]
        assert all(later - earlier <= 25 * MINUTE_MS for earlier, later in pairwise(times)), key
    ends: dict[tuple[str, str], int] = {}
    for row in small.truth.sort_by("started_ms").to_pylist():
        client = row["merchant_id"], row["client_id"]
        assert row["started_ms"] - ends.get(client, 0) > 40 * MINUTE_MS
        ends[client] = row["ended_ms"]


def test_a_session_is_called_converted_when_it_completed_a_checkout(small: Made) -> None:
    bought = {
        key for key, events in sessions(small).items() if any(e["event_name"] == "checkout_completed" for e in events)
    }
    told = {(row["merchant_id"], row["client_id"], row["visit"]) for row in small.truth.to_pylist() if row["converted"]}
    assert bought == told


def test_the_total_at_checkout_is_what_the_cart_holds(small: Made) -> None:
    checked = 0
    for events in sessions(small).values():
        total = 0
        for event in events:
            amount = (event["price_minor"] or 0) * (event["quantity"] or 0)
            if event["event_name"] == "product_added_to_cart":
                total += amount
            elif event["event_name"] == "product_removed_from_cart":
                total -= amount
            elif event["event_name"] in ("cart_viewed", "checkout_started", "checkout_completed"):
                assert amount == total
                checked += 1
    assert checked > 100


def test_a_buyer_keeps_type_and_device_and_every_buyer_comes(small: Made) -> None:
    kinds, devices = defaultdict(set), defaultdict(set)
    for row in small.truth.to_pylist():
        kinds[row["merchant_id"], row["client_id"]].add(row["type_name"])
    for merchant, client, device in zip(
        *(small.events[name].to_pylist() for name in ("merchant_id", "client_id", "device")), strict=True
    ):
        devices[merchant, client].add(device)
    assert all(len(found) == 1 for found in (*kinds.values(), *devices.values()))
    buyers = Counter(merchant for (merchant, _), names in kinds.items() if names <= set(TYPE_NAMES))
    assert buyers == {f"shop-{number:03d}": SMALL.buyers for number in range(SMALL.merchants)}


def test_the_counts_of_faults_are_those_of_the_log(small: Made) -> None:
    first = small.first_copies()
    delay_ms = pc.subtract(first["received_at"], first["occurred_at"]).to_numpy()
    assert small.counts.events == small.events.num_rows
    assert small.counts.duplicates == small.events.num_rows - first.num_rows
    assert small.counts.late == int((delay_ms > 5 * MINUTE_MS).sum())
    assert small.counts.delayed == int(((delay_ms >= 2_000) & (delay_ms <= 5 * MINUTE_MS)).sum())
    assert (delay_ms >= 0).all()
    assert small.summary["counts"] == dataclasses.asdict(small.counts)


def test_a_second_copy_differs_from_the_first_in_nothing_but_its_arrival(small: Made) -> None:
    copies = defaultdict(list)
    for event in small.events.drop_columns(["received_at", "properties"]).to_pylist():
        copies[event["event_id"]].append(event)
    assert {len(found) for found in copies.values()} == {1, 2}
    assert all(found[0] == found[-1] for found in copies.values())


def test_bots_are_in_the_truth_and_some_say_what_they_are(small: Made) -> None:
    bots = small.truth.filter(small.truth["is_bot"])
    assert bots.num_rows == small.counts.bot_sessions > 0
    assert set(bots["type"].to_pylist()) == {-1}
    assert all(name.startswith("bot_") for name in bots["type_name"].to_pylist())
    declared = set(small.events.filter(small.events["is_bot"])["client_id"].to_pylist())
    assert declared and declared < set(bots["client_id"].to_pylist())


def test_every_malformed_payload_is_rejected_for_the_reason_it_names(small: Made) -> None:
    with malformed_path(small.path).open() as lines:
        records = list(read_malformed(lines))
    faults = ClickDecoder().decode([record.value for record in records]).batch.fault
    assert [REASONS[fault] for fault in faults.tolist()] == [record.reason for record in records]
    assert Counter(record.kind for record in records) == small.counts.malformed
    assert len(small.counts.malformed) == 10


def test_shops_show_only_the_pages_they_have(small: Made) -> None:
    shown = defaultdict(set)
    for merchant, name in zip(
        small.events["merchant_id"].to_pylist(), small.events["event_name"].to_pylist(), strict=True
    ):
        shown[merchant].add(name)
    for shop in small.summary["merchants"]:
        assert ("cart_viewed" in shown[shop["merchant_id"]]) == shop["has_cart"]
        assert ("payment_info_submitted" in shown[shop["merchant_id"]]) == shop["has_payment"]


def test_a_promotion_cuts_prices_of_its_category_while_it_runs(small: Made) -> None:
    cut = 0
    views = small.first_copies().filter(pc.equal(small.first_copies()["event_name"], "product_viewed"))
    for event in views.to_pylist(maps_as_pydicts="strict"):
        running = [
            math.floor(int(event["properties"].get("list_price_minor", 0)) * (1.0 - promotion["discount"]))
            for promotion in small.summary["promotions"]
            if promotion["merchant_id"] == event["merchant_id"]
            and promotion["category"] == event["category"]
            and promotion["start_ms"] <= event["occurred_at"] < promotion["end_ms"]
        ]
        is_cut = "list_price_minor" in event["properties"]
        assert not is_cut or event["price_minor"] in running
        cut += is_cut
    assert cut > 0


def test_a_seed_has_the_same_shops_whatever_the_run(small: Made, tmp_path: Path) -> None:
    later = make(
        dataclasses.replace(SMALL, merchants=2, first_merchant=3, start_ms=SMALL.start_ms + 86_400_000, buyers=20),
        tmp_path,
    )
    both = ("shop-003", "shop-004")
    assert set(later.events["merchant_id"].to_pylist()) == set(both)
    before = [shop for shop in small.summary["merchants"] if shop["merchant_id"] in both]
    assert later.summary["merchants"] == before
    clients = set(later.events["client_id"].to_pylist())
    assert not clients & set(small.events["client_id"].to_pylist()), "a later run brings new shoppers"
    catalogue = pq.read_table(catalogue_path(small.path))
    assert pq.read_table(catalogue_path(later.path)).equals(
        catalogue.filter(pc.is_in(catalogue["merchant_id"], pa.array(both)))
    )


def test_drifts_are_told_with_their_kind_and_mixes(small: Made) -> None:
    assert [drift["kind"] for drift in small.summary["drifts"]] == ["sudden", "slow", "seasonal"]
    for drift in small.summary["drifts"]:
        for mix in (drift["from_mix"], drift["to_mix"]):
            assert list(mix) == list(TYPE_NAMES)
            assert sum(mix.values()) == pytest.approx(1.0, abs=1e-4)


def test_without_drift_none_is_planted(tmp_path: Path) -> None:
    assert make(dataclasses.replace(SMALL, drift=False, buyers=5, hours=4.0), tmp_path).summary["drifts"] == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"merchants": 0}, "merchants is 0"),
        ({"buyers": 0}, "buyers is 0"),
        ({"hours": 0.5}, "hours is 0.5"),
        ({"seed": -1}, "seed is -1"),
        ({"bots": 0.9}, "bots is 0.9"),
        ({"overlap": 1.5}, "overlap is 1.5"),
        ({"first_merchant": -1}, "first merchant is -1"),
        ({"start_ms": 5}, "the start is 5 ms"),
    ],
)
def test_a_size_that_makes_no_sense_is_one_sentence(changed: dict[str, float], says: str, tmp_path: Path) -> None:
    run = dataclasses.replace(SMALL, **changed)  # type: ignore[arg-type]
    with pytest.raises(GeneratorError, match=says):
        generate(run, tmp_path / "e.parquet", tmp_path / "t.parquet", lambda done, total: None)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_broken_off_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(dataclasses.replace(SMALL, buyers=5), tmp_path / "e.parquet", tmp_path / "t.parquet", stop)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = GeneratorRun(merchants=1, buyers=1, hours=1.0, seed=1, start_ms=SMALL.start_ms)
    with pytest.raises(GeneratorError, match="cannot be written"):
        generate(run, tmp_path / "e.parquet", tmp_path / "file" / "t.parquet", lambda done, total: None)


def test_one_file_cannot_hold_events_and_truth(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="name two files"):
        generate(SMALL, tmp_path / "e.parquet", tmp_path / "e.parquet", lambda done, total: None)
