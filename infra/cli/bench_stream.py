"""``simpersona bench stream``, ``latency`` and ``state``: the live path on Apache Kafka."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.bench_frame import EncoderOption, JsonOption, Say, kept, show

if TYPE_CHECKING:
    from bench.report import Report

SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the traffic.")]


def stream(
    encoder: EncoderOption = None,
    events: Annotated[int, typer.Option(min=100_000, help="About how many events the backlog holds.")] = 1_000_000,
    peer: Annotated[
        list[str] | None, typer.Option(help="A peer to run, or none; may be given several times. Default: all.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Measure live traffic too (a minute and a half).")
    ] = True,
    two_workers: Annotated[
        bool, typer.Option("--two-workers", help="Also work off the same backlog with two workers.")
    ] = False,
    idle: Annotated[bool, typer.Option("--idle", help="Also watch an idle worker for a minute.")] = False,
    seed: SeedOption = 11,
    json_file: JsonOption = None,
) -> None:
    """Run one worker over the whole path on Apache Kafka, then each peer on the same topic, then live traffic.

    Needs Java 17 and Maven. Everything but the peers' programs lies in a temporary folder that is removed at the end.

    Example: simpersona bench stream --encoder .simpersona/demo/encoder --json stream.json
    """
    from bench.peers.peer import PEERS
    from bench.stream import StreamPlan, bench_stream
    from infra.errors import ArgumentError

    known = [one.name for one in PEERS]
    wrong = sorted(set(peer or []) - {*known, "none"})
    if wrong:
        raise ArgumentError(f"--peer {wrong[0]!r} is no peer; choose from {', '.join(known)}, or none.")
    plan = StreamPlan(events, seed, known if peer is None else peer, live, two_workers, idle)
    _run("stream", encoder, json_file, lambda folder, artefact, say: bench_stream(folder, artefact, plan, say))


def latency(
    encoder: EncoderOption = None,
    rate: Annotated[
        list[int] | None,
        typer.Option(
            min=100, max=100_000, help="Events per second; may be given several times, [default: 1000 10000 30000]."
        ),
    ] = None,
    seconds: Annotated[int, typer.Option(min=5, max=600, help="How long each rate is measured.")] = 40,
    seed: SeedOption = 11,
    json_file: JsonOption = None,
) -> None:
    """Time from producing a click until its session's provisional row can be queried, at several loads.

    Needs Java 17 and Maven. Everything lies in a temporary folder that is removed at the end.

    Example: simpersona bench latency --encoder .simpersona/demo/encoder --json latency.json
    """
    from bench.latency import LatencyPlan, bench_latency

    plan = LatencyPlan(rate or [1_000, 10_000, 30_000], seconds, seed)
    _run("latency", encoder, json_file, lambda folder, artefact, say: bench_latency(folder, artefact, plan, say))


def state(
    encoder: EncoderOption = None,
    sessions: Annotated[int, typer.Option(min=1_000, help="Sessions that are open at one time.")] = 1_000_000,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Measurements of an event's cost; the median counts.")
    ] = 5,
    seed: SeedOption = 11,
    json_file: JsonOption = None,
) -> None:
    """Memory of open sessions, recovery after kill -9, memory given back, and cost of an event, few against many.

    Needs Java 17 and Maven. Everything lies in a temporary folder that is removed at the end.

    Example: simpersona bench state --encoder .simpersona/demo/encoder --json state.json
    """
    from bench.state import StatePlan, bench_state

    plan = StatePlan(sessions, repeats, seed)
    _run("state", encoder, json_file, lambda folder, artefact, say: bench_state(folder, artefact, plan, say))


def _run(
    name: str,
    encoder: Path | None,
    json_file: Path | None,
    measure: Callable[[Path, Path, Say], "Report"],
) -> None:
    """Measure in a temporary folder, print the report and write it where asked."""
    import logging

    from rich.console import Console

    from schemas.settings import settings

    # aiokafka logs each failed try; what matters arrives as an exception and is printed once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with kept(None) as folder, Console(stderr=True).status("starting") as status:
        report = measure(folder, encoder or settings().encoder, status.update)
    show(name, report, json_file)
