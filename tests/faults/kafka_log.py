"""What lies on the broker: records of a topic, and how far the workers' group has committed.

Read by librdkafka: in Python, decoding the log of a fault test takes longer than its workers do with all their work.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from kafka import KafkaAdminClient

#: Longest wait for the broker's or the group's answer.
ANSWER_WITHIN_S = 60.0
AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record and where it lies."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Return the committed records of a topic in offset order per partition, from its beginning."""
    with _consumer(bootstrap, "nobody") as consumer:
        found = _from(consumer, [TopicPartition(*one, OFFSET_BEGINNING) for one in _partitions(consumer, [topic])])
        return [Record(one.partition(), one.offset(), one.key(), one.value()) for one in found]


def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Return the next offset to read per partition of a topic that the group has committed anything for."""
    with _consumer(bootstrap, group) as consumer:
        asked = [TopicPartition(*one) for one in _partitions(consumer, [topic])]
        return {one.partition: one.offset for one in consumer.committed(asked, ANSWER_WITHIN_S) if one.offset >= 0}


def unread(bootstrap: str, group: str, topics: Sequence[str]) -> int:
    """Return how many committed records of some topics the group has not committed as read."""
    with _consumer(bootstrap, group) as consumer:
        # What was never committed is read from the beginning.
        starts = consumer.committed([TopicPartition(*one) for one in _partitions(consumer, topics)], ANSWER_WITHIN_S)
        return sum(1 for _ in _from(consumer, starts))


@contextmanager
def _consumer(bootstrap: str, group: str) -> Iterator[Consumer]:
    """Open a consumer that never joins its group."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "log_level": 0,
    }
    with closing(Consumer(settings)) as consumer:
        yield consumer


def _partitions(consumer: Consumer, topics: Sequence[str]) -> list[tuple[str, int]]:
    return [
        (topic, n) for topic in topics for n in consumer.list_topics(topic, ANSWER_WITHIN_S).topics[topic].partitions
    ]


def _from(consumer: Consumer, starts: list[TopicPartition]) -> Iterator[Message]:
    """Yield the messages of partitions from their offsets to where they end now."""
    consumer.assign(starts)
    open_partitions = {(one.topic, one.partition) for one in starts}
    while open_partitions:
        for message in consumer.consume(AT_ONCE, timeout=0.1):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard((message.topic(), message.partition()))
            else:
                assert error.retriable(), str(error)


def in_sync(bootstrap: str) -> bool:
    """Say whether every partition of every topic has all its replicas."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        partitions = [one for topic in admin.describe_topics() for one in topic["partitions"]]
        return all(len(one["isr_nodes"]) == len(one["replica_nodes"]) for one in partitions)
    finally:
        admin.close()
