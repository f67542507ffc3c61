"""``simpersona assign``: buyer types for every session of an event log, offline."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from schemas.events import I64, EventBatch

app = typer.Typer()


@app.command()
def assign(
    events: Annotated[list[Path], typer.Option(help="Event log (Parquet); may be given several times.")],
    encoder: Annotated[Path, typer.Option(help="Folder of the encoder artefact.")],
    out: Annotated[Path, typer.Option(help="File to write (Parquet): one row per session.")],
    source: Annotated[str, typer.Option(help="Source to write into the rows.")] = "live",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Assign a buyer type to every session of event logs, with the session rules of the settings.

    The rows equal the final rows of the stream over the same events. Late events, duplicates and faulty events are
    counted; sessions of bots are written and marked.

    Example: simpersona assign --events events.parquet --encoder .simpersona/encoder --out assignments.parquet
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from encoders.event_log import count_rows
    from encoders.serving import Encoder
    from infra.cli.outputs import claim
    from schemas.settings import settings
    from streams.event_logs.assign import AssignCounts, disorder_ms
    from streams.event_logs.assign import assign as assign_sessions
    from streams.event_logs.assignment_log import AssignmentLogWriter
    from streams.event_logs.lookahead import ahead
    from streams.sessions.settings import session_rules

    claim({"--out": out}, [*events, encoder])
    rules = session_rules(settings())
    loaded = Encoder.load(encoder)
    counts = AssignCounts()
    rows = count_rows(events)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        disorder = disorder_ms(_times(events, progress, rows), rules.allowed_lateness_ms)
        with AssignmentLogWriter(out) as log:
            # Reading and decoding, sessions, and writing in a thread each, types in as many as there are cores.
            batches = ahead(_batches(events, progress, rows))
            cores = os.cpu_count() or 1
            for batch in ahead(assign_sessions(batches, loaded, rules, source, disorder, counts, threads=cores)):
                log.write(batch)
    result = {
        "events": counts.events,
        "accepted": counts.accepted,
        "duplicates": counts.duplicates,
        "rejected": dict(sorted(counts.rejected.items())),
        "sessions": counts.sessions,
        "bot_sessions": counts.bot_sessions,
        "codebook_version": loaded.version,
        "out": str(out),
    }
    if as_json:
        typer.echo(json.dumps(result))
    else:
        Console().print(_table(result))


def _times(paths: Sequence[Path], progress: "Progress", rows: int) -> Iterator[tuple["I64", "I64"]]:
    import numpy as np

    from encoders.event_log import read_batches

    task = progress.add_task("reading times", total=rows)
    for batch in read_batches(paths, columns=["occurred_at", "received_at"]):
        occurred, received = (column.to_numpy(zero_copy_only=False).astype(np.int64) for column in batch.columns)
        yield occurred, received
        progress.advance(task, batch.num_rows)


def _batches(paths: Sequence[Path], progress: "Progress", rows: int) -> Iterator["EventBatch"]:
    from encoders.event_log import BATCH_COLUMNS, read_batches, to_event_batch

    task = progress.add_task("assigning events", total=rows)
    for batch in read_batches(paths, columns=BATCH_COLUMNS):
        yield to_event_batch(batch)
        progress.advance(task, batch.num_rows)


def _table(result: dict[str, object]) -> object:
    from rich.table import Table

    table = Table("what", "count", title=str(result["out"]))
    table.columns[1].justify = "right"
    for name, value in result.items():
        if isinstance(value, dict):
            for reason, count in value.items():
                table.add_row(f"rejected: {reason.replace('_', ' ')}", f"{count:,}")
        elif isinstance(value, int):
            table.add_row(name.replace("_", " "), f"{value:,}")
    return table
