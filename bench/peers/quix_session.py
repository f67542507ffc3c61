"""Quix Streams: the count of a session window per client, in event time, with its RocksDB store and changelog.

Windows close by key, Quix's default; to close them by the partition's watermark, as ours do, it would sweep all keys.
It tolerates a whole gap of disorder by itself, so no grace is added on top.
"""

from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext
from quixstreams.models.serializers.exceptions import IgnoreMessage

from bench.peers.clicks import click_reader
from bench.peers.stopwatch import Stopwatch
from bench.peers.task import Task


class ClickDeserializer(Deserializer):  # type: ignore[misc]
    """Avro to the click's fields; other records of the topic are ignored."""

    def __init__(self) -> None:
        super().__init__()
        self._read = click_reader()

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:
        """Return the fields. Raises IgnoreMessage, which Quix passes over, when the record is no click."""
        click = self._read(value)
        if click is None:
            raise IgnoreMessage
        return click


def occurred_ms(click: Any, headers: Any, timestamp_ms: int, kind: Any) -> int:
    """Return the event time."""
    return int(click["occurred_at"])


def main() -> None:
    """Run until the stopwatch ends the process."""
    task = Task.parse()
    stopwatch = Stopwatch(task, ["quixstreams", "confluent-kafka", "rocksdict", "fastavro"])
    app = Application(
        broker_address=task.kafka,
        consumer_group="quix-session",
        auto_offset_reset="earliest",
        commit_interval=task.commit_ms / 1000,
        state_dir=task.folder,
        loglevel="ERROR",
        on_message_processed=lambda topic, partition, offset: stopwatch.count(),
    )
    clicks = app.topic(task.topic, value_deserializer=ClickDeserializer(), timestamp_extractor=occurred_ms)
    windows = app.dataframe(clicks).session_window(inactivity_gap_ms=timedelta(milliseconds=task.gap_ms), grace_ms=0)
    windows.count().final()
    app.run()


if __name__ == "__main__":
    main()
