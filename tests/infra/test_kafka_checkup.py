"""What the doctor finds in Kafka, on real brokers that are as they should be and on ones that are not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from infra.stack.apache_kafka import ApacheKafka
from infra.stack.finding import Finding, Verdict
from infra.stack.kafka_checkup import (
    copies,
    judged_clock,
    judged_copies,
    judged_topics,
    judged_workers,
    kafka_clock,
    retention,
    topics,
    workers,
)
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, COMPACTED, SESSIONS_CHANGELOG
from streams.broker.topology import TOPICS, ensure_topics
from tests.worker_process import until

PARTITIONS = 2
OK, WARNING, FAILED, SKIPPED = Verdict.OK, Verdict.WARNING, Verdict.FAILED, Verdict.SKIPPED


@pytest.fixture(scope="module")
def own_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An Apache Kafka of its own with the product's topics: what is asked is how its groups and settings are."""
    broker = ApacheKafka.start(tmp_path_factory.mktemp("doctor"), kafka_jars)
    try:
        broker.wait_ready()
        asyncio.run(ensure_topics(broker.bootstrap, PARTITIONS, 1))
        yield Settings(kafka=broker.bootstrap, partitions=PARTITIONS, commit_interval_ms=100)
    finally:
        broker.stop()


@pytest.fixture
def embedded(kafka: str) -> Settings:
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    return Settings(kafka=kafka, partitions=PARTITIONS, commit_interval_ms=100)


def produce(settings: Settings, records: int) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    for _ in range(records):
        producer.send(CLICKS_RAW, b"click", partition=1).get(timeout=10)
    producer.close()


class Group:
    """Somebody in the workers' group who reads, and commits only when told."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = KafkaConsumer(
            CLICKS_RAW,
            bootstrap_servers=settings.kafka,
            group_id=settings.group,
            session_timeout_ms=6_000,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        while not self._consumer.assignment():
            self._consumer.poll(timeout_ms=100)

    def finish(self, records: int) -> None:
        while sum(self._consumer.position(one) for one in self._consumer.assignment()) < records:
            self._consumer.poll(timeout_ms=100)
        self._consumer.commit()

    def close(self) -> None:
        self._consumer.close(autocommit=False)


@pytest.mark.kafka
def test_an_apache_kafka_as_migrate_made_it_is_well(own_kafka: Settings) -> None:
    for check in (topics, copies, retention, kafka_clock):
        assert check(own_kafka).verdict is OK, check(own_kafka)
    kept = "personas.codebooks, personas.distribution, sessions.changelog"
    assert retention(own_kafka).found == f"{kept} compacted, nothing deleted by age"


@pytest.mark.kafka
@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_changelog_that_is_deleted_by_age_is_a_failure(own_kafka: Settings, policy: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=own_kafka.kafka)

    def alter(value: str) -> None:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, SESSIONS_CHANGELOG, {"cleanup.policy": value})])

    try:
        alter(policy)
        # A broker answers before the change holds.
        until(lambda: retention(own_kafka).verdict is FAILED, "the topic's policy to change")
        finding = retention(own_kafka)
    finally:
        alter("compact")
        admin.close()
    assert finding.found == f"sessions.changelog has cleanup.policy={policy}: open sessions would be forgotten"
    assert "--alter --topic sessions.changelog --add-config cleanup.policy=compact" in finding.remedy


@pytest.mark.kafka
def test_a_group_is_watched_from_nobody_to_stuck_to_done(own_kafka: Settings) -> None:
    assert workers(own_kafka).verdict is OK, "nothing waits, so nobody needs to read"
    produce(own_kafka, 3)
    found = workers(own_kafka)
    assert (found.verdict, found.remedy) == (WARNING, "Start `simpersona worker`.")
    reader = Group(own_kafka)
    assert workers(own_kafka) == Finding(
        "workers",
        FAILED,
        "1 worker(s) in group simpersona; 3 records wait in clicks.raw/1 and no offset moves",
        "Ask the workers' /health and logs what they wait for; restart one that says `not progressing`.",
    )
    reader.finish(3)
    assert workers(own_kafka).verdict is OK
    reader.close()
    produce(own_kafka, 2)
    assert workers(own_kafka) == Finding(
        "workers",
        WARNING,
        "0 worker(s) in group simpersona; 2 records wait in clicks.raw/1 and no offset moves",
        "Start `simpersona worker`.",
    )


def test_the_embedded_broker_is_asked_only_what_it_can_answer(embedded: Settings) -> None:
    verdicts = {check.__name__: check(embedded).verdict for check in (topics, copies, retention, kafka_clock, workers)}
    assert verdicts == {"topics": OK, "copies": OK, "retention": OK, "kafka_clock": SKIPPED, "workers": OK}
    produce(embedded, 2)
    finding = workers(embedded)
    assert finding.verdict is WARNING
    assert finding.found == "group simpersona; 2 records wait in clicks.raw/1 and no offset moves"
    assert finding.remedy == "Start `simpersona worker`; if one runs, ask its /health what it waits for."


def test_more_copies_than_brokers_are_told_before_migrate_fails(kafka: str) -> None:
    finding = topics(Settings(kafka=kafka, replication=3))
    assert finding.verdict is FAILED
    assert finding.found == "SIMPERSONA_REPLICATION is 3, the cluster has 1 broker(s)"


@pytest.mark.fast
def test_topics_that_are_not_co_partitioned_are_named() -> None:
    finding = judged_topics(dict.fromkeys(TOPICS, 4) | {CLICKS_RAW: 5}, 4)
    assert finding.verdict is FAILED
    assert finding.found == "not co-partitioned: clicks.raw with more partitions than sessions.changelog (4)"


def partition(leader: int = 1, replicas: int = 3, in_step: int | None = None) -> dict[str, Any]:
    nodes = list(range(1, replicas + 1))
    return {"leader_id": leader, "replica_nodes": nodes, "isr_nodes": nodes[: replicas if in_step is None else in_step]}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("partitions", "brokers", "verdict", "says"),
    [
        ([partition()], 3, OK, "3 on 3 broker(s), all in step"),
        ([partition(replicas=1)], 1, OK, "1 on 1 broker(s), all in step"),
        ([partition(replicas=2)], 2, OK, "2 on 2"),
        ([partition(), partition(in_step=2)], 3, WARNING, "copies missing or behind: clicks.raw"),
        (
            [partition(), partition(replicas=1)],
            3,
            WARNING,
            "1 copy of clicks.raw on 3 brokers: one broker",
        ),
        ([partition(in_step=1), partition(leader=-1, in_step=0)], 3, FAILED, "partitions without a leader: clicks.raw"),
    ],
)
def test_copies_are_judged_by_leader_step_and_number(
    partitions: list[dict[str, Any]], brokers: int, verdict: Verdict, says: str
) -> None:
    finding = judged_copies({CLICKS_RAW: partitions}, brokers)
    assert finding.verdict is verdict
    assert finding.found.startswith(says)
    assert bool(finding.remedy) == (verdict is not OK)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("theirs_ms", "verdict", "apart_ms"),
    [(10_050, OK, 0), (9_000, OK, 1_000), (8_999, WARNING, 1_001), (11_101, WARNING, 1_001), (70_100, WARNING, 60_000)],
)
def test_a_clock_is_judged_from_both_sides_of_its_reading(theirs_ms: int, verdict: Verdict, apart_ms: int) -> None:
    finding = judged_clock("kafka_clock", "Kafka", 10_000, theirs_ms, 10_100)
    assert finding.verdict is verdict
    assert f" {apart_ms} ms " in f" {finding.found} "


@pytest.mark.fast
def test_many_stuck_partitions_are_counted_not_listed() -> None:
    waiting = {TopicPartition(CLICKS_RAW, number): 10 for number in range(9)}
    finding = judged_workers("g", 2, waiting, set(waiting))
    assert "90 records wait in clicks.raw/0, clicks.raw/1, clicks.raw/2, clicks.raw/3 and 5 more" in finding.found
    moving = judged_workers("g", 2, waiting, set())
    assert (moving.verdict, moving.found) == (OK, "2 worker(s) in group g; 90 records wait and are being read")
    assert judged_workers("g", None, {}, set()).found == "group g; nothing waits"


@pytest.mark.fast
def test_all_topics_that_must_be_kept_for_ever_are_looked_at() -> None:
    assert set(TOPICS) >= COMPACTED
