"""``simpersona bench align``: simulated buyers against real ones."""

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.bench_frame import JsonOption, WorldSeedOption, show, steps


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
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the sessions for each simulator; by default as finetune takes them."),
    ] = None,
    adapter_sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Past sessions that a storefront's adapter is fitted on, at most. Default: 400; with --real as many "
            "as simulate --adapt takes.",
        ),
    ] = None,
    few_biases: Annotated[
        bool, typer.Option("--few-biases", help="Adapters of one bias an event, instead of one an action.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="Storefronts compared at the same time.")] = 2,
    device: Annotated[str, typer.Option(help="Where models are trained: cpu or cuda.")] = "cpu",
    real: Annotated[
        bool, typer.Option("--real", help="Hold out each real click log below SIMPERSONA_DATA; generate nothing.")
    ] = False,
    own_past: Annotated[
        bool,
        typer.Option("--own-past", help="Let every simulator go on with what the past halves of the held-out show."),
    ] = False,
    drifted: Annotated[
        int,
        typer.Option(min=0, help="Judge on so many storefronts whose mix of buyers changes at once, by what was seen."),
    ] = 0,
    picture: Annotated[Path | None, typer.Option(help="With --drifted: draw the figures into this SVG file.")] = None,
    folder: Annotated[Path, typer.Option(help="Where everything made is kept, and taken up again.")] = Path(
        ".simpersona/bench-align"
    ),
    world_seed: WorldSeedOption = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and simulation.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Simulated buyers against real ones on storefronts never seen, beside noise floors and every yardstick.

    Generates the merchants, trains the encoder and four simulators (with persona tokens, without, without and eight
    times the parameters, and for buyers known from earlier), then compares. An interrupted run is taken up again.

    Example: simpersona bench align --held-out 6 --derangements 2 --json align.json
    """
    from rich.console import Console

    from agent_runtime.alignment.run import AlignmentPlan
    from agent_runtime.simulators.adapter import MOST_SESSIONS
    from bench.align import AlignBench, bench_align
    from bench.align_drift import BEFORE, SEEN_H, bench_align_drift
    from bench.align_real import bench_align_real
    from bench.align_targets import targets_table
    from bench.drift_picture import draw_drift
    from infra.errors import ArgumentError
    from schemas.settings import settings

    if drifted and (real or own_past):
        raise ArgumentError("--drifted makes storefronts of its own; leave out --real and --own-past.")
    if picture is not None and not drifted:
        raise ArgumentError("--picture draws what --drifted measures; add --drifted 12.")
    sizes = AlignBench(
        merchants, buyers, held_out, held_out_buyers, hours, least_sessions, world_seed, seed, epochs=epochs,
        processes=processes, device=device, own_past=own_past,
    )  # fmt: skip
    most = adapter_sessions or (MOST_SESSIONS if real else AlignmentPlan().adapter_sessions)
    plan = AlignmentPlan(seed=seed, derangements=derangements, adapter_sessions=most, few_biases=few_biases)
    if drifted:
        report = bench_align_drift(folder, sizes, drifted, plan, steps())
        show("align", report, json_file)
        if picture is not None:
            draw_drift(report, (BEFORE, *SEEN_H), picture)
        return
    if real:
        report, table = bench_align_real(folder / "real", settings().data, sizes, plan, steps())
    else:
        report, table = bench_align(folder, sizes, plan, steps())
    show("align", report, json_file)
    Console().print(targets_table(table))
