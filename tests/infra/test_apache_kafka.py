"""Apache Kafka from Maven's jars."""

import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from infra.errors import JavaMissingError
from infra.stack.apache_kafka import ApacheKafka, ApacheKafkaCluster, fetch_jars, java, read_properties
from infra.stack.ports import free_port

RECORDS = 100


@pytest.mark.fast
def test_properties_are_read_without_comments() -> None:
    assert read_properties("# why\na.b = c\n\nd=e=f\n") == {"a.b": "c", "d": "e=f"}


@pytest.mark.fast
def test_a_machine_without_java_or_maven_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaMissingError, match="needs Java 17 or newer and no `java` is here"):
        java()
    with pytest.raises(JavaMissingError, match="no `mvn` is here; install Maven"):
        fetch_jars(tmp_path / "cache")


@pytest.mark.fast
def test_a_java_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(JavaMissingError, match=r"or newer; `java -version` says: openjdk version \"11.0.2\""):
        java()


@pytest.mark.kafka
def test_a_broker_that_was_killed_has_its_records_when_it_starts_again(kafka_jars: Path, tmp_path: Path) -> None:
    port = free_port()
    first = ApacheKafka.start(tmp_path, kafka_jars, port, properties={"auto.create.topics.enable": "true"})
    try:
        first.wait_ready()
        producer = KafkaProducer(bootstrap_servers=first.bootstrap, acks="all")
        for number in range(RECORDS):
            producer.send("t", value=b"%d" % number, partition=0).get(timeout=60)
        producer.close()
    finally:
        first.kill()
    second = ApacheKafka.start(tmp_path, kafka_jars, port)
    try:
        second.wait_ready()
        consumer = KafkaConsumer(bootstrap_servers=second.bootstrap, auto_offset_reset="earliest")
        consumer.assign([TopicPartition("t", 0)])
        got: list[bytes] = []
        while len(got) < RECORDS:
            got += [record.value for records in consumer.poll(1_000).values() for record in records]
        assert got == [b"%d" % number for number in range(RECORDS)]
        consumer.close()
    finally:
        second.stop()


@pytest.mark.kafka
def test_a_cluster_of_three_takes_records_while_one_broker_is_down_and_that_one_catches_up(
    kafka_jars: Path, tmp_path: Path
) -> None:
    cluster = ApacheKafkaCluster(tmp_path, kafka_jars)
    try:
        cluster.wait_ready()
        admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
        admin.create_topics([NewTopic("t", num_partitions=3, replication_factor=3)])
        producer = KafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all")

        def send(value: bytes) -> None:
            for partition in range(3):
                producer.send("t", value=value, partition=partition).get(timeout=60)

        def in_sync() -> set[int]:
            [topic] = admin.describe_topics(["t"])
            return {len(partition["isr_nodes"]) for partition in topic["partitions"]}

        send(b"before")
        cluster.kill(2)
        send(b"meanwhile")
        cluster.restart(2)
        cluster.wait_ready()
        give_up = time.monotonic() + 60
        while in_sync() != {3}:
            assert time.monotonic() < give_up
        producer.close()
        admin.close()
    finally:
        cluster.stop()
