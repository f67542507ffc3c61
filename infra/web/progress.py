"""How far the workers are: lag and speed, read from Kafka's own offsets so that no worker has to be asked."""

from collections import deque
from dataclasses import dataclass
from types import TracebackType

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from infra.errors import BrokerUnreachableError
from schemas.topics import CLICKS_RAW, CLICKS_SIMULATED

#: The speed is that of so many seconds: workers commit every five, so that less would show bursts and pauses.
SPEED_OVER_S = 15.0
#: Longest wait for one answer of the broker.
ANSWER_WITHIN_MS = 2_000


@dataclass(frozen=True, slots=True)
class Progress:
    """Records produced to and committed from the click topics so far, and the speed of the last seconds."""

    produced: int
    committed: int
    events_per_s: float

    @property
    def lag(self) -> int:
        """Records that no worker has made durable yet."""
        return max(0, self.produced - self.committed)


class Speed:
    """Events a second over the last ``SPEED_OVER_S``, whoever asks and however often."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, committed: int) -> float:
        """Take a reading and return the speed: 0 at the first one, and while a broker set up anew is behind the old."""
        self._readings.append((now_s, committed))
        # The oldest one kept is as old as the span or older: less would measure between two commits.
        while len(self._readings) > 1 and now_s - self._readings[1][0] >= SPEED_OVER_S:
            self._readings.popleft()
        before_s, before = self._readings[0]
        return max(0, committed - before) / (now_s - before_s) if now_s > before_s else 0.0


class ProgressMeter:
    """Read the progress of one consumer group. Not thread-safe; a context manager, made and used by one thread."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Connect; raises BrokerUnreachableError when no broker answers."""
        self._bootstrap = bootstrap
        self._speed = Speed()
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap.split(","),
                group_id=group,
                enable_auto_commit=False,
                bootstrap_timeout_ms=ANSWER_WITHIN_MS,
            )
        except KafkaError as error:
            raise self._away() from error

    def read(self, now_s: float) -> Progress:
        """Return the progress at ``now_s`` (monotonic seconds). Raises BrokerUnreachableError."""
        try:
            partitions = [
                TopicPartition(topic, partition)
                for topic in (CLICKS_RAW, CLICKS_SIMULATED)
                for partition in self._consumer.partitions_for_topic(topic) or ()
            ]
            if not partitions:
                raise BrokerUnreachableError(
                    f"The broker at {self._bootstrap} has no click topics yet; `simpersona migrate` makes them."
                )
            produced = sum(self._consumer.end_offsets(partitions, timeout_ms=ANSWER_WITHIN_MS).values())
            committed = sum(
                self._consumer.committed(partition, timeout_ms=ANSWER_WITHIN_MS) or 0 for partition in partitions
            )
        except KafkaError as error:
            raise self._away() from error
        return Progress(produced, committed, self._speed.add(now_s, committed))

    def _away(self) -> BrokerUnreachableError:
        return BrokerUnreachableError(f"The broker at {self._bootstrap} does not answer: lag and speed are unknown.")

    def __enter__(self) -> "ProgressMeter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._consumer.close(timeout_ms=0)
