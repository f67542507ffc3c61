"""``simpersona simulate``: send simulated buyers through a merchant's storefront."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.limits import RUN_HOURS_MAX, SEED_MAX, THREADS_MAX, finite

if TYPE_CHECKING:
    from agent_runtime.crowds.fidelity import Fidelity
    from agent_runtime.population.population import Reader
    from agent_runtime.simulators.simulator import Simulator
    from agent_runtime.storefront.shop import Shop

app = typer.Typer()

HOUR_MS = 3_600_000
#: How often a run that waits asks the store whether its sessions came back.
_ASK_EVERY_S = 0.5


@app.command()
def simulate(
    context: typer.Context,
    merchant: Annotated[str, typer.Option(help="Merchant whose latest mix and storefront are used.")] = "",
    buyers: Annotated[int, typer.Option(min=1, help="Number of simulated buyers, one session each.")] = 500,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds, mixes and times give equal runs.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Folder of the simulator [SIMPERSONA_SIMULATOR].")] = None,
    backend: Annotated[
        str,
        typer.Option(help="local, text: the language model; markov, replay: scripted; openai: a model at an endpoint."),
    ] = "local",
    events: Annotated[
        list[Path] | None, typer.Option(help="Event log that shows a storefront the simulator was not trained on.")
    ] = None,
    storefronts: Annotated[
        Path | None, typer.Option(help="Told conditions of that storefront: a line of JSON a merchant.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Draw from the mix of this event time, ISO 8601; by default the latest."),
    ] = None,
    as_counted: Annotated[
        bool, typer.Option("--as-counted", help="Take the mix as counted, not drawn towards what merchants share.")
    ] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Fit the simulator to that storefront's own sessions in --events first.")
    ] = False,
    assignments: Annotated[
        Path | None, typer.Option(help="With --variant: take the mix from these assignments, not from the store.")
    ] = None,
    variant: Annotated[
        Path | None,
        typer.Option(help="Try this change of the storefront (YAML or JSON): same buyers with and without."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="With --variant: write the report to this file as a page.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Event time at which sessions begin, ISO 8601; by default now, after other runs.")
    ] = None,
    hours: Annotated[
        float,
        typer.Option(min=0.01, max=RUN_HOURS_MAX, callback=finite, help="Event time over which sessions begin."),
    ] = 24.0,
    wait: Annotated[
        float, typer.Option(min=0, callback=finite, help="Seconds to wait for the sessions to come back encoded.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, max=THREADS_MAX, help="Threads at work; any give the same run.")] = 1,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --backend openai: do not ask whether the price is right.")
    ] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="Repeat the run of this manifest, or of this --json file; nothing is sent.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the clicks to this file, as an event log.")] = None,
    browser: Annotated[
        bool, typer.Option("--browser", help="Walk through real web pages in Chromium: for a few buyers, see docs.")
    ] = False,
    steps: Annotated[
        Path | None, typer.Option(help="With --browser: write every page seen and action taken, as JSON lines.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file as JSON.")] = None,
) -> None:
    """Draw buyers from a merchant's latest mix, walk them through its storefront, and send their clicks to Kafka.

    The clicks go to their own topic, clicks.simulated. Runs follow each other in event time; let one finish before the
    next is started.

    With --manifest a run is repeated exactly, without store or broker: same simulator, same mix, same clicks. Its event
    times have passed, so it is only written down (--out), not sent.

    With --variant nothing is sent: the buyers walk the storefront as it is and as it would be, with the same random
    numbers, and the difference is reported by persona. docs/variants.md has the file.

    Example: simpersona simulate --merchant shop-000 --buyers 500 --seed 7 --wait 60

    With --adapt the simulator is first fitted to the storefront's own sessions, a bias for each action: buyers then do
    as much of everything as real ones there. The manifest holds the biases.

    Example: simpersona simulate --merchant shop-000 --buyers 8 --browser --steps steps.jsonl
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agent_runtime.crowds.publish import ClickPublisher
    from agent_runtime.crowds.simulation import Plan, send, shop_hash, simulate, write_down
    from agent_runtime.errors import PopulationError
    from agent_runtime.models.endpoint import Endpoint
    from agent_runtime.population.lineage import Lineage
    from agent_runtime.population.population import assigned_mix, latest_mix, simulated_until_ms
    from agent_runtime.population.prior import steadied
    from agent_runtime.simulators.simulator import load_simulator
    from agent_runtime.variants.variant import read_variant
    from infra.cli.browser_walk import figures, walk_pages, write_steps
    from infra.cli.event_time import start_ms, time_ms
    from infra.cli.given import given
    from infra.cli.outputs import claim, write_json
    from infra.cli.simulate_adapted import adapter_of
    from infra.cli.simulate_again import again, crowd_figures, told, written
    from infra.cli.simulate_asked import TOLD, check_asked
    from infra.cli.simulate_endpoint import OPENAI, endpoint_of, price
    from infra.cli.simulate_variant import Asked, persona_names, run_variant
    from infra.stack.kafka_address import require_kafka
    from schemas.settings import settings
    from streams.sessions.settings import session_rules
    from streams.store.connection import Store
    from streams.store.sink import Sink

    check_asked(context)
    dials, console = settings(), Console(stderr=True)
    folder = model or dials.simulator
    reads = [*(events or []), storefronts, assignments, variant, manifest, folder, dials.encoder]
    claim({"--json": json_file, "--html": html, "--out": out, "--steps": steps}, reads)
    change = None if variant is None else read_variant(variant)
    rules = session_rules(dials)
    gap_ms = rules.gap_overrides_ms.get(merchant, rules.gap_ms)
    simulator = load_simulator(folder)
    if manifest is not None:
        shown = partial(_shop, simulator, events=events or [], storefronts=storefronts)
        said = {option: context.params[name] for name, option in given(context).items() if name in TOLD}
        result = again(manifest, simulator, shown, threads, out, said)
        _report(result)
        write_json(json_file, result)
        return
    if not merchant:
        raise PopulationError("Name the merchant with --merchant, or a run to repeat with --manifest.")
    chosen = endpoint_of(simulator) if backend == OPENAI else simulator.backend(backend)
    if assignments is not None:
        mix, busy_until_ms = assigned_mix(assignments, merchant), 0
    else:
        store = Store(dials.clickhouse, patience_s=0)
        known = latest_mix(store, merchant, time_ms(at, "--at")) if at else latest_mix(store, merchant)
        told_mix = Lineage(store, simulator.codebook_version)(known)
        mix, busy_until_ms = told_mix.mix, simulated_until_ms(store) or 0
        if told_mix.said:
            console.print(told_mix.said, highlight=False)
    if change is None and not as_counted:
        mix = steadied(mix, simulator.prior())
    shop = _shop(simulator, merchant, gap_ms, events or [], storefronts)
    adapter = None
    if adapt:
        with console.status(f"fitting to the sessions of {merchant}"):
            adapter = adapter_of(simulator, backend, events or [], gap_ms, shop)
    if change is None:
        require_kafka(dials.kafka)
    if start:
        begin_ms = start_ms(start, busy_until_ms if change is None else 0)
    else:
        begin_ms = max(_now_ms(), busy_until_ms) if change is None else mix.as_of_ms
    plan = Plan(
        mix=mix,
        simulator_version=simulator.version,
        shop_hash=shop_hash(shop),
        backend=f"{backend}-browser" if browser else backend,
        buyers=buyers,
        seed=seed,
        start_ms=begin_ms,
        span_ms=round(hours * HOUR_MS),
        gap_ms=gap_ms,
        lateness_ms=rules.allowed_lateness_ms,
        variant=None if change is None else change.to_json(),
        adapter=None if adapter is None else adapter.to_json(),
    )
    if change is not None:
        names = persona_names(dials.encoder, simulator.codebook_version)
        run_variant(simulator, change, plan, shop, names, Asked(json_file, html))
        return
    if isinstance(chosen, Endpoint):
        console.print(price(chosen, plan, shop), highlight=False)
        if not yes:
            typer.confirm("Start the run?", abort=True, err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = time.perf_counter()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"buyers at {merchant}", total=buyers)
        if browser:
            walks = walk_pages(plan, simulator.vocabulary, chosen, shop, lambda count: bar.advance(task, count))
            sessions, went = [walk.session for walk in walks if walk.session.clicks], figures(walks)
            if steps is not None:
                write_steps(steps, walks)
        else:
            played = simulate(
                plan, simulator.vocabulary, chosen, shop, lambda count: bar.advance(task, count), threads=threads
            )
            sessions, went = played.sessions, crowd_figures(played)
    seconds = time.perf_counter() - began
    with ClickPublisher(dials.kafka) as publisher:
        write_down(Sink(store), plan, sessions)
        clicks = send(publisher, plan, shop, sessions)
    result = told(plan, sessions, clicks, seconds) | went
    if isinstance(chosen, Endpoint):
        result["endpoint"] = asdict(chosen.tally)
    if out is not None:
        written(out, plan, shop, sessions)
    if wait > 0:
        with console.status("waiting for the sessions to come back"):
            back = await_fidelity(store, plan.run_id, len(sessions), wait, time.monotonic, time.sleep)
        result["round_trip"] = asdict(back)
    _report(result)
    write_json(json_file, result)


def await_fidelity(
    store: "Reader",
    run_id: str,
    sessions: int,
    wait_s: float,
    clock_s: Callable[[], float],
    sleep: Callable[[float], object],
) -> "Fidelity":
    """Wait until all of a run's sessions came back, at most ``wait_s``, and return what came back by then.

    Raises PopulationError when none did.
    """
    from agent_runtime.crowds.simulation import sessions_back, stored_fidelity

    deadline = clock_s() + wait_s
    while sessions_back(store, run_id) < sessions and clock_s() < deadline:
        sleep(_ASK_EVERY_S)
    return stored_fidelity(store, run_id)


def _shop(simulator: "Simulator", merchant: str, gap_ms: int, events: list[Path], storefronts: Path | None) -> "Shop":
    from agent_runtime.errors import ShopError
    from agent_runtime.storefront.shop import observe_shops, under_conditions
    from schemas.conditions import read_conditions

    if events:
        seen = observe_shops(events, gap_ms, merchant)
        return (under_conditions(seen, read_conditions([storefronts])) if storefronts else seen)[0]
    if storefronts:
        raise ShopError("--storefronts goes with --events; the simulator knows the conditions of its own shops.")
    if merchant not in simulator.shops:
        raise ShopError(
            f"The simulator has not seen the storefront of {merchant}; show it with --events, or choose one of "
            f"{', '.join(sorted(simulator.shops))}."
        )
    return simulator.shops[merchant]


def _now_ms() -> int:
    return round(time.time() * 1000)


def _report(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "value", title=f"simulation {result['run_id']} at {result['merchant']}")
    table.add_row("sessions", f"{result['sessions']:,}")
    table.add_row("clicks", f"{result['clicks']:,}")
    for outcome, count in result["outcomes"].items():
        table.add_row(f"ended at {outcome}", f"{count:,}")
    if "masked_mass" in result:
        table.add_row("wishes the shop does not serve", f"{result['masked_mass']:.1%}")
    else:
        table.add_row("crashed", f"{result['crashed']:,}")
        table.add_row("invalid actions", f"{result['invalid_actions']:,}")
    table.add_row("sessions/s", f"{result['sessions_per_s']:,.0f}")
    if "clicks_sha256" in result:
        table.add_row("clicks (SHA-256)", result["clicks_sha256"][:16])
    if back := result.get("round_trip"):
        table.add_row("came back", f"{back['sessions']:,}")
        table.add_row("… as their own type", f"{back['own_type']:.1%}")
        table.add_row("… mix off by (JS, nats)", f"{back['js_nats']:.4f}")
    Console().print(table)
