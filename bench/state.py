"""A million open sessions: memory, recovery after a kill, memory given back, and cost of an event, few against many."""

import asyncio
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from bench.group import Group
from bench.report import Report
from bench.stand import Stand, Worker
from bench.state_clicks import close_all, produce
from bench.state_cost import costs
from bench.state_traffic import START_MS, Rows, traffic
from bench.state_work import Work, work
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED, SESSIONS_CHANGELOG
from streams.broker.topology import ensure_topics

_DEADLINE_S = 600.0
#: Sessions that come and go before the worker's memory is looked at: by then its buffers are as large as work needs.
_WARM_SESSIONS, _WARM_MS = 200_000, 600_000
#: Event time in which the sessions that count begin, long after those, and a time by which they have ended. It is
#: shorter than gap and lateness together, so that none closes meanwhile.
_FILL_FROM_MS, _FILL_MS = 90_000_000, 600_000
_END_MS = _FILL_FROM_MS + 1_700_000
#: A worker without clicks gives memory back after five seconds.
_QUIET_S = 10.0
#: Share of the sessions asked for that must be open: they begin in whole numbers per slice of time.
_NEARLY = 0.95
#: State that a worker without sessions may hold: its empty tables.
_EMPTY_BYTES = 1 << 20
_SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}


@dataclass(frozen=True, slots=True)
class StatePlan:
    """How many sessions the worker gets, how often the windows alone are measured, and the traffic's seed."""

    sessions: int
    repeats: int
    seed: int


def bench_state(folder: Path, encoder: Path, plan: StatePlan, report: Callable[[str], None]) -> Report:
    """Measure one worker on Apache Kafka with so many open sessions, then the windows alone; return the figures.

    Raises JavaMissingError without Java and Maven, ArtefactError on a bad encoder, ServiceFailedError or BenchError
    when the worker fails.
    """
    figures = Report()
    report("starting Apache Kafka and the store")
    with Stand.open(folder, encoder) as stand:
        _process(stand, plan, figures, report)
    report("cost of an event in the sessions alone, with few and with many of them open")
    for (name, _), cost in zip(_SIZES.items(), costs(list(_SIZES.values()), plan.repeats, plan.seed), strict=True):
        figures.add(f"add_us_per_event_{name}", cost.event_us, "CPU-us")
        figures.add(f"record_us_{name}", cost.record_us, "CPU-us")
    figures.compare("add_us_per_event_1m", "add_us_per_event_10k")
    _work(folder, encoder, plan, figures, report)
    return figures


def _work(folder: Path, encoder: Path, plan: StatePlan, figures: Report, report: Callable[[str], None]) -> None:
    """Measure whole workers, one with few sessions open and one with many in turn: all meet the same machine."""
    found: dict[str, list[Work]] = {"10k": [], "1m": []}
    turns = (plan.repeats + 1) // 2  # one takes minutes
    for turn in range(turns):
        for name, works in found.items():
            report(f"cost of an event in a whole worker, {_SIZES[name]:,} sessions open, {turn + 1} of {turns}")
            works.append(work(folder / f"work-{name}-{turn}", encoder, _SIZES[name], plan.seed + turn))
    for name, works in found.items():
        figures.add(
            f"worker_us_per_event_{name}", statistics.median(one.pace.cpu_s_per_million for one in works), "CPU-us"
        )
        figures.add(
            f"worker_rows_per_event_{name}", statistics.median(one.rows / one.pace.events for one in works), "rows"
        )
        figures.add(
            f"worker_events_per_s_{name}", statistics.median(one.pace.events_per_s for one in works), "events/s"
        )
    figures.compare("worker_us_per_event_1m", "worker_us_per_event_10k")


def _process(stand: Stand, plan: StatePlan, figures: Report, report: Callable[[str], None]) -> None:
    settings = stand.settings
    partitions = asyncio.run(ensure_topics(settings.kafka, settings.partitions, settings.replication))[CLICKS_RAW]
    report("a worker, and sessions that come and go")
    worker = stand.start_worker("worker")
    worker.wait_joined()
    with closing(Group(settings)) as group:
        produce(settings, partitions, traffic(1000 * _WARM_SESSIONS / _WARM_MS, plan.seed, _WARM_MS))
        worker.wait_until(
            lambda: _settled(group, worker, _WARM_SESSIONS), "the first clicks were worked off", _DEADLINE_S
        )
        close_all(settings, partitions, START_MS + _WARM_MS)
        worker.wait_until(
            lambda: _settled(group, worker, 0) and _is_empty(worker), "the first sessions were closed", _DEADLINE_S
        )
        before = _quiet_memory_mib(worker)

        report(f"{plan.sessions:,} sessions")
        begun_s = time.monotonic()
        produce(settings, partitions, _more(plan))
        worker.wait_until(lambda: _settled(group, worker, plan.sessions), "the clicks were worked off", _DEADLINE_S)
        filled_s = time.monotonic()
        many, busy, filled = worker.metric("open_sessions"), worker.memory_mib(), _quiet_memory_mib(worker)
        figures.add("open_sessions", many, "sessions")
        figures.add("events_per_open_session", worker.metric("open_events") / many, "events")
        figures.add("resident_bytes_per_session", (filled - before) * 2**20 / many, "B")
        figures.add("state_bytes_per_session", worker.metric("state_bytes") / many, "B")
        figures.add("fill_s", filled_s - begun_s, "s")

        report("kill -9 and a restart")
        worker.child.stop(signal.SIGKILL)
        stand.stop(worker)
        begun_s = time.monotonic()
        reached_ms = START_MS + _END_MS
        produce(settings, partitions, [_probe(reached_ms, partitions)])
        worker = stand.start_worker("worker-after-kill")
        worker.wait_joined()
        worker.wait_until(
            lambda: group.committed(CLICKS_RAW) == group.produced(CLICKS_RAW), "the probe was worked off", _DEADLINE_S
        )
        figures.add("recovery_s", time.monotonic() - begun_s, "s")
        figures.add("restored_records", worker.metric("restored_records_total"), "records")

        report("all sessions close")
        begun_s = time.monotonic()
        close_all(settings, partitions, reached_ms)
        worker.wait_until(
            lambda: _settled(group, worker, 0) and _is_empty(worker), "all sessions were closed", _DEADLINE_S
        )
        figures.add("close_s", time.monotonic() - begun_s, "s")
        after = _quiet_memory_mib(worker)
        figures.add("resident_before", before, "MiB")
        figures.add("resident_filled", filled, "MiB")
        figures.add("resident_filled_busy", busy, "MiB")
        figures.add("resident_after_close", after, "MiB")
        figures.add("resident_after_close_ratio", after / before, "x")
        figures.add("open_sessions_after_close", worker.metric("open_sessions"), "sessions")
        stand.stop(worker)
    figures.add("changelog_clients_left", _clients_left(settings), "clients")


def _quiet_memory_mib(worker: Worker) -> float:
    """Return a worker's memory once it has been quiet long enough to have given back what it does not use."""
    time.sleep(_QUIET_S)
    return worker.memory_mib()


def _settled(group: Group, worker: Worker, sessions: int) -> bool:
    """Say whether both hops have committed all they were given, and about so many sessions are open."""
    worked_off = all(group.committed(topic) == group.produced(topic) for topic in (CLICKS_RAW, SESSIONS_ASSIGNED))
    found = worker.metric("open_sessions")
    return worked_off and (found >= _NEARLY * sessions if sessions else found == 0)


def _is_empty(worker: Worker) -> bool:
    return worker.metric("state_bytes") < _EMPTY_BYTES


def _more(plan: StatePlan) -> Iterator[Rows]:
    for rows in traffic(1000 * plan.sessions / _FILL_MS, plan.seed + 1, _FILL_MS):
        session = rows.session + 2 * _WARM_SESSIONS
        yield Rows(session, rows.occurred_ms + _FILL_FROM_MS, rows.received_ms + _FILL_FROM_MS)


def _probe(at_ms: int, partitions: int) -> Rows:
    """Return one event each of some new sessions, enough that every partition gets one."""
    session = np.arange(-1, -1 - 8 * partitions, -1, dtype=np.int64) + (1 << 40)
    times = np.full(len(session), at_ms, np.int64)
    return Rows(session, times, times)


def _clients_left(settings: Settings) -> int:
    """Return how many keys of the changelog, the partitions' own apart, end in anything but a tombstone."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    with closing(consumer):
        logs = [TopicPartition(SESSIONS_CHANGELOG, p) for p in consumer.partitions_for_topic(SESSIONS_CHANGELOG) or ()]
        consumer.assign(logs)
        ends = consumer.end_offsets(logs)
        left: set[bytes] = set()
        while any(consumer.position(log) < ends[log] for log in logs):
            for records in consumer.poll(timeout_ms=1000, max_records=50_000).values():
                for record in records:
                    if record.value is None:
                        left.discard(record.key)
                    elif not record.key.endswith(b"|"):
                        left.add(record.key)
        return len(left)
