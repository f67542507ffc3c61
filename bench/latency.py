"""How long after a click its session's provisional row can be queried, at several loads, with one worker.

Apache Kafka, the embedded store, one worker. The load is a crowd of shoppers (``bench.crowd``) at twice their real
tempo, paced by a process of its own (``simpersona replay --speed 1``); beside it run the probes of ``bench.probes``,
which are timed. For each rate: a warm-up, then so many seconds of probes. The rates run one after another on one stand
with one worker, the lowest first, each once the one before is worked off; its sessions stay open.

The latency is that of a probe's click from just before it is handed to the producer until an answer of the store's HTTP
interface holds it, so it contains the producer, both hops, the insert, the query and half a poll on average;
``poll_interval_p50_…`` is the resolution. Should the load not come up to the rate, ``sent_events_per_s_…`` says so;
``lag_…`` is what the worker had not committed at the end. ``worker_cpu_share_…`` and ``store_cpu_share_…`` are CPU
seconds per wall second over the measured time.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.backlog import make_log
from bench.crowd import Crowd, make_crowd
from bench.group import Group
from bench.live import start_replay
from bench.probes import Probes
from bench.report import Report
from bench.stand import Stand, Worker
from encoders.artefact import read_manifest
from infra.errors import BenchError
from schemas.topics import CLICKS_RAW
from streams.app import TICK_S
from streams.broker.topology import ensure_topics

#: After joining and the first rows, caches are warm and the rate of rows is steady.
WARM_UP_S = 12.0
_MARGIN_S = 4.0
_SPEED_UP = 2.0
#: Events of the log whose sessions the crowds are made of.
_LOG_EVENTS = 300_000
_WORKED_OFF_WITHIN_S = 120.0
_POLL_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """Rates in events per second, how long each is measured, and the seed of the traffic."""

    rates: Sequence[int]
    seconds: float
    seed: int


def bench_latency(folder: Path, encoder: Path, plan: LatencyPlan, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; everything that is written goes below ``folder``.

    Raises ArtefactError on a bad encoder, JavaMissingError without Java and Maven, ServiceFailedError when a program
    fails, BenchError when the worker does not work a rate off.
    """
    report = Report()
    report.add("encoder_width", float(read_manifest(encoder).fields["shape"]["width"]), "units")
    report.add("tick_ms", 1_000 * TICK_S, "ms")
    say("generating sessions")
    log = folder / "sessions.parquet"
    make_log(log, _LOG_EVENTS, plan.seed)
    say("starting Apache Kafka, the store and a worker")
    with Stand.open(folder / "stand", encoder) as stand:
        ensure = ensure_topics(stand.settings.kafka, stand.settings.partitions, stand.settings.replication)
        asyncio.run(ensure)
        worker = stand.start_worker("worker")
        worker.wait_joined()
        for rate in sorted(plan.rates):
            say(f"{rate:,} events/s")
            _add_rate(report, stand, worker, log, rate, plan)
        stand.stop(worker)
    return report


def rate_label(events_per_s: int) -> str:
    """Return a rate as figures' names have it: 10000 is ``10k``."""
    return f"{events_per_s // 1_000}k" if events_per_s % 1_000 == 0 else str(events_per_s)


def _add_rate(report: Report, stand: Stand, worker: Worker, log: Path, rate: int, plan: LatencyPlan) -> None:
    label = rate_label(rate)
    traffic = stand.folder / f"traffic-{label}.parquet"
    crowd = Crowd(rate, WARM_UP_S + plan.seconds + _MARGIN_S, _SPEED_UP, _SPEED_UP, label, plan.seed)
    make_crowd(log, stand.settings.gap_ms, crowd, traffic)
    group = Group(stand.settings)
    try:
        replay = start_replay(stand, group, f"replay-{label}", traffic)
        with Probes(stand.settings, label, plan.seed) as probes:
            time.sleep(WARM_UP_S)
            probes.measure()
            before = _reading(group, stand, worker)
            time.sleep(plan.seconds)
            after = _reading(group, stand, worker)
            lag = group.produced(CLICKS_RAW) - group.committed(CLICKS_RAW)
            probed = probes.finish()
        stand.stop(replay)
        _wait_worked_off(group, worker, rate)
    finally:
        group.close()
    latencies_ms = 1_000 * np.array(probed.latencies_s)
    seconds = after.at_s - before.at_s
    for percent in (50, 99):
        report.add(f"latency_p{percent}_{label}", float(np.percentile(latencies_ms, percent)), "ms")
    report.add(f"probes_{label}", len(latencies_ms), "clicks")
    report.add(f"probes_unseen_{label}", probed.unseen, "clicks")
    report.add(f"poll_interval_{label}", 1_000 * probed.poll_interval_s, "ms")
    report.add(f"sent_events_per_s_{label}", (after.clicks - before.clicks) / seconds, "events/s")
    report.add(f"lag_{label}", lag, "events")
    report.add(f"worker_cpu_share_{label}", (after.worker_cpu_s - before.worker_cpu_s) / seconds, "cores")
    report.add(f"store_cpu_share_{label}", (after.store_cpu_s - before.store_cpu_s) / seconds, "cores")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What had been produced and used at one moment."""

    at_s: float
    clicks: int
    worker_cpu_s: float
    store_cpu_s: float


def _reading(group: Group, stand: Stand, worker: Worker) -> _Reading:
    return _Reading(time.monotonic(), group.produced(CLICKS_RAW), worker.cpu_s(), stand.store.cpu_s())


def _wait_worked_off(group: Group, worker: Worker, rate: int) -> None:
    """Return once everything that was sent is committed. Raises BenchError when that takes too long."""
    give_up_s = time.monotonic() + _WORKED_OFF_WITHIN_S
    while (left := group.produced(CLICKS_RAW) - group.committed(CLICKS_RAW)) > 0:
        worker.cpu_s()  # raises when it has ended
        if time.monotonic() > give_up_s:
            raise BenchError(
                f"{_WORKED_OFF_WITHIN_S:.0f} s after {rate:,} events/s the worker still lacked {left:,} events."
            )
        time.sleep(_POLL_INTERVAL_S)
