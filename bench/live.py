"""One worker under live traffic: what an event costs when every session is reported while it is still open.

How it is measured. A process of its own (``simpersona replay --speed 1 --shift-to-now --order received``) produces
10 000 events per second for 90 s to the topic that the backlog was on. They are the backlog's sessions, as many at a
time as that rate takes, each with a client of its own, at twice their real tempo (median 5 s between two clicks of a
shopper), so that provisional rounds seconds apart still report nearly every click, as in real traffic. Session gap,
allowed lateness and delays on the way are a sixtieth of what they are (30 s and 5 s), so that sessions also close
within the run. Everything else is the product's own.

The first 40 s, in which the first sessions open and close, are not counted. Over the next 40 s: events are those that
the worker counted as processed (``ours_live`` per second of wall time), CPU seconds those of the worker's process
alone, read at the same moments, and rows those that ``sessions.assigned`` was given. ``ours_live_lag`` had been
produced and not been processed at the end: a worker that keeps up lacks a fraction of a second of events.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.backlog import Pace, reading
from bench.crowd import Crowd, make_crowd
from bench.group import Group
from bench.stand import Program, Stand
from infra.errors import BenchError
from schemas.topics import CLICKS_RAW

EVENTS_PER_S = 10_000.0
WARM_UP_S = 40.0
MEASURED_S = 40.0
#: The producer's own start and end are not to reach into what is measured.
_MARGIN_S = 10.0
_SPEED_UP = 2.0
#: By how much the session gap, the allowed lateness and delays are shortened.
_SHORTER = 60
_STARTED_WITHIN_S = 60.0
_POLL_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Live:
    """What live traffic took. ``lag_events`` had been produced and not been processed at the end."""

    pace: Pace
    rows: int
    lag_events: int


def run_live(stand: Stand, log: Path, seed: int) -> Live:
    """Produce the traffic and watch a new worker take it; ``log`` is the backlog's.

    Raises ServiceFailedError when worker or producer end early, BenchError when the worker cannot be asked.
    """
    settings = stand.settings
    crowd = Crowd(
        events_per_s=EVENTS_PER_S,
        seconds=WARM_UP_S + MEASURED_S + _MARGIN_S,
        speed_up=_SPEED_UP,
        delay_speed_up=_SHORTER,
        name="live",
        seed=seed,
    )
    traffic = stand.folder / "live.parquet"
    make_crowd(log, settings.gap_ms, crowd, traffic)
    worker = stand.start_worker(
        "live-worker",
        gap_ms=settings.gap_ms // _SHORTER,
        allowed_lateness_ms=settings.allowed_lateness_ms // _SHORTER,
    )
    worker.wait_joined()
    group = Group(settings)
    try:
        earlier = group.produced(CLICKS_RAW)
        producer = start_replay(stand, group, "live-replay", traffic)
        time.sleep(WARM_UP_S)
        before = reading(group, [worker])
        time.sleep(MEASURED_S)
        after = reading(group, [worker])
        lag_events = group.produced(CLICKS_RAW) - earlier - worker.processed(CLICKS_RAW)
        producer.cpu_s()  # raises when it has ended before its time
        memory_mib = worker.memory_mib()
    finally:
        group.close()
    stand.stop(producer)
    stand.stop(worker)
    return Live(after.pace_since(before, memory_mib), after.rows - before.rows, lag_events)


def start_replay(stand: Stand, group: Group, name: str, traffic: Path) -> Program:
    """Start producing traffic at its own tempo, as if it happened now; return once the first event is there.

    Raises ServiceFailedError when the producer ends before, BenchError when nothing comes.
    """
    before = group.produced(CLICKS_RAW)
    producer = stand.start_command(
        name, "replay", "--events", str(traffic), "--speed", "1", "--shift-to-now", "--order", "received", "--no-close"
    )
    give_up_s = time.monotonic() + _STARTED_WITHIN_S
    while group.produced(CLICKS_RAW) == before:
        producer.cpu_s()  # raises when it has ended
        if time.monotonic() > give_up_s:
            raise BenchError(f"The producer {name} sent nothing; its log says: {producer.child.tail() or 'nothing'}.")
        time.sleep(_POLL_INTERVAL_S)
    return producer
