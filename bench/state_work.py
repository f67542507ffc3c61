"""Cost of an event in a whole worker, both hops and the changelog, with a number of sessions open all the time."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.backlog import Pace, Reading, reading
from bench.group import Group
from bench.stand import Stand, Worker
from bench.state_clicks import produce
from bench.state_cost import OPEN_S, STEADY_MS
from bench.state_traffic import Rows, traffic
from schemas.topics import CLICKS_RAW
from streams.broker.topology import ensure_topics

#: Clicks that are measured, once as many sessions end as begin; the last few are left out, as they are not behind.
_CLICKS, _LAST_CLICKS = 2_000_000, 100_000
_EVENTS_PER_SESSION = 5.67
_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Work:
    """A worker's pace in the steady state, and the rows of ``sessions.assigned`` it made meanwhile."""

    pace: Pace
    rows: int


def work(folder: Path, encoder: Path, open_sessions: int, seed: int) -> Work:
    """Start broker, store and a worker whose clicks all wait for it already, and measure it in the steady state.

    It is behind all the time, so that it writes final sessions only: as many for few open sessions as for many.
    Raises BenchError when it takes too long, and as ``Stand.open`` and ``Worker``.
    """
    folder.mkdir(parents=True)
    begun = round(open_sessions / OPEN_S * STEADY_MS / 1000 * _EVENTS_PER_SESSION)
    with Stand.open(folder, encoder) as stand:
        settings = stand.settings
        partitions = asyncio.run(ensure_topics(settings.kafka, settings.partitions, settings.replication))[CLICKS_RAW]
        produce(settings, partitions, _at_least(begun + _CLICKS, traffic(open_sessions / OPEN_S, seed)))
        worker = stand.start_worker("worker")
        worker.wait_joined()
        with closing(Group(settings)) as group:
            first = _reached(worker, group, begun)
            last = _reached(worker, group, begun + _CLICKS - _LAST_CLICKS)
        memory_mib = worker.memory_mib()
        stand.stop(worker)
    return Work(last.pace_since(first, memory_mib), last.rows - first.rows)


def _at_least(clicks: int, slices: Iterator[Rows]) -> Iterator[Rows]:
    for rows in slices:
        yield rows
        clicks -= len(rows)
        if clicks <= 0:
            return


def _reached(worker: Worker, group: Group, clicks: int) -> Reading:
    """Return where a worker is once it has worked off so many clicks."""
    worker.wait_until(lambda: worker.processed(CLICKS_RAW) >= clicks, f"{clicks:,} clicks were worked off", _DEADLINE_S)
    return reading(group, [worker])
