"""Probes on a real broker and store, and the names of latency figures."""

import asyncio
import time
from collections import Counter

import pytest
from kafka import KafkaConsumer, TopicPartition

from bench import probes
from bench.latency import rate_label
from bench.probes import Probes
from infra.stack.clickhouse import connect
from schemas.click_codec import decode_click
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.broker.topology import ensure_topics

DEADLINE_S = 60.0


@pytest.mark.fast
@pytest.mark.parametrize(("rate", "label"), [(1_000, "1k"), (30_000, "30k"), (1_500, "1500")])
def test_figures_are_named_after_thousands(rate: int, label: str) -> None:
    assert rate_label(rate) == label


class Clicks:
    """The probes' clicks on the topic so far, counted by client."""

    def __init__(self, kafka: str, partitions: int) -> None:
        self._consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
        self._partitions = [TopicPartition(CLICKS_RAW, partition) for partition in range(partitions)]
        self._consumer.assign(self._partitions)
        self._of_client: Counter[str] = Counter()

    def read(self) -> Counter[str]:
        ends = self._consumer.end_offsets(self._partitions)
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            for records in self._consumer.poll(500).values():
                self._of_client.update(str(decode_click(record.value)["client_id"]) for record in records)
        return self._of_client


def test_a_click_is_seen_with_the_revision_that_counts_it_and_others_count_as_never_seen(
    kafka: str, clickhouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_SHOPS", 1)
    monkeypatch.setattr(probes, "_CLIENTS_PER_SHOP", 2)
    monkeypatch.setattr(probes, "_PAUSE_S", (0.05, 0.1))
    monkeypatch.setattr(probes, "UNSEEN_S", 1.0)
    settings = Settings(kafka=kafka, clickhouse=clickhouse)
    asyncio.run(ensure_topics(kafka, settings.partitions, 1))
    clicks = Clicks(kafka, settings.partitions)
    store = connect(clickhouse)
    with Probes(settings, "test", seed=1) as running:
        running.measure()
        give_up_s = time.monotonic() + DEADLINE_S
        while min(clicks.read().values(), default=0) < 3 or len(clicks.read()) < 2:
            assert time.monotonic() < give_up_s, "the probes do not click"
        [(client, there), *_] = clicks.read().most_common(1)
        shop = client.rsplit("-", 1)[0]
        store.insert(
            "session_assignments",
            [[shop, "a" * 16, client, 2 * there]],
            column_names=["merchant_id", "session_id", "client_id", "revision"],
        )
        probed = running.finish()
    sent = clicks.read()
    store.close()
    # The first click of a session has no row of its own.
    assert len(probed.latencies_s) == sum(sent.values()) - len(sent)
    seen = [latency_s for latency_s in probed.latencies_s if latency_s != 1.0]
    assert len(seen) == there - 1
    assert probed.unseen == len(probed.latencies_s) - len(seen)
    assert min(seen) > 0
    assert probed.poll_interval_s > 0
