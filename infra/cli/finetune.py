"""``simpersona finetune``: teach a language model to click like each buyer type."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.limits import SEED_MAX, THREADS_MAX, finite

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from agent_runtime.storefront.shop import Shop
    from agent_runtime.traces.traces import Traces
    from agent_runtime.vocabulary import Vocabulary

app = typer.Typer()


@app.command()
def finetune(
    events: Annotated[list[Path], typer.Option(help="Event log the assignments were made from; give it repeatedly.")],
    assignments: Annotated[Path, typer.Option(help="Assignments of that log, from `simpersona assign`.")],
    out: Annotated[Path, typer.Option(help="Folder of the simulator.")],
    storefronts: Annotated[
        list[Path] | None,
        typer.Option(help="Told conditions of all storefronts, to learn what they change; give it repeatedly."),
    ] = None,
    encoder: Annotated[Path | None, typer.Option(help="Folder of the encoder artefact [SIMPERSONA_ENCODER].")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Causal language model to start from, a name or path, or a simulator's folder to go on from; "
            "else a small one is made."
        ),
    ] = None,
    form: Annotated[
        str, typer.Option(help="compact: words of our own, one token a move; text: a conversation, moves as JSON.")
    ] = "compact",
    lora: Annotated[
        int | None, typer.Option(min=1, help="With --base: train changes of this rank and the new tokens, no more.")
    ] = None,
    untyped: Annotated[bool, typer.Option("--untyped", help="Teach no buyer types: a yardstick for `align`.")] = False,
    other_session: Annotated[
        bool, typer.Option("--other-session", help="Teach the type of another session of the same buyer, not its own.")
    ] = False,
    width: Annotated[int, typer.Option(min=8, help="Width of the small model made here.")] = 64,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the small model made here.")] = 2,
    scripted_only: Annotated[bool, typer.Option("--scripted-only", help="Fit the Markov chain, no model.")] = False,
    export: Annotated[
        Path | None, typer.Option(help="Also write the sessions to this file as JSON lines in chat format.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the sessions; by default three, or more of few sessions.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            max=1,
            callback=finite,
            help="Peak learning rate; by default what suits a fresh model of its width, or a pretrained one.",
        ),
    ] = None,
    limit_sessions: Annotated[int, typer.Option(min=1, help="Learn from at most this many sessions.")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds and data give equal models.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=THREADS_MAX, help="Threads for training on the processor.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Learn what each buyer type does from assigned sessions, and write a simulator for `simulate` and `agents`.

    The folder holds a small language model with one token per buyer type, a Markov chain that needs no model, and the
    storefronts seen in the events.

    Example: simpersona finetune --events clicks.parquet --assignments assigned.parquet --out .simpersona/simulator

    Example: simpersona finetune --events clicks.parquet --assignments assigned.parquet --out buyers --form text

    Example: simpersona finetune --events own.parquet --assignments own-assigned.parquet --base buyers --out own
    """
    from rich.console import Console

    from agent_runtime.errors import ModelError
    from agent_runtime.models.markov import fit_markov
    from agent_runtime.models.replay import repertoire
    from agent_runtime.population.prior import prior_of
    from agent_runtime.simulators.simulator import TEXT, check_target, is_simulator, load_simulator, write_simulator
    from agent_runtime.storefront.shop import observe_shops, under_conditions
    from agent_runtime.traces.traces import read_traces, token_rows
    from agent_runtime.vocabulary import Vocabulary
    from encoders.event_log import count_rows
    from encoders.serving import Encoder
    from infra.cli.outputs import claim, write_json
    from schemas.conditions import read_conditions
    from schemas.settings import settings

    folder = encoder or settings().encoder
    reads = [*events, assignments, folder, *(storefronts or [])]
    claim({"--export": export, "--json": json_file}, reads, out)
    check_target(out)
    if storefronts and scripted_only:
        raise ModelError(
            "--storefronts: the scripted chain learns no answers to conditions; leave out --scripted-only."
        )
    if storefronts and form == TEXT:
        raise ModelError("--storefronts: answers to conditions are learnt by the compact form; leave out --form text.")
    learner = None
    if not scripted_only:
        if base is not None and is_simulator(Path(base)):
            learner = load_simulator(Path(base))
        from infra.cli.finetune_model import Lesson, check_lesson, response_of, train_model

        lesson = Lesson(form, base, learner, width, layers, lora, epochs, learning_rate, seed, device, threads)
        check_lesson(lesson)
    known = Encoder.load(folder)
    console = Console(stderr=True)
    with _progress(console) as bar:
        task = bar.add_task("reading sessions", total=count_rows(events))
        traces = read_traces(events, assignments, limit_sessions, seed, lambda rows: bar.advance(task, rows))
    if traces.codebook_version != known.version:
        raise ModelError(
            f"{assignments} was made by codebook {traces.codebook_version}, the encoder is {known.version}; "
            "assign with this encoder."
        )
    with console.status("looking at the shops"):
        shops = observe_shops(events, settings().gap_ms)
        if storefronts:
            shops = under_conditions(shops, read_conditions(storefronts))
    vocabulary = Vocabulary(known.version, tuple(known.code_paths))
    if other_session:
        traces = traces.of_other_session(seed)
    if untyped:
        traces, vocabulary = traces.untyped(), vocabulary.untyped()
    if export is not None:
        _export(export, traces, vocabulary, shops)
    flags_of = {shop.merchant_id: shop.capabilities.flags() for shop in shops}
    nothing = tuple(0 for _ in next(iter(flags_of.values())))
    flags = [flags_of.get(merchant, nothing) for merchant in traces.merchants]
    model, response = None, learner.response() if learner else None
    fields = _provenance(traces, seed, learner.version if learner else base)
    if not scripted_only:
        model, vocabulary, trained = train_model(lesson, vocabulary, traces, shops, flags, _progress(console))
        fields |= trained
        if storefronts:
            response = response_of(model, vocabulary, traces, shops, _progress(console))
    else:
        fields["figures"] = {"training_sessions": float(len(traces))}
    again = repertoire(token_rows(traces, vocabulary, flags), traces.code, vocabulary, seed)
    chain = fit_markov(traces, vocabulary)
    if learner is not None:
        shops = learner.shops_and(shops)
    prior = prior_of(traces, vocabulary) or (learner.prior() if learner else None)
    version = write_simulator(out, vocabulary, chain, shops, model, fields, again, response, form, prior)
    _report(out, version, fields)
    write_json(json_file, {"simulator_version": version, "codebook_version": known.version, **fields})


def _export(path: Path, traces: "Traces", vocabulary: "Vocabulary", shops: "list[Shop]") -> None:
    from agent_runtime.traces.chat import conversations

    capabilities = {shop.merchant_id: shop.capabilities for shop in shops}
    with path.open("w") as file:
        for line in conversations(traces, vocabulary.code_paths, capabilities):
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _provenance(traces: "Traces", seed: int, base: str | None) -> dict[str, Any]:
    return {"seed": seed, "base": base, "sessions": len(traces), "merchants": list(traces.merchants)}


def _progress(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def _report(out: Path, version: str, fields: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "value", title=f"simulator {version} in {out}")
    for name, value in {"sessions": fields["sessions"], **fields["figures"]}.items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if value % 1 else f"{int(value):,}")
    Console().print(table)
