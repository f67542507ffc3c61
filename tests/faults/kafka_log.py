"""What lies on the broker: records of a topic, and how far the workers' group has committed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

POLL_MS = 200
#: Longest wait for the group's coordinator.
COORDINATOR_WITHIN_S = 60.0
COORDINATOR_NOT_READY = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it lies."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read_topic(bootstrap: str, topic: str, beginnings: dict[int, int] | None = None) -> list[Record]:
    """Return the committed records of a topic in offset order per partition, from its beginning or from offsets."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest", isolation_level="read_committed"
    )
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        for number, offset in (beginnings or {}).items():
            consumer.seek(TopicPartition(topic, number), offset)
        ends = consumer.end_offsets(partitions)
        records = []
        while any(consumer.position(one) < ends[one] for one in partitions):
            for found in consumer.poll(POLL_MS).values():
                records += [Record(one.partition, one.offset, one.key, one.value) for one in found]
        return records
    finally:
        consumer.close()


def committed(bootstrap: str, group: str) -> dict[TopicPartition, int]:
    """Return the next offset to read per partition that the group has committed anything for."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    give_up = time.monotonic() + COORDINATOR_WITHIN_S
    try:
        while True:
            try:
                found = admin.list_group_offsets([group])[group]
                return {partition: one.offset for partition, one in found.items()}
            except COORDINATOR_NOT_READY:
                # A broker that is new, or just came back, has not made or loaded the topic of offsets yet.
                if time.monotonic() > give_up:
                    raise
                time.sleep(POLL_MS / 1000)
    finally:
        admin.close()


def unread(bootstrap: str, group: str, topics: Sequence[str]) -> int:
    """Return how many committed records of some topics the group has not committed as read."""
    offsets = committed(bootstrap, group)
    waiting = 0
    for topic in topics:
        beginnings = {one.partition: offset for one, offset in offsets.items() if one.topic == topic}
        waiting += len(read_topic(bootstrap, topic, beginnings))
    return waiting


def in_sync(bootstrap: str) -> bool:
    """Say whether every partition of every topic has all its replicas."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        partitions = [one for topic in admin.describe_topics() for one in topic["partitions"]]
        return all(len(one["isr_nodes"]) == len(one["replica_nodes"]) for one in partitions)
    finally:
        admin.close()
