"""Cost of an event in a whole worker, both hops and the changelog, with a number of sessions open all the time."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.group import Group
from bench.stand import Stand, Worker
from bench.state_clicks import produce
from bench.state_cost import OPEN_S, STEADY_MS
from bench.state_traffic import Rows, traffic
from infra.errors import BenchError
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from streams.topology import ensure_topics

#: Clicks that are measured, once as many sessions end as begin; the last few are left out, as they are not behind.
_CLICKS, _LAST_CLICKS = 2_000_000, 100_000
_EVENTS_PER_SESSION = 5.67
_DEADLINE_S = 600.0
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker needed for an event of its backlog, and the rows of ``sessions.assigned`` it made of one."""

    event_us: float
    rows_per_event: float
    events_per_s: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a worker is."""

    events: int
    cpu_s: float
    rows: int
    at_s: float


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
        produce(settings, partitions, _until(begun + _CLICKS, traffic(open_sessions / OPEN_S, seed)))
        worker = stand.start_worker("worker")
        worker.wait_joined()
        with closing(Group(settings)) as group:
            first = _reached(worker, group, begun)
            last = _reached(worker, group, begun + _CLICKS - _LAST_CLICKS)
        stand.stop(worker)
    events = last.events - first.events
    return Work(
        event_us=1e6 * (last.cpu_s - first.cpu_s) / events,
        rows_per_event=(last.rows - first.rows) / events,
        events_per_s=events / (last.at_s - first.at_s),
    )


def _until(clicks: int, slices: Iterator[Rows]) -> Iterator[Rows]:
    for rows in slices:
        yield rows
        clicks -= len(rows)
        if clicks <= 0:
            return


def _reached(worker: Worker, group: Group, clicks: int) -> _Mark:
    """Wait until a worker has worked off so many clicks."""
    give_up_s = time.monotonic() + _DEADLINE_S
    while (events := worker.processed(CLICKS_RAW)) < clicks:
        if time.monotonic() > give_up_s:
            raise BenchError(f"The worker took longer than {_DEADLINE_S:.0f} s; see {worker.child.spec.log}.")
        time.sleep(_POLL_S)
    return _Mark(events, worker.cpu_s(), group.produced(SESSIONS_ASSIGNED), time.monotonic())
