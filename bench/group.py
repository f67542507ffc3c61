"""A consumer group's progress, read from the broker: the worker itself is not asked."""

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec

from schemas.settings import Settings


class Group:
    """Committed and produced offsets of our workers' group, summed over a topic's partitions.

    The group must have members: before it ever had one, a broker has no coordinator to ask.
    """

    def __init__(self, settings: Settings) -> None:
        self._name = settings.group
        self._partitions = settings.partitions
        self._admin = KafkaAdminClient(bootstrap_servers=settings.kafka.split(","))

    def committed(self, topic: str) -> int:
        """Return how many records of a topic the group has committed."""
        offsets = self._admin.list_group_offsets({self._name: self._of(topic)})[self._name]
        return sum(max(0, offset.offset) for offset in offsets.values())

    def produced(self, topic: str) -> int:
        """Return how many records a topic has been given."""
        ends = self._admin.list_partition_offsets(dict.fromkeys(self._of(topic), OffsetSpec.LATEST))
        return sum(end.offset for end in ends.values())

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    def _of(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for partition in range(self._partitions)]
