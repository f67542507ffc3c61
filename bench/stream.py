"""Events per second over the whole path on Apache Kafka with one worker, beside its peers, in one run.

Everything runs one after another on one broker, over the same events of the same topic: our worker over both hops
until the last row is stored and committed, then each peer. For all of them the first tenth of their events is warm-up
and not counted. Peers that are too slow for the whole backlog get its beginning; ``<name>_events`` says how much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.backlog import WARM_UP, Pace, fill, make_log, time_workers
from bench.group import Group
from bench.live import run_live
from bench.peers.peer import PEERS, Peer, run_peer
from bench.peers.task import Task
from bench.report import Report
from bench.scale import DEADLINE_S, idle_share, time_two_workers
from bench.stand import Stand
from encoders.artefact import read_manifest
from infra.errors import BenchError, ServiceFailedError
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from streams.app import TICK_S


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What to measure.

    events  about how many of them the backlog holds
    seed    of the backlog
    peers   names of the peers to run
    live    whether live traffic is measured after the backlog
    two_workers  whether the same backlog is worked off by two workers too, on a broker and store of their own
    idle    whether an idle worker is watched
    """

    events: int
    seed: int
    peers: Sequence[str] = tuple(peer.name for peer in PEERS)
    live: bool = True
    two_workers: bool = False
    idle: bool = False


def bench_stream(folder: Path, encoder: Path, plan: StreamPlan, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; everything that is written goes below ``folder``.

    A peer that is not installed or fails is listed in the report as missing, and so is live traffic that could not be
    measured to its end. Raises JavaMissingError without Java and Maven, ArtefactError on a bad encoder, BenchError or
    ServiceFailedError when a program of our own fails.
    """
    report = Report()
    width = float(read_manifest(encoder).fields["shape"]["width"])
    say("generating the backlog")
    log = folder / "backlog.parquet"
    events = make_log(log, plan.events, plan.seed)
    say("starting Apache Kafka and the store")
    with Stand.open(folder / "stand", encoder) as stand:
        say("producing the backlog")
        fill(stand.settings, log)
        say("our worker, both hops")
        _add_ours(report, stand, events)
        report.add("encoder_width", width, "units")
        report.add("tick_ms", 1000 * TICK_S, "ms")
        for peer in PEERS:
            if peer.name in plan.peers:
                say(peer.name)
                _add_peer(report, stand, peer, events)
        if plan.idle:
            say("an idle worker")
            report.add("idle_cpu_share", idle_share(stand), "cores")
        if plan.live:
            say("our worker, live traffic")
            try:
                _add_live(report, stand, log, plan.seed)
            except (BenchError, ServiceFailedError) as error:
                report.missing["ours_live"] = str(error)
    if plan.two_workers:
        say("two workers")
        _add_pace(report, "two_workers", time_two_workers(folder / "two-workers", encoder, log))
        report.compare("two_workers", "ours")
        report.compare("two_workers_cpu_s_per_million", "ours_cpu_s_per_million")
    return report


def _add_pace(report: Report, name: str, pace: Pace) -> None:
    """Note a pace under a name."""
    report.add(name, pace.events_per_s, "events/s")
    report.add(f"{name}_cpu_s_per_million", pace.cpu_s_per_million, "CPU-s")


def _add_ours(report: Report, stand: Stand, events: int) -> None:
    broker_cpu_s, store_cpu_s = stand.broker.cpu_s(), stand.store.cpu_s()
    worker = stand.start_worker("worker")
    pace = time_workers(stand.settings, [worker], DEADLINE_S)
    stand.stop(worker)
    _add_pace(report, "ours", pace)
    report.add("ours_memory", pace.memory_mib, "MiB")
    report.add("ours_events", events, "events")
    group = Group(stand.settings)
    report.add("ours_assignments_per_event", group.produced(SESSIONS_ASSIGNED) / events, "rows/event")
    group.close()
    report.add("ours_broker_cpu_s_per_million", 1e6 * (stand.broker.cpu_s() - broker_cpu_s) / events, "CPU-s")
    report.add("ours_store_cpu_s_per_million", 1e6 * (stand.store.cpu_s() - store_cpu_s) / events, "CPU-s")


def _add_peer(report: Report, stand: Stand, peer: Peer, events: int) -> None:
    settings = stand.settings
    given = min(events, peer.at_most or events)
    folder = stand.folder / peer.name
    folder.mkdir()
    task = Task(
        kafka=settings.kafka,
        topic=CLICKS_RAW,
        partitions=settings.partitions,
        events=given,
        warm_up=max(1, round(WARM_UP * given)),
        gap_ms=settings.gap_ms,
        lateness_ms=settings.allowed_lateness_ms,
        commit_ms=settings.commit_interval_ms,
        folder=folder,
    )
    try:
        answer = run_peer(peer, task, stand.supervisor, stand.folder / f"{peer.name}.log")
    except BenchError as error:
        report.missing[peer.name] = str(error)
        return
    _add_pace(report, peer.name, Pace(answer.events, answer.seconds, answer.cpu_s, 0.0))
    report.add(f"{peer.name}_events", given, "events")
    report.versions |= answer.versions
    report.compare("ours", peer.name)


def _add_live(report: Report, stand: Stand, log: Path, seed: int) -> None:
    live = run_live(stand, log, seed)
    _add_pace(report, "ours_live", live.pace)
    report.add("ours_live_events", live.pace.events, "events")
    report.add("ours_live_assignments_per_event", live.rows / live.pace.events, "rows/event")
    report.add("ours_live_memory", live.pace.memory_mib, "MiB")
    report.add("ours_live_lag", live.lag_events, "events")
