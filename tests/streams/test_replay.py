"""Replay onto a real broker: everything arrives, in order, where Kafka clients would put it."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, TopicPartition

from encoders.errors import EmptyLogError
from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from encoders.generator.delivery import Faults
from encoders.generator.malformed import malformed_path, read_malformed
from encoders.generator.run import GeneratorRun, generate
from infra.cli.main import main
from schemas.click_codec import ClickDecoder, decode_click
from schemas.settings import settings
from schemas.topics import CLICKS_RAW, click_key
from streams.broker.topology import TopologyError, ensure_topics
from streams.event_logs.click_records import partition_of
from streams.event_logs.replay import Replay, Replayed, ReplayError, replay

PARTITIONS = 3
NOW_MS = 1_800_000_000_000
RUN = GeneratorRun(
    merchants=2,
    buyers=60,
    hours=24.0,
    seed=11,
    start_ms=1_788_739_200_000,
    bots=0.0,
    malformed=0.01,
    faults=Faults(delayed=0.05, late=0.01, duplicated=0.02),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    generate(RUN, folder / "events.parquet", folder / "truth.parquet", lambda done, total: None)
    return folder / "events.parquet"


def run(plan: Replay, bootstrap: str) -> Replayed:
    async def produce() -> Replayed:
        topics = await ensure_topics(bootstrap, PARTITIONS, 1)
        return await replay(plan, bootstrap, topics[plan.topic], NOW_MS, lambda sent, total: None)

    return asyncio.run(produce())


def consume(bootstrap: str, count: int) -> dict[int, list[tuple[bytes | None, bytes]]]:
    """All records of the topic by partition, which must be ``count``."""
    found: dict[int, list[tuple[bytes | None, bytes]]] = defaultdict(list)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        consumer.assign([TopicPartition(CLICKS_RAW, partition) for partition in range(PARTITIONS)])
        consumer.seek_to_beginning()
        deadline_s = time.monotonic() + 20.0
        while sum(map(len, found.values())) < count and time.monotonic() < deadline_s:
            for at, records in consumer.poll(timeout_ms=200).items():
                found[at.partition] += [(record.key, record.value) for record in records]
        surplus = consumer.poll(timeout_ms=200)
    finally:
        consumer.close()
    assert sum(map(len, found.values())) == count
    assert not surplus
    return found


def usable(records: list[tuple[bytes | None, bytes]]) -> Iterator[dict[str, object]]:
    """The clicks among records, without malformed payloads and watermarks."""
    fault = ClickDecoder().decode([value for _, value in records]).batch.fault
    for (_, value), code in zip(records, fault.tolist(), strict=True):
        if code == 0:
            yield decode_click(value)


@pytest.mark.parametrize("order", ["occurred", "received"])
def test_every_event_arrives_once_in_order_in_its_clients_partition(log: Path, kafka: str, order: str) -> None:
    done = run(Replay([log], CLICKS_RAW, order=order), kafka)  # type: ignore[arg-type]
    rows = pq.read_table(log)
    assert done.events == rows.num_rows
    found = consume(kafka, done.events + done.malformed)
    arrived = []
    for partition, records in found.items():
        clicks = list(usable(records))
        times = [click[f"{order}_at"] for click in clicks]
        assert times == sorted(times)  # type: ignore[type-var]
        for click in clicks:
            assert partition_of(click_key(str(click["merchant_id"]), str(click["client_id"])), PARTITIONS) == partition
        arrived += [(click["event_id"], click["received_at"]) for click in clicks]
    logged = zip(rows["event_id"].to_pylist(), rows["received_at"].cast(pa.int64()).to_pylist(), strict=True)
    assert sorted(arrived) == sorted(logged)


def test_malformed_payloads_come_with_the_traffic_byte_for_byte(log: Path, kafka: str) -> None:
    done = run(Replay([log], CLICKS_RAW), kafka)
    with malformed_path(log).open() as lines:
        spoilt = list(read_malformed(lines))
    assert done.malformed == len(spoilt) > 10
    found = consume(kafka, done.events + done.malformed)
    pairs = [(record.key, record.value) for record in spoilt]
    for partition, records in found.items():
        own = [pair for pair in pairs if partition_of(pair[0], PARTITIONS) == partition]
        assert all(pair in records for pair in own)
        places = [records.index(pair) for pair in own]
        assert max(places) - min(places) > len(records) / 2, "spread over the traffic, not heaped at one end"


def test_closing_promises_every_partition_that_time_has_passed(log: Path, kafka: str) -> None:
    done = run(Replay([log], CLICKS_RAW, close_ms=5_000), kafka)
    assert done.watermarks == PARTITIONS
    for records in consume(kafka, done.events + done.malformed + PARTITIONS).values():
        values = [value for _, value in records]
        assert ClickDecoder().decode(values[-1:]).watermark_ms == done.last_ms + 5_000
        assert ClickDecoder().decode(values[:-1]).watermark_ms is None


def test_shifted_times_end_at_the_moment_of_sending(log: Path, kafka: str) -> None:
    done = run(Replay([log], CLICKS_RAW, shift=True), kafka)
    assert done.last_ms == NOW_MS
    clicks = [click for records in consume(kafka, done.events + done.malformed).values() for click in usable(records)]
    assert max(click["occurred_at"] for click in clicks) == NOW_MS  # type: ignore[type-var]
    rows = pq.read_table(log)
    logged = dict(zip(rows["event_id"].to_pylist(), rows["occurred_at"].cast(pa.int64()).to_pylist(), strict=True))
    assert all(click["occurred_at"] == logged[click["event_id"]] + done.shift_ms for click in clicks)  # type: ignore[index]


def test_a_paced_replay_sends_all(log: Path, kafka: str) -> None:
    span_ms = 24 * 3_600_000
    done = run(Replay([log], CLICKS_RAW, speed=span_ms / 1_000.0, shift=True), kafka)
    assert done.events == pq.read_table(log).num_rows
    assert done.last_ms - NOW_MS == pytest.approx(1_000, rel=0.1), "the last event happens when it is sent"
    consume(kafka, done.events + done.malformed)


def test_several_logs_are_merged(log: Path, tmp_path: Path, kafka: str) -> None:
    other = tmp_path / "other.parquet"
    generate(replace(RUN, first_merchant=5, merchants=1), other, tmp_path / "t.parquet", lambda done, total: None)
    done = run(Replay([log, other], CLICKS_RAW), kafka)
    assert done.events == pq.read_table(log).num_rows + pq.read_table(other).num_rows
    for records in consume(kafka, done.events + done.malformed).values():
        times = [click["occurred_at"] for click in usable(records)]
        assert times == sorted(times)  # type: ignore[type-var]


def test_an_interrupted_replay_keeps_what_was_sent(log: Path, kafka: str) -> None:
    async def produce() -> int:
        topics = await ensure_topics(kafka, PARTITIONS, 1)
        sent = 0

        def stop(done: int, total: int) -> None:
            nonlocal sent
            sent = done
            if done > 50:
                task.cancel()

        plan = Replay([log], CLICKS_RAW, speed=24 * 3_600.0 / 2)
        task = asyncio.ensure_future(replay(plan, kafka, topics[CLICKS_RAW], NOW_MS, stop))
        with pytest.raises(asyncio.CancelledError):
            await task
        return sent

    sent = asyncio.run(produce())
    first = pq.read_table(log)["event_id"].to_pylist()[:sent]
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    consumer.assign([TopicPartition(CLICKS_RAW, partition) for partition in range(PARTITIONS)])
    consumer.seek_to_beginning()
    missing = set(first)
    deadline_s = time.monotonic() + 20.0
    while missing and time.monotonic() < deadline_s:
        for records in consumer.poll(timeout_ms=200).values():
            missing -= {click["event_id"] for click in usable([(record.key, record.value) for record in records])}
    consumer.close()
    assert sent > 50
    assert not missing


def test_an_empty_log_is_an_error(tmp_path: Path, kafka: str) -> None:
    with EventLogWriter(tmp_path / "empty.parquet") as writer:
        writer.write(ARROW_SCHEMA.empty_table())
    with pytest.raises(EmptyLogError):
        run(Replay([tmp_path / "empty.parquet"], CLICKS_RAW), kafka)


def test_a_broken_sidecar_is_one_sentence(log: Path, tmp_path: Path, kafka: str) -> None:
    copy = tmp_path / "events.parquet"
    copy.write_bytes(log.read_bytes())
    malformed_path(copy).write_text("{}\n")
    with pytest.raises(ReplayError, match=r"events\.malformed\.jsonl: not a file of malformed payloads"):
        run(Replay([copy], CLICKS_RAW), kafka)


def test_a_broker_that_is_not_there_is_one_sentence(log: Path) -> None:
    with pytest.raises(TopologyError, match=r"No Kafka broker answers at 127\.0\.0\.1:1;"):
        run(Replay([log], CLICKS_RAW), "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--speed", "fast"], "--speed 'fast' is neither a positive number nor max."),
        (["--speed", "0"], "--speed '0' is neither"),
        (["--topic", "sessions.assigned"], "--topic 'sessions.assigned' is no click topic"),
    ],
)
def test_bad_arguments_are_one_sentence(
    arguments: list[str], says: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["replay", "--events", str(log), *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_the_command_prints_its_counts(
    log: Path, kafka: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMPERSONA_KAFKA", kafka)
    settings.cache_clear()
    try:
        main(["replay", "--events", str(log), "--order", "received", "--json"])
    except SystemExit as stop:
        assert not stop.code
    finally:
        settings.cache_clear()
    told = json.loads(capsys.readouterr().out)
    assert told["events"] == pq.read_table(log).num_rows
    assert told["watermarks"] == settings().partitions
