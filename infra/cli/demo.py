"""``simpersona demo``: the whole path on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.limits import SEED_MAX

if TYPE_CHECKING:
    from infra.demo.score import Score

app = typer.Typer()


@app.command()
def demo(
    data_dir: Annotated[
        Path, typer.Option(help="Folder of store, artefacts, traffic and logs; kept between runs.")
    ] = Path(".simpersona/demo"),
    once: Annotated[bool, typer.Option("--once", help="Stop after one round instead of streaming on.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos left in the folder.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary to this file as JSON.")] = None,
    merchants: Annotated[int, typer.Option(min=1, max=50, help="Live shops.")] = 5,
    buyers: Annotated[int, typer.Option(min=50, help="Buyers of each live shop.")] = 3000,
    simulated: Annotated[int, typer.Option(min=1, help="Simulated buyers of each shop.")] = 500,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Seed of the shops, the shoppers and the models.")] = 7,
) -> None:
    """Run the whole path: shoppers, broker, encoder, stream, drifting mixes, simulated buyers, and back again.

    Exits with 0 only if every part worked. Without --once it streams on and keeps the dashboard and the storefront
    open until Ctrl-C.

    Example: simpersona demo --once --json out.json
    """
    import webbrowser

    from rich.console import Console

    from infra.cli.outputs import claim, write_json
    from infra.demo.run import Demo, DemoPlan, forget
    from infra.stack.supervisor import Supervisor
    from schemas.settings import settings

    claim({"--json": json_file})
    console = Console(stderr=True)
    plan = DemoPlan(merchants=merchants, buyers=buyers, simulated=simulated, seed=seed)
    with Supervisor(data_dir) as supervisor:
        if fresh:
            forget(data_dir)
        run = Demo(plan, supervisor, settings(), console)
        finished = False
        try:
            addresses = run.start()
            if not once:
                webbrowser.open(addresses.dashboard)
            events = run.stream(watched=not once)
            run.simulate()
            result = run.score(events)
            Console().print(_table(result))
            write_json(json_file, result.as_dict() | {"seconds": run.seconds})
            if once:
                _require(result)
                return
            finished = True
            console.print(f"Dashboard: {addresses.dashboard}  Storefront: {addresses.storefront}  Ctrl-C ends it.")
            run.keep_streaming()
        except KeyboardInterrupt:
            console.print("Stopping; store and artefacts stay in", str(data_dir))
            if not finished:
                raise


def _require(result: "Score") -> None:
    """Raise DemoError naming every part of the round that did not work."""
    from infra.errors import DemoError

    parts = {
        "no session was assigned": result.sessions == 0,
        "the books do not balance": not result.books_balanced,
        "no simulated session came back": result.returned_sessions == 0,
        "some simulated sessions did not come back": result.returned_sessions < result.simulated_sessions,
        "no planted drift was found": result.drifts.planted > 0 and result.drifts.found == 0,
    }
    failed = [part for part, wrong in parts.items() if wrong]
    if failed:
        raise DemoError(f"The round ran to its end, but {' and '.join(failed)}; the logs are beside the store.")


def _table(result: "Score") -> Any:
    from rich.table import Table

    table = Table("what", "figure", title="From a click to a simulated buyer")
    table.columns[1].justify = "right"
    drifts = result.drifts
    rows = {
        "events streamed": f"{result.events:,}",
        "sessions (of them bots')": f"{result.sessions:,} ({result.bot_sessions:,})",
        "merchants": f"{result.merchants}",
        "rejected": ", ".join(f"{count:,} {kind}" for kind, count in result.rejected.items()) or "none",
        "planted drifts found": f"{drifts.found} of {drifts.planted} ({drifts.false_alarms} false alarms)",
        "codes in use": f"{result.codes_used} ({result.coarse_codes_used} coarse)",
        "agreement with planted types": f"NMI {result.nmi:.2f}",
        "simulated sessions that came back": f"{result.returned_sessions:,} of {result.simulated_sessions:,}",
        "of them as their own type": f"{100 * result.own_type:.1f} %",
        "books": "balanced" if result.books_balanced else "NOT balanced",
    }
    for what, figure in rows.items():
        table.add_row(what, figure)
    return table
