"""``simpersona train``: train an encoder on event logs, or straight from Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.limits import SEED_MAX, THREADS_MAX
from infra.cli.session_source import SessionSource, progress_bar, time_range
from infra.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from encoders.checkpoint import Checkpoint
    from encoders.sessionise import SessionLog
    from encoders.training import EpochReport, TrainedEncoder, TrainingOptions

app = typer.Typer()


@app.command(
    help="Train an encoder on event logs, or on clicks that Kafka still holds, and write it as an artefact folder.\n\n"
    "Stops early when held-out merchants (or buyers, where merchants are few) no longer gain. The folder appears only "
    "when it is complete; its model card is card.html. After Ctrl-C or a kill the same command goes on after the last "
    "whole epoch, from OUT.checkpoint.\n\n"
    "Example: simpersona train --events clicks.parquet --out .simpersona/encoder --truth truth.parquet\n\n"
    "Example: simpersona train --from-kafka --since 7d --out .simpersona/encoder"
)
def train(
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    events: Annotated[list[Path] | None, typer.Option(help="Event log; more may follow it, or more --events.")] = None,
    more_events: Annotated[list[Path] | None, typer.Argument(metavar="[EVENTS]...", help="Further event logs.")] = None,
    from_kafka: Annotated[
        bool, typer.Option("--from-kafka", help="Clicks from clicks.raw instead of event logs.")
    ] = False,
    since: Annotated[
        str, typer.Option(help="Only from then on: a span before the end of the data (7d, 36h) or a date (UTC).")
    ] = "",
    until: Annotated[str, typer.Option(help="Only before then: a span or a date, as with --since.")] = "",
    kafka: Annotated[str | None, typer.Option(help="Kafka bootstrap servers [SIMPERSONA_KAFKA].")] = None,
    epochs: Annotated[int, typer.Option(min=2, help="Passes over the sessions at most.")] = 12,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many epochs without a gain held out.")] = 3,
    codes: Annotated[int, typer.Option(min=2, max=512, help="Buyer types (coarse codes).")] = 20,
    fine_codes: Annotated[int, typer.Option(min=1, max=64, help="Finer codes within each buyer type.")] = 4,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds and data give equal encoders.")] = 0,
    limit_sessions: Annotated[int, typer.Option(min=1, help="Train on at most this many sessions.")] = 200_000,
    truth: Annotated[Path | None, typer.Option(help="Planted types, to report how well they are found.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=THREADS_MAX, help="Threads for training on the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew where a training was interrupted.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Read, cut, train, finish, write, report."""
    logs = (*(events or []), *(more_events or []))
    if bool(logs) == from_kafka:
        raise ArgumentError("train needs --events (event logs) or --from-kafka: one of the two.")
    begin, end = time_range(since, until)
    source = SessionSource(logs, _broker(kafka) if from_kafka else None, begin, end)

    import torch
    from rich.console import Console

    from encoders.artefact import check_target, write_artefact
    from encoders.card import HTML_FILE, card_documents
    from encoders.checkpoint import Checkpoint
    from encoders.errors import TrainingDataError
    from encoders.fitting import finish, provenance
    from encoders.model import Shape
    from encoders.training import TrainingOptions, split_held_out
    from encoders.truth import planted_types, read_truth
    from infra.cli.outputs import claim, write_json

    if device not in ("auto", "cpu", "cuda"):
        raise TrainingDataError(f"--device {device}: not known; choose cpu, cuda or auto.")
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingDataError("--device cuda: torch finds no GPU on this machine; choose cpu or auto.")
    chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads)
    check_target(out)
    claim({"--json": json_file}, [*logs, truth], out)
    options = TrainingOptions(Shape(coarse=codes, fine=fine_codes), epochs=epochs, patience=patience, seed=seed)
    console = Console(stderr=True)
    told = None if truth is None else read_truth(truth)
    with Checkpoint(out) as checkpoint:
        if restart:
            checkpoint.forget()
        asked = _asked(source, options, limit_sessions, threads, chosen)
        log = _sessions(source, checkpoint, asked, limit_sessions, seed, console)
        training, held_out = split_held_out(log, seed)
        planted = None if told is None else planted_types(told, held_out)
        trained = _train(training, held_out, options, chosen, checkpoint, console)
        with console.status("calibrating and describing the codes"):
            fitted = finish(trained, training, held_out, planted)
            fields: dict[str, Any] = {"metrics": fitted.metrics, **provenance(trained, training)}
            fields["training_data"]["source"] = source.named()
            card = card_documents(fitted, training, held_out, fields)
            manifest = write_artefact(out, fitted.network, fitted.codebook, fitted.personas, fields, card)
        checkpoint.remove()
    _report(manifest.codebook_version, fitted.metrics, fitted.personas)
    console.print(f"Model card: {out / HTML_FILE}", highlight=False, soft_wrap=True)
    write_json(json_file, {"codebook_version": manifest.codebook_version, **fields})


def _broker(kafka: str | None) -> str:
    from infra.stack.kafka_address import require_kafka
    from schemas.settings import settings

    bootstrap = kafka or settings().kafka
    require_kafka(bootstrap)
    return bootstrap


def _asked(
    source: SessionSource, options: "TrainingOptions", limit: int, threads: int, device: "torch.device"
) -> dict[str, Any]:
    """Return all that decides a training's result: an interrupted one only goes on when none of it changed."""
    from dataclasses import asdict
    from importlib.metadata import version

    from encoders.feature_spec import feature_spec_hash
    from schemas.settings import settings

    rules = {"gap_ms": settings().gap_ms, "max_events": settings().session_max_events, "limit": limit}
    return {
        **source.describe(),
        **asdict(options),
        "sessions": rules,
        "features": feature_spec_hash(),
        "machine": {"device": device.type, "threads": threads, "torch": version("torch")},
    }


def _sessions(
    source: SessionSource, checkpoint: "Checkpoint", asked: dict[str, Any], limit: int, seed: int, console: "Console"
) -> "SessionLog":
    """Return the sessions of the interrupted training, or read them anew."""
    if checkpoint.holds_sessions:
        checkpoint.require_same(asked)
        log = checkpoint.sessions()
        console.print(
            f"{checkpoint.folder}: going on with an interrupted training on {len(log):,} sessions.",
            highlight=False,
            soft_wrap=True,
        )
        return log
    log = source.read(console).limit(limit, seed)
    checkpoint.begin(asked, log)
    return log


def _train(
    training: "SessionLog",
    held_out: "SessionLog",
    options: "TrainingOptions",
    device: "torch.device",
    checkpoint: "Checkpoint",
    console: "Console",
) -> "TrainedEncoder":
    from encoders.training import train

    with progress_bar(console) as bar:
        task = bar.add_task("training", total=None)

        def on_batch(done: int, planned: int, report: "EpochReport | None") -> None:
            bar.update(task, completed=done, total=planned)
            if report is not None:
                bar.console.print(
                    f"epoch {report.epoch + 1:2d}: loss {report.loss:.3f}, events {report.events:.3f}, "
                    f"outcome {report.outcome:.3f}, pairs {report.pairs:.3f}, codes restarted {report.restarted}"
                )

        try:
            trained = train(training, held_out, options, device, on_batch, checkpoint)
        except KeyboardInterrupt:
            bar.console.print("Interrupted; the same command goes on after the last whole epoch.", highlight=False)
            raise
    if len(trained.history) < options.epochs:
        console.print(f"Stopped after {options.patience} epochs without a gain held out.", highlight=False)
    return trained


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
