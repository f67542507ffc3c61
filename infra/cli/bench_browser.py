"""``simpersona bench browser``: simulated shoppers on real web pages."""

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.bench_frame import JsonOption, WorldSeedOption, show, steps


def browser(
    sessions: Annotated[int, typer.Option(min=4, help="Sessions of every arm.")] = 16,
    apart: Annotated[bool, typer.Option("--apart", help="Also the mask alone and the flags alone: four arms more.")] = (
        False
    ),
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Shoppers in Chromium at the same time.")] = 4,
    patience: Annotated[float, typer.Option(min=0.5, help="Longest wait for a page, seconds.")] = 10.0,
    troubles: Annotated[bool, typer.Option(help="Let pages be slow, lack elements and bring up dialogs.")] = True,
    merchants: Annotated[int, typer.Option(min=5, max=9_999, help="Merchants to train on.")] = 16,
    held_out: Annotated[int, typer.Option(min=1, help="Storefronts held out, whose pages are walked through.")] = 4,
    buyers: Annotated[int, typer.Option(min=10, help="Buyers of every merchant.")] = 200,
    hours: Annotated[float, typer.Option(min=1, help="Hours of traffic.")] = 96.0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for strips of screenshots: sessions of three personas.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where everything made is kept, and taken up again.")] = Path(
        ".simpersona/bench-browser"
    ),
    world_seed: WorldSeedOption = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training, shoppers and troubles.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Crashes, invalid actions and depth of sessions in Chromium, with and without personas, mask and flags.

    Needs Chromium and Playwright. An interrupted run goes on with the arm it was at.

    Example: simpersona bench browser --sessions 100 --json browser.json
    """
    from bench.browser import BrowserPlan, bench_browser, picture_personas
    from bench.browser_world import BrowserWorldPlan

    world = BrowserWorldPlan(merchants, held_out, buyers, hours, world_seed=world_seed, seed=seed)
    plan = BrowserPlan(world, sessions, apart, at_once, patience, troubles, seed)
    say = steps()
    report = bench_browser(folder, plan, say)
    if pictures is not None:
        picture_personas(folder, plan, pictures, say)
    show("browser", report, json_file)
