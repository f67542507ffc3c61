"""``simpersona train``: train an encoder on event logs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from encoders.sessionise import SessionLog
    from encoders.training import EpochReport, TrainedEncoder, TrainingOptions

app = typer.Typer()


@app.command(
    help="Train an encoder on event logs and write it as an artefact folder.\n\n"
    "Stops early when held-out merchants (or buyers, where merchants are few) no longer gain. The folder appears only "
    "when it is complete.\n\n"
    "Example: simpersona train --events clicks.parquet --out .simpersona/encoder --truth truth.parquet"
)
def train(
    events: Annotated[list[Path], typer.Option(help="Event log; more may follow it, or more --events.")],
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    more_events: Annotated[list[Path] | None, typer.Argument(metavar="[EVENTS]...", help="Further event logs.")] = None,
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the sessions at most.")] = 12,
    codes: Annotated[int, typer.Option(min=2, max=512, help="Buyer types (coarse codes).")] = 16,
    fine_codes: Annotated[int, typer.Option(min=1, max=64, help="Finer codes within each buyer type.")] = 4,
    seed: Annotated[int, typer.Option(help="Equal seeds and data give equal encoders.")] = 0,
    limit_sessions: Annotated[int, typer.Option(min=1, help="Train on at most this many sessions.")] = 200_000,
    truth: Annotated[Path | None, typer.Option(help="Planted types, to report how well they are found.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for training on the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Read, cut, train, finish, write, report."""
    import torch
    from rich.console import Console

    from encoders.artefact import check_target, write_artefact
    from encoders.errors import TrainingDataError
    from encoders.fitting import finish, provenance
    from encoders.model import Shape
    from encoders.training import TrainingOptions, split_held_out
    from encoders.truth import planted_types

    if device not in ("auto", "cpu", "cuda"):
        raise TrainingDataError(f"--device {device}: not known; choose cpu, cuda or auto.")
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingDataError("--device cuda: torch finds no GPU on this machine; choose cpu or auto.")
    chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads)
    check_target(out)
    console = Console(stderr=True)
    log = _read([*events, *(more_events or [])], limit_sessions, seed, console)
    options = TrainingOptions(Shape(coarse=codes, fine=fine_codes), epochs=epochs, seed=seed)
    training, held_out = split_held_out(log, seed)
    planted = None if truth is None else planted_types(truth, held_out)
    trained = _train(training, held_out, options, chosen, console)
    with console.status("calibrating and describing the codes"):
        fitted = finish(trained, training, held_out, planted)
        fields = {"metrics": fitted.metrics, **provenance(trained, training)}
        manifest = write_artefact(out, fitted.network, fitted.codebook, fitted.personas, fields)
    _report(manifest.codebook_version, fitted.metrics, fitted.personas)
    if json_file is not None:
        json_file.write_text(json.dumps({"codebook_version": manifest.codebook_version, **fields}, indent=2) + "\n")


def _read(paths: Sequence[Path], limit: int, seed: int, console: "Console") -> "SessionLog":
    from encoders.event_log import count_rows
    from encoders.sessionise import read_sessions
    from schemas.settings import settings

    dials = settings()
    with _progress(console) as bar:
        task = bar.add_task("reading events", total=count_rows(paths))
        log = read_sessions(paths, dials.gap_ms, dials.session_max_events, lambda rows: bar.advance(task, rows))
    return log.limit(limit, seed)


def _train(
    training: "SessionLog",
    held_out: "SessionLog",
    options: "TrainingOptions",
    device: "torch.device",
    console: "Console",
) -> "TrainedEncoder":
    from encoders.training import train

    with _progress(console) as bar:
        task = bar.add_task("training", total=None)

        def on_batch(done: int, planned: int, report: "EpochReport | None") -> None:
            bar.update(task, completed=done, total=planned)
            if report is not None:
                bar.console.print(
                    f"epoch {report.epoch + 1:2d}: loss {report.loss:.3f}, events {report.events:.3f}, "
                    f"outcome {report.outcome:.3f}, pairs {report.pairs:.3f}, codes restarted {report.restarted}"
                )

        return train(training, held_out, options, device, on_batch)


def _progress(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _report(version: str, metrics: dict[str, Any], personas: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    figures = Table("held-out figure", "value", title=f"encoder {version}")
    for name, value in metrics.items():
        if isinstance(value, dict):
            value = ", ".join(f"{length}: {share:.2f}" for length, share in value.items())
        elif isinstance(value, float):
            value = f"{value:.3f}"
        figures.add_row(name.replace("_", " "), "–" if value is None else str(value))
    types = Table("code", "name", "share", "what they do", title="buyer types")
    for persona in sorted(personas["coarse"], key=lambda persona: -persona["share"]):
        types.add_row(persona["code_path"], persona["name"], f"{persona['share']:.1%}", persona["sentence"])
    console = Console()
    console.print(figures, types)
