"""``simpersona bench variants``: are the effects of storefront changes foretold?"""

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.bench_frame import FolderOption, JsonOption, WorldSeedOption, kept, steps
from infra.cli.outputs import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from bench.variants import Cell


def variants(
    merchants: Annotated[
        int, typer.Option(min=10, help="Storefronts to learn from, each under conditions of its own.")
    ] = 1_200,
    buyers: Annotated[int, typer.Option(min=1, help="Buyers of each of them.")] = 30,
    trained_merchants: Annotated[
        int, typer.Option(min=5, help="How many of them encoder and simulator are trained on.")
    ] = 400,
    held_out: Annotated[int, typer.Option(min=1, help="Storefronts to foretell for.")] = 12,
    shoppers: Annotated[int, typer.Option(min=100, help="Simulated shoppers in each storefront and variant.")] = 2_500,
    true_buyers: Annotated[int, typer.Option(min=100, help="The generator's own buyers in each.")] = 10_000,
    encoder_epochs: Annotated[int, typer.Option(min=1, help="Passes of the encoder's training.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of the simulator's training.")] = 3,
    folder: FolderOption = None,
    processes: Annotated[int, typer.Option(min=1, help="Storefronts foretold at the same time.")] = 2,
    world_seed: WorldSeedOption = 5,
    worlds: Annotated[int, typer.Option(min=1, help="Worlds to learn from and foretell in, each by itself.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and simulation.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Foretell four changes at storefronts never seen; hold them against what the generator's shoppers then do.

    Prices +10 %, a free-shipping banner, no payment step, worse lists; conversion, add to cart, depth, revenue.

    Example: simpersona bench variants --folder .simpersona/bench --json variants.json
    """
    from dataclasses import asdict

    from rich.console import Console

    from bench.told_world import ToldWorld
    from bench.variants import VariantsBench, bench_variants

    world = ToldWorld(
        merchants=merchants,
        buyers=buyers,
        trained_merchants=trained_merchants,
        world_seed=world_seed,
        encoder_epochs=encoder_epochs,
        seed=seed,
    )
    plan = VariantsBench(
        world,
        worlds=worlds,
        held_out=held_out,
        shoppers=shoppers,
        true_buyers=true_buyers,
        epochs=epochs,
        seed=seed,
        processes=processes,
    )
    with kept(folder) as place:
        report, cells = bench_variants(
            place,
            plan,
            steps(),
        )
    Console().print(_table(cells))
    report.print(Console(), "bench variants")
    write_json(json_file, report.as_dict() | {"cells": [asdict(cell) for cell in cells]})


def _table(cells: "list[Cell]") -> "Table":
    from rich.table import Table

    table = Table(
        "variant", "world", "storefront", "measure", "predicted", "95 %", "truth", "± error", "sign", "covered"
    )
    for cell in cells:
        table.add_row(
            cell.kind,
            str(cell.world),
            cell.merchant,
            cell.measure,
            f"{cell.predicted:+.4f}",
            f"{cell.low:+.4f} to {cell.high:+.4f}",
            f"{cell.truth:+.4f}",
            f"{cell.true_error:.4f}",
            ("right" if cell.sign_right else "wrong") if cell.is_clear else "",
            "yes" if cell.covered else "no",
        )
    return table
