"""Rejected events come back from a real store whole, once each, in order; and what of them may be sent again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from schemas.click_codec import encode_click, encode_watermark
from schemas.rejected_codec import Rejection
from schemas.topics import CLICKS_RAW, CLICKS_SIMULATED
from streams.broker.click_reader import FUTURE_MS, ClickReader
from streams.event_logs.recovery import Recovered, Recovery
from streams.store.connection import Store
from streams.store.rejected_events import MENDABLE, PAGE_ROWS, TOO_LATE, Lane, Page, RejectedEvents, Selection
from streams.store.sink import ReplayedRow, Sink

NOON_MS = 1_700_000_000_000


def rejection(offset: int, reason: str = "unknown_schema", partition: int = 0, **changes: Any) -> Rejection:
    values: dict[str, Any] = {
        "failure_kind": reason, "message": "", "processor": "p", "processor_version": "1",
        "received_at": NOON_MS + offset, "topic": CLICKS_RAW, "partition": partition, "offset": offset,
        "payload": b"\xff\x00%d" % offset,
    }  # fmt: skip
    return Rejection(**values | changes)


@pytest.fixture
def store(clickhouse: str) -> Iterator[Store]:
    opened = Store(clickhouse)
    yield opened
    opened.close()


def read(store: Store, reasons: tuple[str, ...] = MENDABLE, since_ms: int = 0, until_ms: int = 2**42) -> list[Page]:
    rejected = RejectedEvents(store, Selection(reasons, since_ms, until_ms))
    return [page for lane in rejected.lanes() for page in rejected.pages(lane)]


def test_every_payload_comes_back_once_by_partition_and_offset(store: Store) -> None:
    sink = Sink(store)
    offsets = list(range(0, 3 * (2 * PAGE_ROWS + 7), 3))
    for _ in range(2):  # a second hop that was killed writes its rejections again
        sink.rejected([rejection(offset) for offset in reversed(offsets)])
        sink.rejected([rejection(5, partition=1), rejection(6, partition=1, topic=CLICKS_SIMULATED)])
        sink.flush()
    pages = read(store)
    lanes = [Lane(CLICKS_RAW, 0, len(offsets)), Lane(CLICKS_RAW, 1, 1), Lane(CLICKS_SIMULATED, 1, 1)]
    assert list(dict.fromkeys(page.lane for page in pages)) == lanes
    found = [pair for page in pages[:3] for pair in zip(page.offsets, page.payloads, strict=True)]
    assert found == [(offset, b"\xff\x00%d" % offset) for offset in offsets]
    assert [len(page.offsets) for page in pages] == [PAGE_ROWS, PAGE_ROWS, 7, 1, 1]


def test_a_broker_that_was_set_up_anew_takes_no_earlier_rejection_away(store: Store) -> None:
    sink = Sink(store)
    for day in range(3):
        offsets = range(PAGE_ROWS - day)
        sink.rejected([rejection(n, received_at=NOON_MS + day, payload=b"%d of day %d" % (n, day)) for n in offsets])
    sink.flush()
    found = [payload for page in read(store) for payload in page.payloads]
    assert found == [b"%d of day %d" % (n, day) for n in range(PAGE_ROWS) for day in range(3) if n < PAGE_ROWS - day]


def test_events_are_chosen_by_reason_and_time_and_never_from_a_foreign_topic(store: Store) -> None:
    sink = Sink(store)
    everything = [rejection(number, reason) for number, reason in enumerate([*MENDABLE, *sorted(TOO_LATE)])]
    sink.rejected([*everything, rejection(99, topic="orders")])
    sink.flush()
    assert [page.reasons for page in read(store)] == [list(MENDABLE)]
    assert [page.offsets for page in read(store, ("bad_price", "late"))] == [[6, 8]]
    assert [page.offsets for page in read(store, since_ms=NOON_MS + 2, until_ms=NOON_MS + 5)] == [[2, 3, 4]]


def test_what_was_sent_back_is_known_by_its_time_as_well(store: Store) -> None:
    sink = Sink(store)
    sink.rejected([rejection(offset) for offset in range(4)])
    sink.replayed([ReplayedRow(CLICKS_RAW, 0, 1, NOON_MS + 1, NOON_MS), ReplayedRow(CLICKS_RAW, 1, 2, NOON_MS + 2, 0)])
    # A broker that was set up anew counts its offsets from 0 again.
    sink.replayed([ReplayedRow(CLICKS_RAW, 0, 3, NOON_MS - 1, NOON_MS)])
    sink.flush()
    assert [page.replayed for page in read(store)] == [[False, True, False, False]]


def click(merchant: str, **changes: Any) -> bytes:
    event = {
        "event_id": "e", "merchant_id": merchant, "client_id": "c", "event_name": "page_viewed",
        "occurred_at": NOON_MS, "received_at": NOON_MS,
    }  # fmt: skip
    return encode_click(event | changes)


PAYLOADS = [click("north"), b"still no click", click("south"), click("north", event_name="danced"), click("north")]
PAGE = Page(
    lane=Lane(CLICKS_RAW, 0, 6),
    reasons=["unknown_event"] * 4 + ["bad_time"] * 2,
    received_ms=[NOON_MS] * 6,
    offsets=list(range(6)),
    payloads=[*PAYLOADS, encode_watermark(NOON_MS)],
    replayed=[False] * 4 + [True, False],
)


@pytest.mark.fast
def test_a_live_event_that_is_still_ahead_of_the_clock_stays() -> None:
    counts, early_ms = Recovered(), NOON_MS - FUTURE_MS - 1
    assert Recovery(again=True).judge(PAGE, ClickReader(), counts, early_ms) == {}
    assert counts.unusable["unknown_event", "bad_time"] == 2
    simulated = replace(PAGE, lane=Lane(CLICKS_SIMULATED, 0, 6))
    assert Recovery().judge(simulated, ClickReader(), Recovered(), early_ms) == {0: b"north|c", 2: b"south|c"}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("plan", "keys"),
    [
        (Recovery(), {0: b"north|c", 2: b"south|c"}),
        (Recovery(merchant="south"), {2: b"south|c"}),
        (Recovery(again=True), {0: b"north|c", 2: b"south|c", 4: b"north|c"}),
        (Recovery(merchant="west", again=True), {}),
    ],
)
def test_only_usable_events_go_back_under_their_clients_key(plan: Recovery, keys: dict[int, bytes]) -> None:
    counts = Recovered()
    assert plan.judge(PAGE, ClickReader(), counts, NOON_MS) == keys
    assert counts.sent.total() == len(keys)
    assert counts.looked_at == len(PAGE.offsets)
    assert counts.unusable == Counter(
        {("unknown_event", "malformed_avro"): 1, ("unknown_event", "unknown_event"): 1, ("bad_time", "a watermark"): 1}
    )
