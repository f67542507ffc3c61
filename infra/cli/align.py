"""``simpersona align``: hold simulated buyers against real ones on storefronts that training never saw."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.limits import SEED_MAX, THREADS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runtime.alignment.table import AlignmentTable, Estimate

app = typer.Typer()

#: Columns of the table on the console; the JSON file holds every measure.
SHOWN = ("ara_g", "ara_s", "ara_t", "conversion", "depth_w1", "own_type", "round_trip_js", "log_loss_saved")


@app.command()
def align(
    events: Annotated[list[Path], typer.Option(help="Event log of held-out merchants; give it repeatedly.")],
    simulator: Annotated[Path | None, typer.Option(help="Folder of the simulator [SIMPERSONA_SIMULATOR].")] = None,
    encoder: Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")] = None,
    untyped: Annotated[
        list[str] | None,
        typer.Option(help="NAME=DIR of a simulator taught without buyer types (finetune --untyped), to compare with."),
    ] = None,
    earlier: Annotated[
        Path | None, typer.Option(help="Simulator taught with finetune --other-session, for the strict protocol.")
    ] = None,
    training: Annotated[
        list[Path] | None, typer.Option(help="Event log the simulator was trained on: its sessions are replayed.")
    ] = None,
    own_past: Annotated[
        bool, typer.Option("--own-past", help="Let every simulator first go on with the merchants' past halves.")
    ] = False,
    least_sessions: Annotated[int, typer.Option(min=20, help="A merchant with fewer sessions is left out.")] = 200,
    derangements: Annotated[int, typer.Option(min=1, help="Permutations of the persona tokens.")] = 5,
    processes: Annotated[int, typer.Option(min=1, max=THREADS_MAX, help="Merchants compared at the same time.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds give equal figures.")] = 0,
    record: Annotated[
        bool, typer.Option("--record", help="Also write the figures to the store's table alignment_scores.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file as JSON.")] = None,
) -> None:
    """Cut each merchant's log in the middle; simulate from the past half's mix, measure on the future half.

    Beside every figure stands its noise floor (the real past against the real future), and every yardstick: wrong
    persona tokens, other merchants' mixes, a uniform mix, the Markov chain, and what else is given. docs/alignment.md
    defines the measures.

    Example: simpersona align --events held-out.parquet --encoder .simpersona/encoder --simulator .simpersona/simulator
    """
    import tempfile

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from agent_runtime.alignment.gone_on import gone_on
    from agent_runtime.alignment.pool import Casting, compare_all, fingerprint
    from agent_runtime.alignment.run import AlignmentPlan
    from agent_runtime.alignment.table import AlignmentTable
    from agent_runtime.simulators.simulator import check_player
    from agent_runtime.traces.held_out import PAST_FILE, read_held_out
    from encoders.event_log import count_rows
    from encoders.serving import Encoder
    from infra.cli.outputs import claim, write_json
    from schemas.settings import settings

    dials, console = settings(), Console(stderr=True)
    casting = Casting(
        encoder=encoder or dials.encoder,
        persona=simulator or dials.simulator,
        others=_named(untyped or []),
        earlier=earlier,
        training=tuple(training or ()),
        max_events=dials.session_max_events,
    )
    folders = [casting.persona, *casting.others.values(), *([earlier] if earlier else [])]
    claim({"--json": json_file}, [*events, *casting.training, casting.encoder, *folders])
    plan = AlignmentPlan(seed=seed, gap_ms=dials.gap_ms, derangements=derangements)
    known = Encoder.load(casting.encoder)
    for folder in folders:
        check_player(folder, known.version)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="simpersona-align-") as name, Progress(*columns, console=console) as bar:
        reading = bar.add_task("reading events", total=count_rows(events))
        held = read_held_out(
            events,
            known,
            plan.gap_ms,
            dials.session_max_events,
            least_sessions,
            Path(name),
            lambda rows: bar.advance(reading, rows),
        )
        task = bar.add_task("comparing", total=len(held))
        if own_past:
            past = Path(name) / PAST_FILE
            casting = gone_on(casting, past, Path(name), plan, lambda step: bar.update(task, description=step))
        results = compare_all(
            held,
            casting,
            plan,
            Path(name),
            processes,
            lambda step: bar.update(task, description=step),
            lambda merchant: bar.advance(task),
        )
        compared = fingerprint(casting, plan)
    table = AlignmentTable(results, seed)
    if record:
        _record(compared, results, table)
    _report(table, len(held))
    write_json(json_file, {"comparison": compared, "merchants": results, "means": _means(table)})


def _record(
    comparison: str, results: "Mapping[str, Mapping[str, Mapping[str, float]]]", table: "AlignmentTable"
) -> None:
    """Write the crowd's own figures, with their floors, under a name made from what was compared."""
    import hashlib
    import time

    from agent_runtime.alignment.run import OURS
    from agent_runtime.alignment.scores import measured_of, score_rows
    from schemas.settings import settings
    from streams.store.connection import Store
    from streams.store.sink import Sink

    compared = json.dumps([comparison, results], sort_keys=True, default=str)
    run_id = f"align-{hashlib.sha256(compared.encode()).hexdigest()[:12]}"
    store = Store(settings().clickhouse)
    try:
        sink = Sink(store)
        sink.alignment_scores(score_rows(run_id, measured_of(results, table, OURS), round(time.time() * 1000)))
        sink.flush()
    finally:
        store.close()


def _named(pairs: list[str]) -> dict[str, Path]:
    from agent_runtime.errors import ModelError

    named = {}
    for pair in pairs:
        name, sign, folder = pair.partition("=")
        if not (name and sign and folder):
            raise ModelError(f"--untyped {pair!r}: write it as NAME=DIR, for example no_persona=.simpersona/untyped.")
        named[name] = Path(folder)
    return named


def _means(table: "AlignmentTable") -> dict[str, dict[str, dict[str, float]]]:
    from dataclasses import asdict

    means: dict[str, dict[str, dict[str, float]]] = {}
    for condition in table.conditions():
        found = {measure: table.mean(condition, measure) for measure in table.measures(condition)}
        means[condition] = {measure: asdict(estimate) for measure, estimate in found.items() if estimate is not None}
    return means


def _report(table: "AlignmentTable", merchants: int) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("how the crowd was made", *(name.replace("_", " ") for name in SHOWN), title=f"{merchants} merchants")
    for condition in table.conditions():
        cells = [_cell(table.mean(condition, measure)) for measure in SHOWN]
        shown.add_row(condition.replace("_", " "), *cells)
    Console().print(shown)


def _cell(estimate: "Estimate | None") -> Any:
    return "" if estimate is None else f"{estimate.value:.3f}\n±{(estimate.high - estimate.low) / 2:.3f}"
