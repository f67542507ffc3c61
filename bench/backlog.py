"""A backlog of real-looking clicks on a fresh Apache Kafka, and how fast a consumer group works it off."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from kafka import KafkaConsumer, TopicPartition

from encoders.generator.delivery import Faults
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from infra.errors import BenchError
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from streams.replay import Replay, replay
from streams.topology import ensure_topics

_POLL_INTERVAL_S = 0.02
#: Share of the backlog left out at the start: joining the group and the first, cold chunks.
_WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """How a backlog was worked off: events per wall second and CPU seconds per million events, after the warm-up."""

    events_per_s: float
    cpu_s_per_million: float
    memory_mib: float


def make_log(path: Path, merchants: int, buyers: int, hours: float, seed: int) -> int:
    """Generate an event log with duplicates and late events and return its number of events."""
    run = GeneratorRun(
        merchants=merchants,
        buyers=buyers,
        hours=hours,
        seed=seed,
        start_ms=1_788_000_000_000,
        first_merchant=0,
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


class GroupProgress:
    """Committed and produced offsets of a group on some topics, read from outside."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=settings.kafka.split(","), group_id=settings.group, enable_auto_commit=False
        )

    def read(self, topic: str) -> tuple[int, int]:
        """Return (records committed, records produced) of a topic."""
        partitions = [TopicPartition(topic, p) for p in self._consumer.partitions_for_topic(topic) or ()]
        committed = sum(self._consumer.committed(partition) or 0 for partition in partitions)
        return committed, sum(self._consumer.end_offsets(partitions).values())

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def time_group(settings: Settings, process: psutil.Process, deadline_s: float) -> Pace:
    """Watch a worker until it has committed both hops' backlog and return its pace.

    ``process`` is the worker. Raises BenchError when it ends early or takes longer than ``deadline_s``.
    """
    progress = GroupProgress(settings)
    begun: tuple[float, float, int] | None = None
    give_up_s = time.monotonic() + deadline_s
    try:
        while True:
            clicks, backlog = progress.read(CLICKS_RAW)
            now_s = time.monotonic()
            if begun is None and clicks > _WARM_UP * backlog:
                begun = (now_s, _cpu_s(process), clicks)
            if begun is not None and clicks == backlog and _caught_up(progress):
                events = clicks - begun[2]
                took_s, cpu_s = time.monotonic() - begun[0], _cpu_s(process) - begun[1]
                return Pace(events / took_s, 1e6 * cpu_s / events, process.memory_info().rss / 2**20)
            if now_s > give_up_s or not process.is_running():
                raise BenchError(
                    f"The worker committed {clicks:,} of {backlog:,} clicks and then stopped; see its log."
                )
            time.sleep(_POLL_INTERVAL_S)
    finally:
        progress.close()


def _caught_up(progress: GroupProgress) -> bool:
    committed, produced = progress.read(SESSIONS_ASSIGNED)
    return committed == produced > 0


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
