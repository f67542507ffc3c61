"""``simpersona bench``: measure, beside the peers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class What(StrEnum):
    """What can be measured."""

    STREAM = "stream"


@app.command()
def bench(
    what: Annotated[What, typer.Argument(help="What to measure.")],
    encoder: Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")] = None,
    events: Annotated[int, typer.Option(min=10_000, help="About how many events our worker gets.")] = 1_000_000,
    plain_events: Annotated[int, typer.Option(min=1_000, help="How many of them the plain Faust agent gets.")] = 60_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the backlog.")] = 11,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Run one worker over the whole path on Apache Kafka, and a plain Faust agent on the same topic after it.

    Needs Java 17 and Maven. Everything lies in a temporary folder that is removed at the end.

    Example: simpersona bench stream --encoder .simpersona/demo/encoder --json stream.json
    """
    import tempfile

    from rich.console import Console

    from bench.stream import bench_stream
    from schemas.settings import settings

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="simpersona-bench-") as folder, console.status("starting") as status:
        report = bench_stream(
            Path(folder), encoder or settings().encoder, events, plain_events, seed, lambda step: status.update(step)
        )
    report.print(Console(), f"bench {what.value}")
    if json_file is not None:
        report.write(json_file)
