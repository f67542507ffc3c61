"""How far the workers are: lag and speed, read from Kafka's own offsets so that no worker has to be asked."""

from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.topics import CLICKS_RAW, CLICKS_SIMULATED


@dataclass(frozen=True, slots=True)
class Progress:
    """Records produced to and committed from the click topics so far, and the speed since the last reading."""

    produced: int
    committed: int
    events_per_s: float

    @property
    def lag(self) -> int:
        """Records that no worker has made durable yet."""
        return max(0, self.produced - self.committed)


class ProgressMeter:
    """Read the progress of one consumer group. Not thread-safe; made and used by one thread."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Connect; raises kafka-python's KafkaError when no broker answers."""
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), group_id=group, enable_auto_commit=False)
        self._last: tuple[float, int] | None = None

    def read(self, now_s: float) -> Progress:
        """Return the progress at ``now_s`` (monotonic seconds). Raises KafkaError when the broker is away."""
        partitions = [
            TopicPartition(topic, partition)
            for topic in (CLICKS_RAW, CLICKS_SIMULATED)
            for partition in self._consumer.partitions_for_topic(topic) or ()
        ]
        if not partitions:
            raise KafkaError("the click topics do not exist yet")
        produced = sum(self._consumer.end_offsets(partitions).values())
        committed = sum(self._consumer.committed(partition) or 0 for partition in partitions)
        before = self._last or (now_s, committed)
        self._last = (now_s, committed)
        elapsed_s = now_s - before[0]
        return Progress(produced, committed, (committed - before[1]) / elapsed_s if elapsed_s > 0 else 0.0)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
