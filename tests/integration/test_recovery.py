"""Rejected events after a fix: what a worker could not read becomes sessions, once, and nothing else changes."""

import asyncio
import io
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import fastavro
import pytest
from aiokafka import AIOKafkaProducer

from infra.stack.clickhouse import connect
from schemas.click_codec import encode_click, encode_watermark
from schemas.packaged import CLICK_EVENT_ID, packaged_schema
from schemas.topics import CLICKS_RAW, click_key
from streams.broker.chunks import TopicPartition
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.topology import ensure_topics

PARTITIONS = 2
NEW_SCHEMA_ID = 9
NOON_MS = 1_700_000_000_000
NOW_MS = time.time_ns() // 1_000_000
NEWER = packaged_schema(CLICK_EVENT_ID)
NEWER["fields"].insert(4, {"name": "labels", "type": {"type": "array", "items": "string"}})


class Registry(BaseHTTPRequestHandler):
    """A schema registry that learns the new schema when ``known`` is set."""

    known = False

    def do_GET(self) -> None:
        found = self.known and self.path == f"/schemas/ids/{NEW_SCHEMA_ID}"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"schema": json.dumps(NEWER)} if found else {"error_code": 40403}).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    Registry.known = False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def click(client: str, minute: int) -> dict[str, Any]:
    at_ms = NOON_MS + minute * 60_000
    return {
        "event_id": f"{client}-{minute}", "merchant_id": "south" if client == "carl" else "north", "client_id": client,
        "event_name": "product_viewed", "occurred_at": at_ms, "received_at": at_ms,
    }  # fmt: skip


def newer(event: dict[str, Any]) -> bytes:
    """A click in the schema that nobody knows yet."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(NEWER), event | {"labels": ["a", "b"]})
    return b"\x00" + struct.pack(">I", NEW_SCHEMA_ID) + out.getvalue()


def send(bootstrap: str, records: list[tuple[bytes, bytes]], watermark_ms: int | None = None) -> None:
    async def run() -> None:
        await ensure_topics(bootstrap, PARTITIONS, 1)
        emitter = Emitter(bootstrap)
        await emitter.start()
        for key, value in records:
            target = TopicPartition(CLICKS_RAW, emitter.partition(key, PARTITIONS))
            await emitter.send({target: packed([(key, value)], time.time_ns() // 1_000_000)})
        for partition in range(PARTITIONS if watermark_ms else 0):
            batches = packed([(None, encode_watermark(watermark_ms or 0))], NOON_MS)
            await emitter.send({TopicPartition(CLICKS_RAW, partition): batches})
        await emitter.flush()
        await emitter.stop()

    asyncio.run(run())


def test_events_of_a_schema_registered_later_become_sessions_once(
    kafka: str,
    clickhouse: str,
    registry: str,
    start_worker: Callable[..., Any],
    wait_until: Callable[[Callable[[], bool], str], None],
) -> None:
    addresses = {"kafka": kafka, "clickhouse": clickhouse, "schema_registry": registry, "partitions": PARTITIONS}
    environment = {f"SIMPERSONA_{name.upper()}": str(value) for name, value in addresses.items()}

    def replay(*options: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "infra.cli.main", "replay", "--rejected", "--json", *options]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rows(sql: str) -> list[tuple[Any, ...]]:
        with connect(clickhouse) as client:
            return [tuple(row) for row in client.query(sql).result_rows]

    def rejections() -> list[tuple[Any, ...]]:
        return rows("SELECT failure_kind, count() FROM rejected_events FINAL GROUP BY 1 ORDER BY 1")

    def sessions() -> list[tuple[Any, ...]]:
        return rows(
            "SELECT merchant_id, client_id, events FROM session_assignments FINAL "
            "WHERE is_final AND superseded_by = '' ORDER BY 1, 2"
        )

    # Anna's second click and all of bert's and carl's are in the schema that is not registered yet.
    read = [("anna", 0, encode_click), ("anna", 10, encode_click)]
    unread = [("anna", 5, newer), ("bert", 3, newer), ("bert", 4, newer), ("carl", 2, newer)]
    events = [(click(client, minute), encode) for client, minute, encode in [*read, *unread]]
    records = [(click_key(event["merchant_id"], event["client_id"]), encode(event)) for event, encode in events]
    worker = start_worker(**addresses)
    send(kafka, [*records, (b"north|anna", b"no click")])
    wait_until(lambda: rejections() == [("malformed_avro", 1), ("unknown_schema", 4)], "the rejections to be stored")

    still = {"sent": 0, "of_other_merchants": 0, "sent_before": 0}
    assert replay()["reasons"] == {
        "malformed_avro": {**still, "unusable": {"malformed_avro": 1}},
        "unknown_schema": {**still, "unusable": {"unknown_schema": 4}},
    }
    assert worker.stop() == 0
    Registry.known = True
    start_worker(**addresses)
    rehearsed = replay("--reason", "unknown_schema", "--dry-run", "--merchant", "south")
    assert rehearsed["reasons"]["unknown_schema"] | {"sent": 1, "of_other_merchants": 3} == still | {
        "sent": 1, "of_other_merchants": 3, "unusable": {},
    }  # fmt: skip
    assert replay("--until", "2026-01-01")["reasons"] == {}
    assert replay("--merchant", "south")["sent"] == 1
    assert replay()["reasons"]["unknown_schema"] == still | {"sent": 3, "sent_before": 1, "unusable": {}}

    send(kafka, [], watermark_ms=NOON_MS + 86_400_000)
    expected = [("north", "anna", 3), ("north", "bert", 2), ("south", "carl", 1)]
    wait_until(lambda: len(sessions()) == len(expected), "the sessions to close")
    assert sessions() == expected
    assert rejections() == [("malformed_avro", 1), ("unknown_schema", 4)], "nothing that went back was rejected again"

    assert replay()["reasons"]["unknown_schema"] == still | {"sent_before": 4, "unusable": {}}
    assert replay("--again")["sent"] == 4
    wait_until(lambda: ("behind_watermark", 4) in rejections(), "the second copies to be told from new clicks")
    assert sessions() == expected
    assert rows("SELECT sum(sessions) FROM merchant_distributions FINAL WHERE window = '1d'") == [(3,)]


@pytest.mark.parametrize(
    ("broker", "size", "timestamp_ms", "stored"),
    [
        # Apache Kafka takes a MiB at most, and what is said about the record comes on top of it.
        pytest.param("apache_kafka", 1_000_000, NOW_MS, (524_288, NOW_MS), marks=pytest.mark.kafka),
        # The embedded broker takes any time stamp, and this one is no date.
        ("kafka", 30, 2**60, (30, 4_102_444_800_000)),
    ],
    ids=["huge", "of no date"],
)
def test_a_record_that_is_hard_to_reject_stops_no_worker(
    broker: str,
    size: int,
    timestamp_ms: int,
    stored: tuple[int, int],
    request: pytest.FixtureRequest,
    clickhouse: str,
    start_worker: Callable[..., Any],
    wait_until: Callable[[Callable[[], bool], str], None],
) -> None:
    bootstrap = request.getfixturevalue(broker)

    async def produce() -> None:
        await ensure_topics(bootstrap, PARTITIONS, 1)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2**21)
        await producer.start()
        garbage = random.Random(0).randbytes(size)
        await producer.send_and_wait(CLICKS_RAW, garbage, key=garbage[:5_000], timestamp_ms=timestamp_ms, partition=0)
        await producer.stop()

    def rejections() -> list[tuple[Any, ...]]:
        with connect(clickhouse) as client:
            columns = "length(payload), toUnixTimestamp64Milli(received_at)"
            return [tuple(row) for row in client.query(f"SELECT {columns} FROM rejected_events FINAL").result_rows]

    asyncio.run(produce())
    worker = start_worker(bootstrap, clickhouse, partitions=PARTITIONS)
    wait_until(lambda: rejections() == [stored], "the rejection to be stored")
    assert worker.stop() == 0
