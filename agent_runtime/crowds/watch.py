"""The latest mix of every merchant, as the stream announces it on its compacted topic."""

import json
from collections.abc import Iterable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agent_runtime.crowds.publish import BOOTSTRAP_MS
from agent_runtime.errors import AgentError, PopulationError
from agent_runtime.population.population import Mix
from schemas.topics import PERSONAS_DISTRIBUTION


def read_mix(value: bytes) -> Mix:
    """Return the mix of one announcement. Raises PopulationError when it is none."""
    try:
        mix = json.loads(value)
        weights = {int(code): float(weight) for code, weight in mix["weights"].items()}
        return Mix(
            str(mix["merchant_id"]),
            str(mix["codebook_version"]),
            int(mix["emitted_at"]),
            float(mix["n_effective"]),
            weights,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PopulationError(f"{PERSONAS_DISTRIBUTION} holds a record that is no mix ({error!r}).") from error


class MixWatch:
    """Follows ``personas.distribution`` from its beginning, without a group. Raises AgentError without a broker."""

    def __init__(self, bootstrap: str) -> None:
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap.split(","),
                enable_auto_commit=False,
                isolation_level="read_committed",
                bootstrap_timeout_ms=BOOTSTRAP_MS,
            )
            partitions = self._consumer.partitions_for_topic(PERSONAS_DISTRIBUTION) or set()
        except KafkaError as error:
            raise AgentError(
                f"No Kafka broker answers at {bootstrap} ({error}); start one or correct SIMPERSONA_KAFKA."
            ) from error
        if not partitions:
            raise AgentError(
                f"The broker at {bootstrap} has no topic {PERSONAS_DISTRIBUTION}; run `simpersona migrate`."
            )
        assigned = [TopicPartition(PERSONAS_DISTRIBUTION, partition) for partition in sorted(partitions)]
        self._consumer.assign(assigned)
        self._consumer.seek_to_beginning(*assigned)

    def poll(self, timeout_ms: int) -> Iterable[Mix]:
        """Return the mixes announced since the last call, oldest first, waiting at most this long for one."""
        fetched = self._consumer.poll(timeout_ms=timeout_ms)
        return [read_mix(record.value) for records in fetched.values() for record in records if record.value]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
