"""``simpersona bench``: measure, beside the peers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.report import Report

app = typer.Typer(no_args_is_help=True, help="Measure, beside the peers, and print figures as JSON.")

EncoderOption = Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the traffic.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")]


@app.command()
def stream(
    encoder: EncoderOption = None,
    events: Annotated[int, typer.Option(min=100_000, help="About how many events the backlog holds.")] = 600_000,
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


@app.command()
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


@app.command()
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


@app.command()
def encoder(
    merchants: Annotated[int, typer.Option(min=5, max=9_999, help="Merchants to train on.")] = 60,
    unseen: Annotated[int, typer.Option(min=1, help="Merchants held out, to be asked about.")] = 42,
    buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant to train on.")] = 300,
    unseen_buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant held out.")] = 200,
    hours: Annotated[float, typer.Option(min=1, help="Hours of traffic.")] = 168.0,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Difficulty from 0 (types as written) to 1 (all the same).", show_default=False
        ),
    ] = None,
    codes: Annotated[int | None, typer.Option(min=2, max=512, help="Coarse codes.", show_default=False)] = None,
    fine_codes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Finer codes within each coarse one.", show_default=False)
    ] = None,
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the sessions at most.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the boosted ceiling.")] = 100,
    baselines: Annotated[bool, typer.Option(help="Also measure k-means++, a Gaussian mixture and FSQ.")] = True,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also train without each part.")] = False,
    seeds: Annotated[bool, typer.Option("--seeds", help="Also compare three seeds at 16, 32 and 64 codes.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where generated merchants are kept for another run. Default: nowhere.")
    ] = None,
    world_seed: Annotated[int, typer.Option(min=0, help="Seed of the merchants and buyers.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """How well codes tell planted buyer types on merchants never seen, as a share of a supervised ceiling.

    Beside it codebook usage, purchases foretold, calibration, and the speed of ONNX Runtime against torch. One thread.

    Example: simpersona bench encoder --folder .simpersona/bench --json encoder.json
    """
    import tempfile
    import time
    from contextlib import ExitStack
    from dataclasses import replace

    from rich.console import Console

    from bench.encoder import EncoderPlan, bench_encoder
    from bench.encoder_world import WorldPlan
    from encoders.generator.run import OVERLAP
    from encoders.model import Shape
    from encoders.training import TrainingOptions

    difficulty = OVERLAP if overlap is None else overlap
    world = WorldPlan(merchants, unseen, buyers, unseen_buyers, hours, difficulty, world_seed)
    shape = Shape()
    shape = replace(shape, coarse=codes or shape.coarse, fine=fine_codes or shape.fine)
    options = TrainingOptions(shape, epochs=epochs, seed=seed)
    plan = EncoderPlan(world, options, rounds, baselines, ablations, seeds)
    console, start = Console(stderr=True), time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simpersona-bench-")))
        report = bench_encoder(
            folder, plan, lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False)
        )
    report.print(Console(), "bench encoder")
    if json_file is not None:
        report.write(json_file)


@app.command()
def align(
    merchants: Annotated[int, typer.Option(min=5, max=9_999, help="Merchants to train on.")] = 60,
    buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant to train on.")] = 300,
    held_out: Annotated[int, typer.Option(min=2, help="Storefronts held out, to be judged on.")] = 42,
    held_out_buyers: Annotated[int, typer.Option(min=10, help="Buyers of every storefront held out.")] = 1_200,
    hours: Annotated[float, typer.Option(min=1, help="Hours of traffic.")] = 168.0,
    least_sessions: Annotated[
        int, typer.Option(min=20, help="A held-out storefront with fewer sessions is left out.")
    ] = 2_000,
    derangements: Annotated[int, typer.Option(min=1, help="Permutations of the persona tokens.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the sessions for each simulator.")] = 3,
    processes: Annotated[int, typer.Option(min=1, help="Storefronts compared at the same time.")] = 2,
    device: Annotated[str, typer.Option(help="Where models are trained: cpu or cuda.")] = "cpu",
    folder: Annotated[Path, typer.Option(help="Where everything made is kept, and taken up again.")] = Path(
        ".simpersona/bench-align"
    ),
    world_seed: Annotated[int, typer.Option(min=0, help="Seed of the merchants and buyers.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and simulation.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Simulated buyers against real ones on storefronts never seen, beside noise floors and every yardstick.

    Generates the merchants, trains the encoder and four simulators (with persona tokens, without, without and eight
    times the parameters, and for buyers known from earlier), then compares. An interrupted run is taken up again.

    Example: simpersona bench align --held-out 6 --derangements 2 --json align.json
    """
    import time

    from rich.console import Console

    from agent_runtime.alignment_run import AlignmentPlan
    from bench.align import AlignBench, bench_align
    from bench.align_targets import targets_table

    sizes = AlignBench(
        merchants, buyers, held_out, held_out_buyers, hours, least_sessions, world_seed, seed, epochs=epochs,
        processes=processes, device=device,
    )  # fmt: skip
    plan = AlignmentPlan(seed=seed, derangements=derangements)
    console, start = Console(stderr=True), time.monotonic()
    report, table = bench_align(
        folder, sizes, plan, lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False)
    )
    report.print(Console(), "bench align")
    Console().print(targets_table(table))
    if json_file is not None:
        report.write(json_file)


@app.command()
def adapt(
    merchants: Annotated[int, typer.Option(min=5, max=9_999, help="Merchants to train on and to adapt to.")] = 24,
    unseen: Annotated[int, typer.Option(min=1, help="Merchants held out, to be asked about.")] = 20,
    buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant, each week.")] = 300,
    unseen_buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant held out.")] = 200,
    hours: Annotated[float, typer.Option(min=1, help="Hours of traffic, each week.")] = 168.0,
    half_life: Annotated[int, typer.Option(min=100, help="Sessions after which the past weighs half.")] = 2_000,
    train_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs of training the network on; 0 leaves all further training out.")
    ] = 4,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of the first training, at most.")] = 12,
    world_seed: Annotated[int, typer.Option(min=0, help="Seed of the world.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and adaptation.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Folder to keep generated merchants in; without it they are removed.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Follow shoppers who change their ways: quality before, after, and after adaptation; what stays when none do.

    Example: simpersona bench adapt --folder .simpersona/bench --json adapt.json
    """
    import tempfile
    import time
    from contextlib import ExitStack

    from rich.console import Console

    from bench.adapt import AdaptPlan, bench_adapt
    from encoders.adaptation import AdaptationOptions
    from encoders.training import TrainingOptions

    options, adaptation = TrainingOptions(epochs=epochs, seed=seed), AdaptationOptions(half_life, seed=seed)
    plan = AdaptPlan(merchants, unseen, buyers, unseen_buyers, hours, world_seed, options, adaptation, train_epochs)
    console, start = Console(stderr=True), time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simpersona-bench-")))
        report = bench_adapt(
            folder, plan, lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False)
        )
    report.print(Console(), "bench adapt")
    if json_file is not None:
        report.write(json_file)


@app.command()
def real(
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the sessions at most.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the boosted peer.")] = 60,
    resamples: Annotated[int, typer.Option(min=20, help="Resamples of buyers behind the intervals.")] = 1_000,
    folder: Annotated[
        Path | None, typer.Option(help="Where imported logs are kept for another run. Default: nowhere.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training, folds and resamples.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Carts and purchases foretold from the first 2 and 4 events at a real shop that training has not seen.

    Each log below SIMPERSONA_DATA in turn is the unseen shop; beside k-means, boosting and a ceiling of the shop's own.

    Example: simpersona bench real --folder .simpersona/bench --json real.json
    """
    import tempfile
    import time
    from contextlib import ExitStack

    from rich.console import Console

    from bench.real import RealPlan, bench_real
    from encoders.training import TrainingOptions
    from schemas.settings import settings

    plan = RealPlan(TrainingOptions(epochs=epochs, seed=seed), rounds, resamples, seed)
    console, start = Console(stderr=True), time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simpersona-bench-")))
        report = bench_real(
            folder,
            settings().data,
            plan,
            lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False),
        )
    report.print(Console(), "bench real")
    if json_file is not None:
        report.write(json_file)


@app.command()
def drift(
    steady: Annotated[int, typer.Option(min=1, help="Shops without a shift, for counting false alarms.")] = 200,
    days: Annotated[int, typer.Option(min=8, help="Simulated days of each of them.")] = 30,
    shifted: Annotated[int, typer.Option(min=1, help="Shops that shift, for every size of shift.")] = 60,
    points: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=80, help="Points of the mix that move; may be given several times, [default: 5 10 20]."
        ),
    ] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also each detector alone, less of the forecast, and restless shops.")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes at work. Default: one per core.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shops and their sessions.")] = 5,
    json_file: JsonOption = None,
) -> None:
    """Delay until a shift of the mix is noticed, false alarms without any, and whether the right types are named.

    The product's own detectors on simulated final sessions; no broker, no store, no encoder.

    Example: simpersona bench drift --json drift.json
    """
    import os
    from dataclasses import replace

    from rich.console import Console

    from bench.drift import DriftPlan, bench_drift
    from bench.drift_traffic import TrafficPlan

    plan = DriftPlan(steady, days, shifted, points=tuple(points or (5, 10, 20)), ablations=ablations)
    plan = replace(plan, traffic=TrafficPlan(seed=seed))
    with Console(stderr=True).status("starting") as status:
        report = bench_drift(plan, processes or os.cpu_count() or 1, status.update)
    report.print(Console(), "bench drift")
    if json_file is not None:
        report.write(json_file)


def _run(
    name: str,
    encoder: Path | None,
    json_file: Path | None,
    measure: Callable[[Path, Path, Callable[[str], None]], "Report"],
) -> None:
    """Measure in a temporary folder, print the report and write it where asked."""
    import logging
    import tempfile

    from rich.console import Console

    from schemas.settings import settings

    # aiokafka logs each failed try; what matters arrives as an exception and is printed once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="simpersona-bench-") as folder, console.status("starting") as status:
        report = measure(Path(folder), encoder or settings().encoder, lambda step: status.update(step))
    report.print(Console(), f"bench {name}")
    if json_file is not None:
        report.write(json_file)


# Registered on the same app, in a file of its own.
from infra.cli import bench_browser  # noqa: E402, F401
