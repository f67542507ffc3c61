"""Bytewax: the count of a session window per client, in event time, by ``EventClock``, ``SessionWindower`` and a fold.

Without recovery (Bytewax's default), so it pays for no snapshots of its state; ``ordered=False`` because a count does
not depend on order, as its own ``count_window`` has it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SessionWindower, fold_window
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from bench.peers.clicks import click_reader
from bench.peers.stopwatch import Stopwatch
from bench.peers.task import Task


class _Nowhere(StatelessSinkPartition[Any]):  # type: ignore[misc]
    def write_batch(self, items: list[Any]) -> None:
        """Let closed windows go."""


class Nowhere(DynamicSink[Any]):  # type: ignore[misc]
    """A dataflow must end in a sink; this one keeps nothing."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Nowhere:
        """Return the sink's part for one worker."""
        return _Nowhere()


def build_flow(task: Task) -> Dataflow:
    """Return the dataflow; the stopwatch ends the process."""
    read = click_reader()
    stopwatch = Stopwatch(task, ["bytewax", "confluent-kafka", "fastavro"])

    def fold(count: int, click: dict[str, Any]) -> int:
        stopwatch.count()
        return count + 1

    clock = EventClock(
        ts_getter=lambda click: datetime.fromtimestamp(click["occurred_at"] / 1000, UTC),
        wait_for_system_duration=timedelta(milliseconds=task.lateness_ms),
    )
    flow = Dataflow("bytewax_session")
    records = op.input("clicks", flow, KafkaSource([task.kafka], [task.topic]))
    clicks = op.filter_map("decode", records, lambda record: read(record.value))
    keyed = op.key_on("client", clicks, lambda click: f"{click['merchant_id']}|{click['client_id']}")
    windows = fold_window(
        "sessions",
        keyed,
        clock,
        SessionWindower(gap=timedelta(milliseconds=task.gap_ms)),
        builder=int,
        folder=fold,
        merger=int.__add__,
        ordered=False,
    )
    op.output("closed", windows.down, Nowhere())
    return flow


if __name__ == "__main__":
    cli_main(build_flow(Task.parse()))
