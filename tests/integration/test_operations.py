"""What a worker says about itself while something around it is broken."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer

from infra.stack.ports import LOOPBACK, free_port
from infra.stack.store import EmbeddedStore
from schemas.click_codec import encode_click
from schemas.topics import CLICKS_RAW, click_key

Until = Callable[[Callable[[], bool], str], None]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process group that neither works nor refuses: connections to it are taken and never answered."""
    os.killpg(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(pid, signal.SIGCONT)


class Shopper:
    """Sends one click at a time, each a new session's first."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)
        self._clicks = 0

    def click(self) -> None:
        self._clicks += 1
        client, now_ms = f"client-{self._clicks // 3}", time.time_ns() // 1_000_000
        event = {
            "event_id": f"e-{self._clicks}", "merchant_id": "shop", "client_id": client, "event_name": "page_viewed",
            "occurred_at": now_ms, "received_at": now_ms,
        }  # fmt: skip
        self._producer.send(CLICKS_RAW, encode_click(event), key=click_key("shop", client)).get(timeout=10)

    def close(self) -> None:
        self._producer.close()


def test_a_worker_says_that_it_is_not_progressing_when_one_of_its_hops_hangs(
    kafka: str, clickhouse: str, embedded_store: EmbeddedStore, start_worker: Callable[..., Any], wait_until: Until
) -> None:
    # While one hop hangs, the other one's offsets are committed every half rebalance timeout.
    rules = {"rebalance_timeout_ms": 2_000, "stuck_after_ms": 5_000, "provisional_interval_ms": 100}
    worker = start_worker(kafka, clickhouse, partitions=1, **rules)

    def health() -> dict[str, Any]:
        page = worker.page("/health")
        return dict(json.loads(page)) if page else {"status": ""}

    wait_until(lambda: health()["status"] == "ok", "the worker to join")
    shopper = Shopper(kafka)
    shopper.click()
    with frozen(embedded_store.child.pid):

        def hangs() -> bool:
            # The first hop goes on with every new click; only the second one waits for the store's answer.
            shopper.click()
            return bool(health()["status"] == "not progressing")

        wait_until(hangs, "the worker to say that it is stuck")
        assert "simpersona_progressing 0.0" in worker.page("/metrics").splitlines()
        shopper.close()
    wait_until(lambda: health()["status"] == "ok", "the worker to go on once the store answers")
    assert worker.count("insert_seconds_count") > 0
    assert worker.stop() == 0


def test_a_worker_that_logs_json_writes_nothing_else(
    kafka: str, clickhouse: str, start_worker: Callable[..., Any], wait_until: Until
) -> None:
    worker = start_worker(kafka, clickhouse, log_format="json", partitions=1)
    wait_until(lambda: worker.partitions > 0, "the worker to join")
    assert worker.stop() == 0
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    [ready] = [line for line in lines if "port" in line]
    assert ready["message"] == f"Worker is ready, health page on port {ready['port']}."
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)

    nobody = start_worker(f"{LOOPBACK}:{free_port()}", clickhouse, log_format="json")
    assert nobody.process.wait(timeout=60) == 2
    [last] = [json.loads(line) for line in nobody.log.read_text().splitlines()][-1:]
    assert last["message"].startswith("No Kafka broker answers")
    assert last["exit_code"] == 2
