"""Events per second over the whole path on Apache Kafka, one worker, beside a plain Faust agent in the same run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.backlog import Pace, fill, make_log, time_group
from bench.report import Report
from encoders.artefact import read_manifest
from infra.errors import BenchError
from infra.stack.apache_kafka import ApacheKafka, fetch_jars
from infra.stack.child import Child, ChildSpec
from infra.stack.clickhouse import connect
from infra.stack.migrate import migrate
from infra.stack.store import EmbeddedStore
from infra.stack.supervisor import Supervisor
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW

_DEADLINE_S = 300.0
_MERCHANTS, _HOURS, _EVENTS_PER_BUYER = 40, 48.0, 16


class _Process:
    """A benchmarked program as the supervisor keeps it."""

    def __init__(self, child: Child) -> None:
        self.child = child


def bench_stream(
    folder: Path, encoder: Path, events: int, plain_events: int, seed: int, report: Callable[[str], None]
) -> Report:
    """Run both and return the figures; everything it writes goes below ``folder``.

    Raises JavaMissingError without Java and Maven, ArtefactError on a bad encoder, BenchError when a program fails.
    """
    figures = Report()
    manifest = read_manifest(encoder)
    with Supervisor(folder) as supervisor:
        report("starting Apache Kafka and the store")
        jars = fetch_jars()
        kafka = supervisor.start(lambda: ApacheKafka.start(folder / "kafka", jars))
        store = supervisor.start(lambda: EmbeddedStore.start(folder / "clickhouse", folder / "store.log", 4096))
        kafka.wait_ready()
        store.wait_ready()
        migrate(store.url())
        settings = Settings(kafka=kafka.bootstrap, clickhouse=store.url(), encoder=encoder)
        report("generating and producing the backlog")
        log = folder / "backlog.parquet"
        produced = make_log(log, _MERCHANTS, max(events // _MERCHANTS // _EVENTS_PER_BUYER, 1), _HOURS, seed)
        fill(settings, log)
        report("our worker, both hops")
        ours = _ours(supervisor, folder, settings)
        report("a plain Faust agent with one table write per event")
        plain = _plain(supervisor, folder, settings, plain_events)
        assigned = _assignments(settings)
    figures.add("ours", ours.events_per_s, "events/s")
    figures.add("ours_cpu_s_per_million", ours.cpu_s_per_million, "CPU-s")
    figures.add("ours_memory", ours.memory_mib, "MiB")
    figures.add("ours_events", produced, "events")
    figures.add("ours_assignments_per_event", assigned / produced, "rows/event")
    figures.add("encoder_width", float(manifest.fields["shape"]["width"]), "units")
    figures.add("faust_plain", plain.events_per_s, "events/s")
    figures.add("faust_plain_cpu_s_per_million", plain.cpu_s_per_million, "CPU-s")
    figures.compare("ours", "faust_plain")
    return figures


def _ours(supervisor: Supervisor, folder: Path, settings: Settings) -> Pace:
    environment = {
        "SIMPERSONA_KAFKA": settings.kafka,
        "SIMPERSONA_CLICKHOUSE": settings.clickhouse,
        "SIMPERSONA_ENCODER": str(settings.encoder),
    }
    spec = ChildSpec("worker", [sys.executable, "-m", "streams"], folder / "worker.log", env=environment)
    worker = supervisor.start(lambda: _Process(Child(spec)))
    try:
        return time_group(settings, psutil.Process(worker.child.pid), _DEADLINE_S)
    finally:
        supervisor.stop(worker)


def _plain(supervisor: Supervisor, folder: Path, settings: Settings, events: int) -> Pace:
    argv = [
        sys.executable, "-m", "bench.faust_plain", "--kafka", settings.kafka, "--topic", CLICKS_RAW,
        "--partitions", str(settings.partitions), "--events", str(events),
    ]  # fmt: skip
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchError(f"The plain Faust agent ended with code {done.returncode} and no figure: {done.stderr[-300:]}")
    result = json.loads(lines[-1])
    return Pace(events / result["seconds"], 1e6 * result["cpu_s"] / events, 0.0)


def _assignments(settings: Settings) -> int:
    client = connect(settings.clickhouse)
    try:
        ((rows,),) = client.query("SELECT count() FROM session_assignments").result_rows
        return int(rows)
    finally:
        client.close()
