"""The first hop in worker processes: its final rows are the offline pass's, whatever is killed, joined or silent."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from encoders.event_log import EventLogWriter, read_batches, to_event_batch
from encoders.generator.delivery import Faults
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from encoders.serving import Encoder
from schemas.assignment_codec import decode_assignments
from schemas.assignments import AssignmentBatch
from schemas.click_codec import encode_click
from schemas.rejected_codec import decode_rejection
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, CLICKS_REJECTED, SESSIONS_ASSIGNED, SESSIONS_CHANGELOG, click_key
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.topology import ensure_topics
from streams.event_logs.assign import AssignCounts, assign
from streams.event_logs.replay import Replay, replay
from streams.sessions.settings import session_rules

PARTITIONS = 4
WEEK_MS = 7 * 86_400_000

Key = tuple[str, bytes]
Row = tuple[object, ...]
Until = Callable[[Callable[[], bool], str], None]


def rows_of(batch: AssignmentBatch) -> list[tuple[Key, Row]]:
    columns = (
        batch.client_id, batch.revision, batch.started_ms, batch.ended_ms, batch.events, batch.stratum, batch.code,
        batch.code_path, batch.confidence, batch.is_bot,
    )  # fmt: skip
    keys = zip(batch.merchant_id, batch.session_id, strict=True)
    return [
        (key, (*(value.item() if hasattr(value, "item") else value for value in values), batch.source))
        for key, *values in zip(keys, *columns, strict=True)
    ]


def read_topic(bootstrap: str, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    async def read() -> list[tuple[bytes | None, bytes | None]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            records: list[tuple[bytes | None, bytes | None]] = []
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    records += [(record.key, record.value) for record in found]
            return records
        finally:
            await consumer.stop()

    return asyncio.run(read())


def final_rows(bootstrap: str) -> dict[Key, Row]:
    """The standing final rows on the log of record; the same session twice must be the same row twice."""
    finals: dict[Key, Row] = {}
    for batch in decode_assignments([value or b"" for _, value in read_topic(bootstrap, SESSIONS_ASSIGNED)]):
        for (key, row), is_final in zip(rows_of(batch), batch.is_final, strict=True):
            if is_final:
                assert finals.setdefault(key, row) == row
    return finals


def send(bootstrap: str, log: Path, close_ms: int | None = None) -> None:
    async def run() -> None:
        topics = await ensure_topics(bootstrap, PARTITIONS, 1)
        plan = Replay([log], CLICKS_RAW, order="received", close_ms=close_ms)
        await replay(plan, bootstrap, topics[CLICKS_RAW], time.time_ns() // 1_000_000, lambda sent, total: None)

    asyncio.run(run())


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clicks of a few shops with retries, late events, events out of order and malformed payloads."""
    path = tmp_path_factory.mktemp("clicks") / "events.parquet"
    run = GeneratorRun(
        merchants=5, buyers=400, hours=30.0, seed=3, start_ms=1_788_000_000_000, first_merchant=0, drift=False,
        bots=0.01, malformed=0.002, overlap=OVERLAP, faults=Faults(delayed=0.15, late=0.005, duplicated=0.03),
    )  # fmt: skip
    generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return path


@pytest.fixture(scope="module")
def halves(log: Path) -> tuple[Path, Path]:
    """The log in two parts, by time of receipt, as a producer that paused would send it."""
    table = pq.read_table(log).sort_by("received_at")
    middle = table.num_rows // 2
    parts = (log.with_name("first.parquet"), log.with_name("second.parquet"))
    for path, part in zip(parts, (table.slice(0, middle), table.slice(middle)), strict=True):
        with EventLogWriter(path) as writer:
            writer.write(part.sort_by("occurred_at").cast(table.schema))
    return parts


@pytest.fixture(scope="module")
def offline(log: Path, untrained_encoder: Path) -> tuple[dict[Key, Row], AssignCounts]:
    """The offline pass over the whole log: final rows and counts."""
    counts = AssignCounts()
    batches = (to_event_batch(batch) for batch in read_batches([log]))
    rules = session_rules(Settings())
    rows: dict[Key, Row] = {}
    for batch in assign(batches, Encoder.load(untrained_encoder), rules, disorder_ms=WEEK_MS, counts=counts):
        rows |= dict(rows_of(batch))
    return rows, counts


@pytest.mark.parametrize("broker", ["kafka", pytest.param("apache_kafka", marks=pytest.mark.kafka)])
def test_final_rows_are_those_of_the_offline_pass_through_kills_and_rebalances(
    broker: str,
    request: pytest.FixtureRequest,
    clickhouse: str,
    halves: tuple[Path, Path],
    offline: tuple[dict[Key, Row], AssignCounts],
    start_worker: Callable[..., Any],
    wait_until: Until,
) -> None:
    bootstrap = request.getfixturevalue(broker)
    expected, counts = offline
    first = start_worker(bootstrap, clickhouse, chunk_records=500)
    send(bootstrap, halves[0])
    wait_until(lambda: first.count("chunks_acked_total") >= 5, "commits of the first worker")
    first.kill()
    second = start_worker(bootstrap, clickhouse, chunk_records=500)
    third = start_worker(bootstrap, clickhouse, chunk_records=500)
    wait_until(lambda: second.partitions > 0 and third.partitions > 0, "two workers sharing the partitions")
    send(bootstrap, halves[1], close_ms=WEEK_MS)
    wait_until(lambda: second.count("chunks_acked_total") >= 1, "commits of the second worker")
    second.kill()
    wait_until(lambda: len(final_rows(bootstrap)) >= len(expected), "all final rows")
    assert final_rows(bootstrap) == expected

    rejected = {
        (one.topic, one.partition, one.offset): one.failure_kind
        for one in (decode_rejection(value or b"") for _, value in read_topic(bootstrap, CLICKS_REJECTED))
    }
    kinds = [kind for kind in rejected.values() if kind == "late"]
    assert len(kinds) == counts.rejected["late"]
    assert "behind_watermark" not in rejected.values()

    def state() -> set[bytes | None]:
        last = dict(read_topic(bootstrap, SESSIONS_CHANGELOG))
        return {key for key, value in last.items() if value is not None}

    watermarks = {b"clicks.raw|%d|" % partition for partition in range(PARTITIONS)}
    wait_until(lambda: state() == watermarks, "the state of closed sessions to be gone")
    assert third.stop() == 0


def test_a_standby_takes_a_partition_over_without_reading_its_log_again(
    kafka: str,
    clickhouse: str,
    halves: tuple[Path, Path],
    offline: tuple[dict[Key, Row], AssignCounts],
    start_worker: Callable[..., Any],
    wait_until: Until,
) -> None:
    workers = [start_worker(kafka, clickhouse, standby_replicas=1, commit_interval_ms=100) for _ in range(2)]
    wait_until(lambda: all(worker.partitions == 2 * PARTITIONS for worker in workers), "an even share of all topics")
    send(kafka, halves[0])
    wait_until(lambda: all(worker.count("lag_records") == 0 for worker in workers), "the first half")
    wait_until(lambda: all(worker.count("uncommitted_chunks") == 0 for worker in workers), "its commits")
    heir, owner = workers
    own = heir.count("open_sessions")
    copied = owner.count("changelog_records_total")
    wait_until(lambda: heir.count("standby_records_total") >= copied, "a warm copy")
    restored = heir.count("restored_records_total")
    owner.kill()
    wait_until(lambda: heir.partitions == 4 * PARTITIONS, "the standby to take over")
    wait_until(lambda: heir.count("open_sessions") > own, "the inherited sessions")
    assert heir.count("restored_records_total") == restored
    send(kafka, halves[1], close_ms=WEEK_MS)
    wait_until(lambda: len(final_rows(kafka)) >= len(offline[0]), "all final rows")
    assert final_rows(kafka) == offline[0]


def test_a_worker_that_has_joined_has_compiled_all_that_clicks_will_meet(
    kafka: str,
    clickhouse: str,
    log: Path,
    offline: tuple[dict[Key, Row], AssignCounts],
    start_worker: Callable[..., Any],
    wait_until: Until,
    tmp_path: Path,
) -> None:
    file = tmp_path / "late.txt"
    worker = start_worker(kafka, clickhouse, ("-m", "tests.integration.late_loops", str(file)))
    send(kafka, log, close_ms=WEEK_MS)
    wait_until(lambda: len(final_rows(kafka)) >= len(offline[0]), "all final rows")
    assert worker.stop() == 0
    assert file.read_text() == ""


def click(client: str, number: int, at_ms: int) -> tuple[bytes, bytes]:
    fields: dict[str, object] = {
        "event_id": f"{client}-{number}", "merchant_id": "shop", "client_id": client, "event_name": "product_viewed",
        "occurred_at": at_ms, "received_at": at_ms, "product_id": "p", "category": None, "price_minor": None,
        "currency": None, "quantity": None, "query": None, "url_path": None, "referrer_kind": None, "device": None,
        "is_bot": False, "schema_version": 1, "properties": {},
    }  # fmt: skip
    return click_key("shop", client), encode_click(fields)


def test_an_open_session_is_emitted_provisionally_and_closed_after_a_restart_although_nothing_new_comes(
    kafka: str, clickhouse: str, start_worker: Callable[..., Any], wait_until: Until
) -> None:
    async def produce() -> None:
        await ensure_topics(kafka, PARTITIONS, 1)
        emitter = Emitter(kafka)
        await emitter.start()
        # Clicks of long ago: the watermark must go on from them, not jump to the wall clock.
        # And one of a clock that is centuries ahead, which must not move it at all.
        clicks = [click("anna", 99, 10_000_000_000_000)]
        clicks += [click("anna", number, 1_000_000_000_000 + number * 1_000) for number in range(3)]
        [(key, _), *_] = clicks
        target = TopicPartition(CLICKS_RAW, emitter.partition(key, PARTITIONS))
        await emitter.send({target: packed(clicks, time.time_ns() // 1_000_000)})
        await emitter.flush()
        await emitter.stop()

    def emitted() -> list[tuple[int, int, int]]:
        batches = decode_assignments([value or b"" for _, value in read_topic(kafka, SESSIONS_ASSIGNED)])
        rows = [zip(b.revision, b.events, b.is_final, strict=True) for b in batches]
        return sorted((int(r), int(n), int(f)) for batch in rows for r, n, f in batch)

    asyncio.run(produce())
    rules = {"allowed_lateness_ms": 1_000, "idle_after_ms": 500, "provisional_interval_ms": 100}
    patient = start_worker(kafka, clickhouse, gap_ms=3_600_000, **rules)
    wait_until(lambda: patient.count("chunks_acked_total") >= 1, "the clicks' commit")
    wait_until(lambda: emitted() != [], "the provisional row")
    patient.kill()
    assert {(events, final) for _, events, final in emitted()} == {(3, 0)}
    assert [decode_rejection(value or b"").failure_kind for _, value in read_topic(kafka, CLICKS_REJECTED)] == [
        "bad_time"
    ]

    restarted = start_worker(kafka, clickhouse, gap_ms=2_000, **rules)
    wait_until(lambda: len(final_rows(kafka)) == 1, "the session to close")
    assert restarted.count("events_total") == 0
    assert emitted()[-1][1:] == (3, 1)
