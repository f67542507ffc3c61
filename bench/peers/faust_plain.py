"""A Faust agent as Faust's documentation writes one: fastavro per event and one table write per event."""

from typing import Any

import faust

from bench.peers.clicks import click_reader
from bench.peers.stopwatch import Stopwatch
from bench.peers.task import Task


def build_app(task: Task) -> faust.App:
    """Return the app; the stopwatch ends the process."""
    app = faust.App(
        f"faust-plain-{task.topic}",
        broker=f"aiokafka://{task.kafka}",
        value_serializer="raw",
        topic_partitions=task.partitions,
        topic_disable_leader=True,
        stream_wait_empty=False,
        broker_commit_interval=task.commit_ms / 1000,
        broker_session_timeout=6.0,
        broker_rebalance_timeout=3.0,
        worker_redirect_stdouts=False,
        web_enabled=False,
        # Faust sends every changelog record by itself unless told to wait; a good deal quicker here.
        producer_linger=0.02,
        datadir=task.folder,
    )
    read = click_reader()
    stopwatch = Stopwatch(task, ["faust-streaming", "aiokafka", "fastavro"])
    clicks = app.topic(task.topic, value_type=bytes, value_serializer="raw")
    counts = app.Table("clicks_per_client", default=int, partitions=task.partitions)

    @app.agent(clicks)
    async def count(stream: Any) -> None:
        async for value in stream:
            click = read(value)
            if click is not None:
                counts[f"{click['merchant_id']}|{click['client_id']}"] += 1
                stopwatch.count()

    return app


if __name__ == "__main__":
    faust.Worker(build_app(Task.parse()), loglevel="WARN").execute_from_commandline()
