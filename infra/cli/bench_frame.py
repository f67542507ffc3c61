"""What all of ``simpersona bench`` share: options, a folder, progress, and what becomes of a report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.limits import SEED_MAX
from infra.cli.outputs import claim

if TYPE_CHECKING:
    from bench.report import Report


def _claimed(json_file: Path | None) -> Path | None:
    claim({"--json": json_file})
    return json_file


EncoderOption = Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")]
WorldSeedOption = Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Seed of the merchants and buyers.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", callback=_claimed, help="Write the report to this file as JSON.")
]
FolderOption = Annotated[
    Path | None, typer.Option(help="Where what is made on the way is kept for another run. Default: nowhere.")
]

#: Is told each step of long work.
Say = Callable[[str], None]


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """Give this folder, or a temporary one that is removed at the end."""
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="simpersona-bench-") as made:
        yield Path(made)


def steps() -> Say:
    """Return what prints each step on standard error, with the seconds since now."""
    from rich.console import Console

    console, start = Console(stderr=True), time.monotonic()
    return lambda step: console.print(f"{time.monotonic() - start:5.0f} s  {step}", highlight=False)


def show(name: str, report: "Report", json_file: Path | None) -> None:
    """Print a report and write it where asked."""
    from rich.console import Console

    report.print(Console(), f"bench {name}")
    if json_file is not None:
        report.write(json_file)
