"""``simpersona bench simulate``, ``round-trip`` and ``follow``: simulated buyers, measured."""

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.bench_frame import JsonOption, kept, show, steps

WorldOption = Annotated[
    Path, typer.Option(help="Where generated merchants, encoder and simulator are kept, and taken up again.")
]
WORLD = Path(".simpersona/bench-simulated")


def simulate(
    folder: WorldOption = WORLD,
    model: Annotated[Path | None, typer.Option(help="Folder of a simulator; by default one is made.")] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of the language model.")] = 8_000,
    scripted_sessions: Annotated[int, typer.Option(min=1, help="Sessions of the scripted backends.")] = 60_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads at work.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; the fastest counts, all are reported.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sessions.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Sessions per second and per CPU-second of a folder's language model and scripted backends, and their memory.

    Example: simpersona bench simulate --json simulate.json
    """
    from bench.simulate import SimulateBench, bench_simulate
    from bench.simulated_world import SimulatedWorldPlan, make_simulated_world

    plan = SimulateBench(sessions, scripted_sessions, threads, repeats, seed)

    say = steps()
    chosen = model or make_simulated_world(folder, SimulatedWorldPlan(), say).simulator
    show("simulate", bench_simulate(chosen, plan, say), json_file)


def round_trip(
    folder: WorldOption = WORLD,
    buyers: Annotated[int, typer.Option(min=1, help="Simulated buyers at every merchant held out.")] = 600,
    backend: Annotated[str, typer.Option(help="local, text, markov or replay.")] = "local",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated buyers.")] = 7,
    json_file: JsonOption = None,
) -> None:
    """Simulated buyers at merchants never seen, through Kafka and a worker: do they come back as who they are?

    Own coarse type beside the tokeniser's ceiling, and the simulated mix against the real future one beside the real
    past against the future; by merchant and pooled. Needs Java 17 and Maven.

    Example: simpersona bench round-trip --json round-trip.json
    """
    from bench.round_trip import RoundTripPlan, bench_round_trip
    from bench.simulated_world import SimulatedWorldPlan, make_simulated_world

    plan = RoundTripPlan(buyers, backend, seed=seed)

    say = steps()
    world = make_simulated_world(folder, SimulatedWorldPlan(), say)
    with kept(None) as scratch:
        report = bench_round_trip(scratch, world, plan, say)[0]
    show("round-trip", report, json_file)


def follow(
    folder: WorldOption = WORLD,
    half_life: Annotated[float, typer.Option(min=0.01, help="Half-life of the mix, in hours of event time.")] = 1.0,
    before: Annotated[float, typer.Option(min=0.1, help="Hours of event time before the drift.")] = 2.0,
    after: Annotated[float, typer.Option(min=0.1, help="Hours of event time after it.")] = 5.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second of event time.")] = 1.5,
    speed: Annotated[float, typer.Option(min=1, help="Event time per clock time.")] = 180.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the traffic.")] = 3,
    json_file: JsonOption = None,
) -> None:
    """Plant a drift in live traffic: seconds and sessions until `simpersona agents` has followed it.

    Needs Java 17 and Maven.

    Example: simpersona bench follow --half-life 6 --after 24 --json follow.json
    """
    from bench.follow import FollowPlan, bench_follow
    from bench.simulated_world import SimulatedWorldPlan, make_simulated_world

    plan = FollowPlan(before, after, rate, speed, round(half_life * 3_600_000), seed=seed)

    say = steps()
    world = make_simulated_world(folder, SimulatedWorldPlan(), say)
    with kept(None) as scratch:
        report = bench_follow(scratch, world, plan, say)
    show("follow", report, json_file)
