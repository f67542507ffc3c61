"""``simpersona generate``: shoppers with planted buyer types, and the truth beside them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

#: A Monday, so that a default run shows weekdays first.
DEFAULT_START = datetime(2026, 9, 7, tzinfo=UTC)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Event log to write (Parquet).")],
    truth: Annotated[Path, typer.Option(help="Planted truth to write (Parquet; a JSON summary goes beside it).")],
    merchants: Annotated[int, typer.Option(help="Number of shops.")] = 6,
    buyers: Annotated[int, typer.Option(help="Buyers of every shop; each visits once or more often.")] = 1_000,
    hours: Annotated[float, typer.Option(help="Length of the run in hours.")] = 72.0,
    seed: Annotated[int, typer.Option(help="Seed of the world: same seed, same shops; same options, same bytes.")] = 7,
    start: Annotated[
        str, typer.Option(help="Begin of the run, ISO 8601; UTC unless it says otherwise.")
    ] = DEFAULT_START.isoformat(),
    first_merchant: Annotated[int, typer.Option(help="Number of the first shop, to get shops not seen before.")] = 0,
    drift: Annotated[bool, typer.Option(help="Plant drifts of the mixes of buyer types.")] = True,
    bots: Annotated[float, typer.Option(help="Share of all sessions that bots make.")] = 0.005,
    late: Annotated[float, typer.Option(help="Share of events that arrive later than the allowed lateness.")] = 0.002,
    delayed: Annotated[float, typer.Option(help="Share of events that arrive out of order, but in time.")] = 0.05,
    duplicated: Annotated[float, typer.Option(help="Share of events that arrive twice.")] = 0.01,
    malformed: Annotated[float, typer.Option(help="Unusable payloads per event, kept beside the log.")] = 0.0005,
    overlap: Annotated[
        float | None, typer.Option(help="Difficulty from 0 (types as written) to 1 (all the same).", show_default=False)
    ] = None,
    new_habits: Annotated[
        float, typer.Option(help="How far types have changed their behaviour (not their numbers), 0 to 1.")
    ] = 0.0,
    conditions: Annotated[
        bool,
        typer.Option("--conditions", help="Shops differ in prices, shipping, ranking and delay, and shoppers answer."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Make traffic of shops and shoppers whose buyer types, drifts, promotions and faults are known.

    Beside the event log: <out>.catalogue.parquet (what the shops sell) and <out>.malformed.jsonl (payloads that
    replay mixes in). Beside the truth: its JSON summary.

    Example: simpersona generate --merchants 6 --buyers 1000 --hours 72 --seed 7 --out events.parquet
    --truth truth.parquet
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from encoders.errors import GeneratorError
    from encoders.generator.delivery import Faults
    from encoders.generator.run import OVERLAP, GeneratorRun
    from encoders.generator.run import generate as make

    try:
        begin = datetime.fromisoformat(start)
    except ValueError as error:
        raise GeneratorError(f"--start {start!r} is no ISO 8601 time; write it like 2026-09-07T00:00:00Z.") from error
    if begin.tzinfo is None:
        begin = begin.replace(tzinfo=UTC)
    run = GeneratorRun(
        merchants=merchants,
        buyers=buyers,
        hours=hours,
        seed=seed,
        start_ms=round(begin.timestamp() * 1000),
        first_merchant=first_merchant,
        drift=drift,
        bots=bots,
        malformed=malformed,
        overlap=OVERLAP if overlap is None else overlap,
        new_habits=new_habits,
        conditions=conditions,
        faults=Faults(delayed=delayed, late=late, duplicated=duplicated),
    )
    columns = (TextColumn("sessions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("sessions", total=None)
        made = make(run, out, truth, lambda done, total: progress.update(task, completed=done, total=total))
    counts = asdict(made)
    if as_json:
        typer.echo(json.dumps(counts | {"out": str(out), "truth": str(truth)}))
        return
    Console().print(_table(counts, out))


def _table(counts: dict[str, object], out: Path) -> object:
    from rich.table import Table

    table = Table("what", "count", title=str(out))
    table.columns[1].justify = "right"
    for name, value in counts.items():
        amount = sum(value.values()) if isinstance(value, dict) else value
        table.add_row(name.replace("_", " "), f"{amount:,}")
    return table
