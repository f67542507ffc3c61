"""Shoppers whose clicks are timed: produced at known moments, and asked for in the store until they are there."""

import heapq
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer

from infra.stack.clickhouse import connect
from schemas.click_codec import encode_click
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, click_key
from streams.event_logs.click_records import partition_of

#: Several shops, so that probes cross every partition of the second hop, and enough clients for all of the first.
_SHOPS, _CLIENTS_PER_SHOP = 8, 5
#: A probe clicks again after a time in this range: 20 clicks a second over all, few enough to be no load.
_PAUSE_S = (1.0, 3.0)
_POLL_INTERVAL_S = 0.05
#: A click that is not there by then counts with this latency.
UNSEEN_S = 30.0


@dataclass(frozen=True, slots=True)
class Probed:
    """Latencies of the measured clicks in seconds, how many were never seen, and the mean time between two answers."""

    latencies_s: list[float]
    unseen: int
    poll_interval_s: float


class Probes:
    """Sends and polls in two threads while it is open; ``measure`` says from when on clicks count.

    A session of ``n`` events so far has a provisional row with the revision ``2 n`` (``docs/sessions.md``), from its
    second event on. So a client's ``n``-th click is there once the largest revision of the client is at least ``2 n``.
    """

    def __init__(self, settings: Settings, name: str, seed: int) -> None:
        self._settings = settings
        self._shops = [f"probe-{name}-{shop}" for shop in range(_SHOPS)]
        self._clients = [(shop, f"{shop}-{client}") for shop in self._shops for client in range(_CLIENTS_PER_SHOP)]
        self._random = random.Random(seed)
        #: Moments at which each client's clicks were sent, and how many of them have been seen.
        self._sent_s: dict[str, list[float]] = {client: [] for _, client in self._clients}
        self._seen = dict.fromkeys(self._sent_s, 0)
        self._latencies_s: list[float] = []
        self._from_s = float("inf")
        self._answers = 0
        self._polled_s = 0.0
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(2, "probes")

    def __enter__(self) -> Self:
        """Begin to send and to poll."""
        self._sending = self._threads.submit(self._send)
        self._polling = self._threads.submit(self._poll)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both, whatever has been seen."""
        self._stop.set()
        self._threads.shutdown()

    def measure(self) -> None:
        """Count the clicks that are sent from now on."""
        self._from_s = time.monotonic()

    def finish(self) -> Probed:
        """Stop sending, wait until all clicks are seen or given up, and return the latencies.

        Raises what went wrong in either thread: a KafkaError or a ClickHouseError.
        """
        self._stop.set()
        self._sending.result()
        self._polling.result()
        unseen = sum(
            sent_s >= self._from_s
            for client, times_s in self._sent_s.items()
            for sent_s in times_s[max(1, self._seen[client]) :]
        )
        latencies_s = self._latencies_s + [UNSEEN_S] * unseen
        return Probed(latencies_s, unseen, self._polled_s / max(1, self._answers - 1))

    def _send(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._settings.kafka.split(","), acks="all", linger_ms=0)
        now_s = time.monotonic()
        due = [(now_s + self._random.uniform(0.0, _PAUSE_S[1]), shop, client) for shop, client in self._clients]
        heapq.heapify(due)
        try:
            while not self._stop.wait(max(0.0, due[0][0] - time.monotonic())):
                due_s, shop, client = due[0]
                key = click_key(shop, client)
                value = encode_click(_click(shop, client, len(self._sent_s[client])))
                # Noted before it is sent: an answer must never find a click that is not in the list yet.
                self._sent_s[client].append(time.monotonic())
                producer.send(CLICKS_RAW, key=key, value=value, partition=partition_of(key, self._settings.partitions))
                heapq.heapreplace(due, (due_s + self._random.uniform(*_PAUSE_S), shop, client))
        finally:
            producer.close()

    def _poll(self) -> None:
        client = connect(self._settings.clickhouse)
        give_up_s = float("inf")
        begun_s = time.monotonic()
        try:
            while True:
                asked_s = time.monotonic()
                self._ask(client)
                if self._stop.is_set():
                    give_up_s = min(give_up_s, asked_s + UNSEEN_S)
                    if asked_s > give_up_s or self._all_seen():
                        break
                time.sleep(max(0.0, _POLL_INTERVAL_S - (time.monotonic() - asked_s)))
            self._polled_s = time.monotonic() - begun_s
        finally:
            client.close()

    def _ask(self, client: Client) -> None:
        rows = client.query(
            "SELECT client_id, max(revision) FROM session_assignments WHERE merchant_id IN {shops:Array(String)} "
            "GROUP BY client_id",
            parameters={"shops": self._shops},
        ).result_rows
        now_s = time.monotonic()
        self._answers += 1
        for name, revision in rows:
            there, before = int(revision) // 2, self._seen[name]
            if there <= before:
                continue
            times_s = self._sent_s[name]
            # The first click alone has no row; it comes with the second.
            for sent_s in times_s[max(1, before) : there]:
                if sent_s >= self._from_s:
                    self._latencies_s.append(now_s - sent_s)
            self._seen[name] = there

    def _all_seen(self) -> bool:
        return all(self._seen[client] >= len(times_s) for client, times_s in self._sent_s.items() if len(times_s) > 1)


def _click(shop: str, client: str, number: int) -> dict[str, object]:
    now_ms = time.time_ns() // 1_000_000
    return {
        "event_id": f"{client}-{number}",
        "merchant_id": shop,
        "client_id": client,
        "event_name": "product_viewed",
        "occurred_at": now_ms,
        "received_at": now_ms,
        "product_id": f"p-{number}",
        "is_bot": False,
        "schema_version": 1,
        "properties": {},
    }
