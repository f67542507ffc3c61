"""``simpersona bench tasks``: find and buy under constraints."""

from pathlib import Path
from typing import Annotated

import typer


def tasks(
    tasks: Annotated[int, typer.Option(min=1, help="Tasks in all, evenly over the held-out storefronts.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Times every task is done.")] = 3,
    held_out: Annotated[int, typer.Option(min=1, help="Storefronts whose catalogues tasks are made of.")] = 20,
    merchants: Annotated[int, typer.Option(min=10, help="Storefronts of the training log.")] = 1_200,
    buyers: Annotated[int, typer.Option(min=1, help="Buyers of each of them.")] = 30,
    trained_merchants: Annotated[int, typer.Option(min=5, help="How many of them everything is trained on.")] = 400,
    encoder_epochs: Annotated[int, typer.Option(min=1, help="Passes of the encoder's training.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of every model's training over the purchases.")] = 6,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where logs and encoder are kept; `bench variants` uses the same. Default: nowhere."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Models trained at the same time.")] = 2,
    world_seed: Annotated[int, typer.Option(min=0, help="Seed of the generated world.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training, tasks and shoppers.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Find and buy by category, price, rank and quantity at storefronts never seen: success and steps.

    Persona tokens against a model of eight times the parameters without them, same goals and passes; a greedy rule and
    chance beside them.

    Example: simpersona bench tasks --folder .simpersona/bench --json tasks.json
    """
    import tempfile
    import time
    from contextlib import ExitStack

    from rich.console import Console

    from bench.tasks import TasksBench, bench_tasks
    from bench.told_world import ToldWorld

    world = ToldWorld(
        merchants=merchants,
        buyers=buyers,
        trained_merchants=trained_merchants,
        world_seed=world_seed,
        encoder_epochs=encoder_epochs,
        seed=seed,
    )
    plan = TasksBench(
        world, held_out=held_out, tasks=tasks, rounds=rounds, epochs=epochs, seed=seed, processes=processes
    )
    console, start = Console(stderr=True), time.monotonic()
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simpersona-bench-")))
        report = bench_tasks(
            folder,
            plan,
            lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False),
        )
    report.print(Console(), "bench tasks")
    if json_file is not None:
        report.write(json_file)
