"""``simpersona import``: turn a raw click log into a canonical event log."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.limits import named

if TYPE_CHECKING:
    from rich.progress import TaskID
    from rich.table import Table

    from encoders.adapters.importing import ImportReport, ImportTarget

app = typer.Typer()


@app.command(
    name="import",
    help="Turn raw click logs of one format into a canonical event log.\n\n"
    "Formats: rees46, retailrocket, ga360, eshop2008, otto, yoochoose, diginetica, taobao, jdata, and jsonl (one JSON "
    "event a line in canonical, Segment, GA4 or Shopify naming). Files may be gzipped. Every row is accounted for: "
    "written, part of another row's event, or rejected with a reason. The log appears only when it is complete.\n\n"
    "Example: simpersona import --format rees46 2019-Oct.csv.gz 2019-Nov.csv.gz --out rees46.parquet",
)
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Raw logs of one format.", show_default=False)],
    format_name: Annotated[str, typer.Option("--format", help="The logs' format.")],
    out: Annotated[Path, typer.Option(help="The event log to write (Parquet).")],
    merchant: Annotated[
        str | None, typer.Option(callback=named, help="Merchant of rows that name none; the format's name by default.")
    ] = None,
    rejects: Annotated[Path | None, typer.Option(help="Save rejected rows to this file as JSON lines.")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day of a log that names none, where its file's name has none either."),
    ] = None,
    memory_mb: Annotated[
        int, typer.Option(min=256, help="Memory for reading and sorting; more spills to disk.")
    ] = 1024,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Import, then print what was read, written and rejected."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from encoders.adapters.formats import adapter_of
    from encoders.adapters.importing import ImportTarget, import_log
    from infra.cli.outputs import claim

    adapter = adapter_of(format_name)
    target = ImportTarget(out=out, rejects=rejects, memory_mb=memory_mb)
    claim({"--out": out, "--rejects": rejects, "the impressions beside --out": target.impressions}, files)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def show(what: str, percent: float) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=100.0)
        bars.update(tasks[what], completed=percent)
        bars.start()

    try:
        report = import_log(adapter, files, target, merchant, day.date() if day else None, show)
    finally:
        if tasks:  # bars that were never shown would end in an empty line
            bars.stop()
    if as_json:
        typer.echo(json.dumps(_as_json(report)))
    else:
        Console().print(_as_table(report, target))


def _as_json(report: "ImportReport") -> dict[str, object]:
    return {
        "rows": report.rows,
        "accepted": report.accepted,
        "collapsed": report.collapsed,
        "impressions": report.impressions,
        "rejected": report.rejected,
        "merchants": report.merchants,
        "clients": report.clients,
        "first": report.first.isoformat(timespec="milliseconds"),
        "last": report.last.isoformat(timespec="milliseconds"),
    }


def _as_table(report: "ImportReport", target: "ImportTarget") -> "Table":
    from rich.table import Table

    table = Table(title=str(target.out), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_row("rows read", f"{report.rows:,}")
    table.add_row("events written", f"{report.accepted:,}", style="bold")
    table.add_row("rows that are part of another's event", f"{report.collapsed:,}")
    for reason, rows in report.rejected.items():
        table.add_row(f"rejected: {reason}", f"{rows:,}", style="yellow")
    if report.impressions:
        table.add_row(f"impressions, in {target.impressions.name}", f"{report.impressions:,}")
    table.add_section()
    table.add_row("merchants", f"{report.merchants:,}")
    table.add_row("clients", f"{report.clients:,}")
    table.add_row("first event", f"{report.first:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("last event", f"{report.last:%Y-%m-%d %H:%M:%S} UTC")
    return table
