"""``simpersona bench tasks``: find and buy under constraints."""

from typing import Annotated

import typer

from infra.cli.bench_frame import FolderOption, JsonOption, WorldSeedOption, kept, show, steps


def tasks(
    tasks: Annotated[int, typer.Option(min=1, help="Tasks in all, evenly over the held-out storefronts.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Times every task is done.")] = 3,
    held_out: Annotated[int, typer.Option(min=1, help="Storefronts whose catalogues tasks are made of.")] = 20,
    merchants: Annotated[int, typer.Option(min=10, help="Storefronts of the training log.")] = 1_200,
    buyers: Annotated[int, typer.Option(min=1, help="Buyers of each of them.")] = 30,
    trained_merchants: Annotated[int, typer.Option(min=5, help="How many of them everything is trained on.")] = 400,
    encoder_epochs: Annotated[int, typer.Option(min=1, help="Passes of the encoder's training.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of every model's training over the purchases.")] = 6,
    folder: FolderOption = None,
    processes: Annotated[int, typer.Option(min=1, help="Models trained at the same time.")] = 2,
    world_seed: WorldSeedOption = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training, tasks and shoppers.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Find and buy by category, price, rank and quantity at storefronts never seen: success and steps.

    Persona tokens against a model of eight times the parameters without them, same goals and passes; a greedy rule and
    chance beside them.

    Example: simpersona bench tasks --folder .simpersona/bench --json tasks.json
    """

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
    with kept(folder) as place:
        report = bench_tasks(
            place,
            plan,
            steps(),
        )
    show("tasks", report, json_file)
