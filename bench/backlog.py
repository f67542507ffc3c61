"""A backlog of real-looking clicks on a fresh Apache Kafka, and how fast workers work it off."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.group import Group
from bench.stand import Worker
from encoders.generator.delivery import Faults
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from infra.errors import BenchError
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from streams.broker.topology import ensure_topics
from streams.event_logs.replay import Replay, replay

_POLL_INTERVAL_S = 0.1
#: Share of the backlog left out at the start, for us and for every peer: joining the group and the first, cold chunks.
WARM_UP = 0.1
#: A warm-up that is only noticed after this share leaves too little to be timed.
_TOO_LATE = 0.5
#: Long ago, so that live traffic may follow on the same topic: a watermark never goes back.
_START_MS = 1_735_000_000_000
_MERCHANTS, _HOURS, _EVENTS_PER_BUYER = 40, 6.0, 21


@dataclass(frozen=True, slots=True)
class Pace:
    """How work was done: wall seconds for so many events, the CPU seconds it took, and memory at its end."""

    events: int
    seconds: float
    cpu_s: float
    memory_mib: float

    @property
    def events_per_s(self) -> float:
        """Events per wall second."""
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        """CPU seconds per million events."""
        return 1e6 * self.cpu_s / self.events


@dataclass(frozen=True, slots=True)
class Reading:
    """How far workers were at one moment: clicks they had processed, and rows of ``sessions.assigned`` there were."""

    at_s: float
    clicks: int
    cpu_s: float
    rows: int

    def pace_since(self, earlier: "Reading", memory_mib: float) -> Pace:
        """Return how work was done between two readings."""
        return Pace(self.clicks - earlier.clicks, self.at_s - earlier.at_s, self.cpu_s - earlier.cpu_s, memory_mib)


def reading(group: Group, workers: Sequence[Worker]) -> Reading:
    """Return where workers are now. Raises ServiceFailedError when one has ended, BenchError when one is silent."""
    clicks = sum(worker.processed(CLICKS_RAW) for worker in workers)
    cpu_s = sum(worker.cpu_s() for worker in workers)
    return Reading(time.monotonic(), clicks, cpu_s, group.produced(SESSIONS_ASSIGNED))


def make_log(path: Path, events: int, seed: int) -> int:
    """Generate an event log of about so many events, with duplicates and late ones; return its number of events."""
    run = GeneratorRun(
        merchants=_MERCHANTS,
        buyers=max(events // _MERCHANTS // _EVENTS_PER_BUYER, 1),
        hours=_HOURS,
        seed=seed,
        start_ms=_START_MS,
        drift=False,
        bots=0.005,
        malformed=0.0,
        overlap=OVERLAP,
        faults=Faults(delayed=0.15, late=0.002, duplicated=0.02),
    )
    made = generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return made.events


def fill(settings: Settings, log: Path) -> None:
    """Produce a log to ``clicks.raw`` in the order in which it was received, with a closing watermark."""

    async def run() -> None:
        topics = await ensure_topics(settings.kafka, settings.partitions, settings.replication)
        close_ms = settings.gap_ms + settings.allowed_lateness_ms + settings.session_max_ms
        plan = Replay([log], CLICKS_RAW, order="received", close_ms=close_ms)
        await replay(plan, settings.kafka, topics[CLICKS_RAW], time.time_ns() // 1_000_000, lambda sent, total: None)

    asyncio.run(run())


def time_workers(settings: Settings, workers: Sequence[Worker], deadline_s: float) -> Pace:
    """Watch workers from the end of the warm-up until they have committed both hops' backlog; return their pace.

    The warm-up ends by the workers' own counts of processed clicks, read together with their CPU seconds: a commit may
    be a second behind. The end is what the broker says. Raises ServiceFailedError when one ends early, BenchError when
    one gets no partition, they take longer than ``deadline_s``, or the backlog is too small to be timed.
    """
    for worker in workers:
        worker.wait_joined()
    group = Group(settings)
    try:
        backlog = group.produced(CLICKS_RAW)
        give_up_s = time.monotonic() + deadline_s
        begun = reading(group, workers)
        while begun.clicks < WARM_UP * backlog and time.monotonic() < give_up_s:
            time.sleep(_POLL_INTERVAL_S)
            begun = reading(group, workers)
        if begun.clicks > _TOO_LATE * backlog:
            raise BenchError(f"Of {backlog:,} clicks most were processed at once: too few to time; ask for more.")
        while not _worked_off(group, CLICKS_RAW) or not _worked_off(group, SESSIONS_ASSIGNED):
            if time.monotonic() > give_up_s:
                done = group.committed(CLICKS_RAW)
                raise BenchError(f"The workers committed {done:,} of {backlog:,} clicks in {deadline_s:.0f} s.")
            for worker in workers:
                worker.cpu_s()  # raises when it has ended
            time.sleep(_POLL_INTERVAL_S)
        seconds = time.monotonic() - begun.at_s
        cpu_s = sum(worker.cpu_s() for worker in workers) - begun.cpu_s
        return Pace(backlog - begun.clicks, seconds, cpu_s, sum(worker.memory_mib() for worker in workers))
    finally:
        group.close()


def _worked_off(group: Group, topic: str) -> bool:
    """Whether the group has committed everything that a topic has been given."""
    return group.committed(topic) == group.produced(topic)
