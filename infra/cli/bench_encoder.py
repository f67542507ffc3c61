"""``simpersona bench encoder``, ``adapt``, ``real`` and ``drift``: buyer types, and what becomes of them."""

from typing import Annotated

import typer

from infra.cli.bench_frame import FolderOption, JsonOption, WorldSeedOption, kept, show, steps


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
    folder: FolderOption = None,
    world_seed: WorldSeedOption = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """How well codes tell planted buyer types on merchants never seen, as a share of a supervised ceiling.

    Beside it codebook usage, purchases foretold, calibration, and the speed of ONNX Runtime against torch. One thread.

    Example: simpersona bench encoder --folder .simpersona/bench --json encoder.json
    """
    from dataclasses import replace

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
    with kept(folder) as place:
        report = bench_encoder(place, plan, steps())
    show("encoder", report, json_file)


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
    world_seed: WorldSeedOption = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and adaptation.")] = 0,
    folder: FolderOption = None,
    json_file: JsonOption = None,
) -> None:
    """Follow shoppers who change their ways: quality before, after, and after adaptation; what stays when none do.

    Example: simpersona bench adapt --folder .simpersona/bench --json adapt.json
    """
    from bench.adapt import AdaptPlan, bench_adapt
    from encoders.adaptation import AdaptationOptions
    from encoders.training import TrainingOptions

    options, adaptation = TrainingOptions(epochs=epochs, seed=seed), AdaptationOptions(half_life, seed=seed)
    plan = AdaptPlan(merchants, unseen, buyers, unseen_buyers, hours, world_seed, options, adaptation, train_epochs)
    with kept(folder) as place:
        report = bench_adapt(place, plan, steps())
    show("adapt", report, json_file)


def real(
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the sessions at most.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the boosted peer.")] = 60,
    resamples: Annotated[int, typer.Option(min=20, help="Resamples of buyers behind the intervals.")] = 1_000,
    folder: FolderOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training, folds and resamples.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Carts and purchases foretold from the first 2 and 4 events at a real shop that training has not seen.

    Each log below SIMPERSONA_DATA in turn is the unseen shop; beside k-means, boosting and a ceiling of the shop's own.

    Example: simpersona bench real --folder .simpersona/bench --json real.json
    """
    from bench.real import RealPlan, bench_real
    from encoders.training import TrainingOptions
    from schemas.settings import settings

    plan = RealPlan(TrainingOptions(epochs=epochs, seed=seed), rounds, resamples, seed)
    with kept(folder) as place:
        report = bench_real(place, settings().data, plan, steps())
    show("real", report, json_file)


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
    show("drift", report, json_file)
