"""``simpersona agents``: a living population per merchant, in step with the latest mix."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.limits import SEED_MAX, finite

if TYPE_CHECKING:
    from agent_runtime.crowds.crowd import Crowd

app = typer.Typer()

#: Newcomers are drawn this much clock time ahead; a changed mix shows in them after at most as long.
WINDOW_S = 10.0
#: Far more shoppers a minute than are played in one.
RATE_MAX = 1e6
#: A day a second: in a morning, event time then leaves the times that the stream accepts.
SPEED_MAX = 86_400.0


@app.command()
def agents(
    model: Annotated[Path | None, typer.Option(help="Folder of the simulator [SIMPERSONA_SIMULATOR].")] = None,
    backend: Annotated[
        str, typer.Option(help="local, text: the language model; markov: the scripted chain; replay: real sessions.")
    ] = "local",
    events: Annotated[
        list[Path] | None, typer.Option(help="Event log that shows storefronts the simulator was not trained on.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option(min=0.001, max=RATE_MAX, callback=finite, help="New shoppers per merchant and minute."),
    ] = 20.0,
    speed: Annotated[
        float,
        typer.Option(
            min=0.1, max=SPEED_MAX, callback=finite, help="Event time per clock time: 60 lives an hour a minute."
        ),
    ] = 1.0,
    every: Annotated[
        float, typer.Option(min=0.05, max=3600, callback=finite, help="Seconds between two sendings of clicks.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(min=0, max=SEED_MAX, help="Equal seeds, mixes and steps give equal shoppers.")
    ] = 0,
    merchant: Annotated[list[str] | None, typer.Option(help="Only these merchants; by default all with a mix.")] = None,
    as_counted: Annotated[
        bool, typer.Option("--as-counted", help="Take mixes as counted, not drawn towards what merchants share.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, callback=finite, help="Stop after this long; by default at Ctrl-C.")
    ] = None,
) -> None:
    """Keep simulated shoppers in every shop, drawn from its latest mix of buyer types, until Ctrl-C.

    Follows personas.distribution, so that the population changes as soon as the mix does; clicks go to
    clicks.simulated. Let no `simulate` run beside it: both would set the time of that topic.

    Example: simpersona agents --rate 30 --speed 60
    """
    import logging

    from rich.console import Console

    from agent_runtime.crowds.crowd import Crowd, CrowdRules
    from agent_runtime.crowds.publish import ClickPublisher
    from agent_runtime.crowds.watch import MixWatch
    from agent_runtime.population.lineage import Lineage
    from agent_runtime.population.population import simulated_until_ms
    from agent_runtime.simulators.simulator import load_simulator
    from agent_runtime.storefront.shop import observe_shops
    from infra.stack.kafka_address import require_kafka
    from schemas.settings import settings
    from streams.log_lines import announce, configure_logging
    from streams.sessions.settings import session_rules
    from streams.store.connection import Store
    from streams.store.sink import Sink

    dials, console = settings(), Console(stderr=True)
    configure_logging(dials.log_format)
    rules = session_rules(dials)
    simulator = load_simulator(model or dials.simulator)
    chosen = simulator.backend(backend)
    require_kafka(dials.kafka)
    store = Store(dials.clickhouse)
    watch = MixWatch(dials.kafka)
    start_ms = max(round(time.time() * 1000), simulated_until_ms(store) or 0)
    seen = observe_shops(events, rules.gap_ms) if events else []
    crowd = Crowd(
        simulator,
        chosen,
        {**simulator.shops, **{shop.merchant_id: shop for shop in seen}},
        Sink(store),
        CrowdRules(
            rate_per_ms=rate / 60_000 / speed,
            window_ms=round(WINDOW_S * 1000 * speed),
            gap_ms=rules.gap_ms,
            gap_overrides_ms=rules.gap_overrides_ms,
            lateness_ms=rules.allowed_lateness_ms,
            seed=seed,
            backend=backend,
            merchants=frozenset(merchant or []),
            steadied=not as_counted,
        ),
        start_ms,
        Lineage(store, simulator.codebook_version),
    )
    awaited = f"waiting for a mix of {', '.join(merchant or ['buyer types'])}"
    began = time.monotonic()
    try:
        with ClickPublisher(dials.kafka) as publisher, console.status(awaited) as status:
            while seconds is None or time.monotonic() - began < seconds:
                for mix in watch.poll(timeout_ms=round(every * 1000)):
                    for warning in crowd.follow(mix):
                        logging.getLogger(__name__).warning(warning, extra={"merchant": mix.merchant_id})
                crowd.step(start_ms + round((time.monotonic() - began) * 1000 * speed), publisher)
                status.update(_line(crowd, awaited))
    except KeyboardInterrupt:
        announce("Stopping: shoppers still in the shops are left to the session gap.")
    finally:
        watch.close()
        store.close()
    announce(_line(crowd, awaited), merchants=len(crowd.populations), shoppers=crowd.sessions, clicks=crowd.clicks)


def _line(crowd: "Crowd", awaited: str) -> str:
    if not crowd.populations:
        return awaited
    return (
        f"{len(crowd.populations)} merchants, {crowd.sessions:,} shoppers so far, {crowd.clicks:,} clicks sent, "
        f"{crowd.mixes:,} mixes followed"
    )
