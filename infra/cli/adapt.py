"""``simpersona adapt``: a challenger codebook from recent traffic, judged, mapped, published; and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.given import take_only
from infra.cli.limits import PAST_HOURS_MAX, SEED_MAX, finite
from infra.cli.session_source import clicks_between, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from encoders.gate import Verdict
    from encoders.sessionise import SessionLog
    from encoders.succession import Challenger

app = typer.Typer()

_HOUR_MS = 3_600_000
#: What --from-kafka reads unless --last-hours says otherwise.
DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where recent sessions come from: event logs, or the broker at ``bootstrap``; of either only the last hours."""

    events: Sequence[Path]
    last_hours: float | None
    bootstrap: str | None


@app.command(
    help="Make a challenger of recent traffic, compare it with the running encoder on buyers held back, and publish it "
    "if it is better.\n\n"
    "Types keep their codes and names; what retired and what was born stands in the new manifest. Running workers swap "
    "at their next commit. Without --publish nothing but --out is written.\n\n"
    "Example: simpersona adapt --events recent.parquet --encoder encoder --out encoders/next --publish\n\n"
    "Example: simpersona adapt --rollback"
)
def adapt(
    context: typer.Context,
    events: Annotated[list[Path] | None, typer.Option(help="Event log of recent traffic; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new artefact.")] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="The running encoder. Default: the published one with --publish, else [SIMPERSONA_ENCODER]."),
    ] = None,
    from_kafka: Annotated[
        bool, typer.Option("--from-kafka", help="Recent traffic from clicks.raw; what came in --last-hours (24).")
    ] = False,
    last_hours: Annotated[
        float | None,
        typer.Option(min=0.1, max=PAST_HOURS_MAX, callback=finite, help="Only the last hours of --events."),
    ] = None,
    half_life: Annotated[int, typer.Option(min=100, help="Sessions after which the past weighs half.")] = 2_000,
    births: Annotated[int, typer.Option(min=0, max=32, help="New types at most.")] = 4,
    train_epochs: Annotated[
        int, typer.Option(min=0, help="Also train the network on, so many times over the sessions (needs torch).")
    ] = 0,
    challenger: Annotated[
        Path | None, typer.Option(help="An encoder trained anew, to be judged and mapped in place of moving averages.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds and data give equal challengers.")] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Hand it to the workers if it is better.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write and publish it even if it is not better.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Make the workers go back to the codebook before the current one.")
    ] = False,
    kafka: Annotated[str | None, typer.Option(help="Kafka bootstrap servers [SIMPERSONA_KAFKA].")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was done to this file as JSON.")] = None,
) -> None:
    """Adapt, or roll back."""
    from infra.cli.outputs import claim, write_json
    from infra.errors import ArgumentError
    from schemas.settings import settings

    bootstrap = kafka or settings().kafka
    claim({"--json": json_file}, [*(events or []), encoder or settings().encoder, challenger], out)
    if rollback:
        if events or from_kafka or out or challenger:
            raise ArgumentError("--rollback goes back to what was published before; give it no --events or --out.")
        take_only(context, "--rollback", {"rollback", "kafka", "json_file"})
        result = _roll_back(bootstrap)
    elif bool(events) == from_kafka or out is None:
        raise ArgumentError(
            "adapt needs --events (recent traffic) or --from-kafka, and --out (a folder for the new encoder)."
        )
    elif challenger is not None and train_epochs:
        raise ArgumentError("--challenger brings a network of its own; leave --train-epochs out.")
    else:
        dials = {"half_life": half_life, "births": births, "train_epochs": train_epochs, "seed": seed}
        traffic = Traffic(events or [], last_hours, bootstrap if from_kafka else None)
        result = _adapt(traffic, out, encoder, dials, challenger, bootstrap if publish else None, force)
    write_json(json_file, result)


def _roll_back(bootstrap: str) -> dict[str, Any]:
    import asyncio
    import time

    from rich.console import Console

    from infra.stack.kafka_address import require_kafka
    from streams.codebooks.topic import read_shelf, roll_back

    async def run() -> dict[str, Any]:
        publication = await roll_back(bootstrap, await read_shelf(bootstrap), time.time_ns() // 1_000_000)
        return {"codebook_version": publication.codebook_version, "reason": publication.reason}

    require_kafka(bootstrap)
    result = asyncio.run(run())
    Console().print(
        f"Codebook {result['codebook_version']} is current again ({result['reason']}); workers swap at their next "
        "commit.",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _adapt(
    traffic: Traffic,
    out: Path,
    folder: Path | None,
    dials: dict[str, int],
    trained: Path | None,
    bootstrap: str | None,
    force: bool,
) -> dict[str, Any]:
    import asyncio
    import tempfile
    import time

    from rich.console import Console

    from encoders.artefact import check_artefact, check_target
    from infra.stack.kafka_address import require_kafka
    from schemas.settings import settings

    # What can be wrong with the arguments is said before anything large is loaded.
    check_target(out)
    if trained is not None:
        check_artefact(trained)
    for address in {bootstrap, traffic.bootstrap} - {None}:
        require_kafka(str(address))
    if bootstrap is None:
        check_artefact(folder or settings().encoder)

    from encoders.adaptation import AdaptationOptions
    from encoders.fitting import fingerprint
    from encoders.gate import judge, require_enough, split_held_back
    from encoders.serving import Encoder
    from encoders.succession import verdict_fields, write_successor
    from streams.codebooks.topic import Shelf, publish, read_shelf
    from streams.errors import CodebookTopicError

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="simpersona-adapt-") as scratch:
        shelf = Shelf()
        if bootstrap is not None:
            shelf = asyncio.run(read_shelf(bootstrap))
            if folder is None and shelf.current is not None:
                folder = shelf.unpack(shelf.current.codebook_version, Path(scratch))
        folder = folder or settings().encoder
        champion = Encoder.load(folder)
        # One that was never served begins anew; one that was and is no longer would leave out what came between.
        stale = shelf.current is not None and champion.version in shelf.current.versions
        if shelf.current is not None and stale and shelf.current.codebook_version != champion.version:
            raise CodebookTopicError(
                f"The workers serve codebook {shelf.current.codebook_version}, {folder} holds {champion.version}; "
                "leave --encoder out to go on from the published one."
            )
        log = _read(traffic, console)
        recent, held_back = split_held_back(log, dials["seed"])
        require_enough(held_back)
        options = AdaptationOptions(dials["half_life"], dials["births"], dials["seed"])
        made = _challenge(champion, folder, recent, options, dials["train_epochs"], trained, console)
        with console.status("judging on buyers held back"):
            verdict = judge(champion, made.encoder, recent, held_back, options.seed, made.one_network)
        taken = verdict.accepted or force
        result: dict[str, Any] = {"previous_version": champion.version, "gate": verdict_fields(verdict)}
        if taken:
            data = {"fingerprint": fingerprint(recent), "sessions": len(recent), "events": int(recent.lengths.sum())}
            fields = {"adaptation": {**dials, "data": data, "trained": trained is not None}, "seed": options.seed}
            manifest = write_successor(out, folder, check_artefact(folder), made, recent, verdict, fields)
            result |= {"codebook_version": manifest.codebook_version, "code_map": manifest.fields["code_map"]}
            if bootstrap is not None:
                now_ms = time.time_ns() // 1_000_000
                asyncio.run(publish(bootstrap, [folder, out], shelf, verdict.reason, now_ms))
        result |= {"written": taken, "published": taken and bootstrap is not None}
        _report(verdict, made, result, out)
        return result


def _challenge(
    champion: Any,
    folder: Path,
    recent: "SessionLog",
    options: Any,
    train_epochs: int,
    trained: Path | None,
    console: "Console",
) -> "Challenger":
    from encoders.succession import challenge, challenge_trained_on, challenge_with

    if trained is not None:
        with console.status("matching the types of the new encoder"):
            return challenge_with(champion, trained, recent, options.seed)
    with progress_bar(console) as bar:
        if train_epochs:
            task = bar.add_task("training on", total=None)
            return challenge_trained_on(
                champion, folder, recent, train_epochs, options.seed,
                lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        task = bar.add_task("moving averages", total=len(recent))
        return challenge(champion, folder, recent, options, lambda done: bar.advance(task, done))


def _read(traffic: Traffic, console: "Console") -> "SessionLog":
    from encoders.event_log import count_rows
    from encoders.sessionise import read_sessions
    from schemas.settings import settings

    dials = settings()
    with progress_bar(console) as bar:
        if traffic.bootstrap is not None:
            task, span = bar.add_task("reading clicks", total=None), timedelta(hours=traffic.last_hours or DAY_H)
            return clicks_between(traffic.bootstrap, span, None, lambda n: bar.advance(task, n))
        task = bar.add_task("reading events", total=count_rows(traffic.events))
        log = read_sessions(
            traffic.events, dials.gap_ms, dials.session_max_events, lambda rows: bar.advance(task, rows)
        )
    if traffic.last_hours is None:
        return log
    started = log.events["t"][log.starts]
    return log.select(started >= started.max() - round(traffic.last_hours * _HOUR_MS))


def _report(verdict: "Verdict", made: "Challenger", result: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("on buyers held back", "champion", "challenger", "difference from", "")
    for one in verdict.criteria:
        mark = "better" if one.gain else "worse" if one.loss else ""
        name = one.name.replace("_", " ")
        table.add_row(name, f"{one.champion:.4f}", f"{one.challenger:.4f}", f"{one.margin:.4f}", mark)
    console = Console()
    console.print(table)
    console.print(
        f"{verdict.reason} {made.kept_types:.1%} of the recent sessions keep their type, {made.kept_codes:.1%} their "
        f"full code; {len(made.types.born)} types born, {len(made.types.retired)} retired.",
        highlight=False,
        soft_wrap=True,
    )
    if not result["written"]:
        console.print(f"The encoder stays {result['previous_version']}; nothing was written.", highlight=False)
        return
    ending = "published: workers swap at their next commit." if result["published"] else "not published."
    console.print(f"{out}: codebook {result['codebook_version']}, {ending}", highlight=False, soft_wrap=True)
