"""Do simulated buyers behave like real ones on storefronts never seen? A generated world, everything trained here.

What is made is kept in the folder and not made again: event logs, encoder, simulators, each storefront's figures.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from agent_runtime.alignment.gone_on import gone_on
from agent_runtime.alignment.pool import Casting, compare_all
from agent_runtime.alignment.run import AlignmentPlan
from agent_runtime.alignment.table import AlignmentTable
from agent_runtime.simulators.finetune import FinetuneOptions
from agent_runtime.simulators.simulator import MANIFEST_FILE
from agent_runtime.simulators.training import RECIPES, train_simulator
from agent_runtime.storefront.shop import observe_shops
from agent_runtime.traces.held_out import PAST_FILE, read_held_out, record
from agent_runtime.vocabulary import Vocabulary
from bench.report import Report
from encoders.artefact import MANIFEST_FILE as ENCODER_MANIFEST
from encoders.artefact import write_artefact
from encoders.fitting import finish
from encoders.generator.run import GeneratorRun, generate
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from encoders.training import TrainingOptions, split_held_out, train
from schemas.settings import settings

#: A Monday, 2026-09-07.
START_MS = 1_788_739_200_000
#: Number of the first storefront that is not trained on.
FIRST_HELD_OUT = 10_000
#: Conditions under the names that the design page gives them; all others are ``<measure>_<condition>``.
PERSONA, EARLIER = "persona", "earlier"
#: Where everything that was trained together keeps its encoder.
ENCODER = "encoder"


@dataclass(frozen=True, slots=True)
class AlignBench:
    """What to measure, and on how much.

    merchants, buyers    to train on; these drift, promote and are visited by bots as ``generate`` makes them
    held_out, held_out_buyers  to be judged on: without planted drifts, so that past and future halves can agree
    least_sessions       a storefront with fewer is left out, and counted
    encoder_epochs, epochs  passes of the encoder's and the simulators' training; None for the simulators' usual ones
    processes            storefronts compared, and simulators trained, at the same time
    own_past             whether every simulator then goes on with what the storefronts' past halves show
    """

    merchants: int = 60
    buyers: int = 300
    held_out: int = 42
    held_out_buyers: int = 1_200
    hours: float = 168.0
    least_sessions: int = 2_000
    world_seed: int = 5
    seed: int = 0
    encoder_epochs: int = 12
    epochs: int | None = None
    processes: int = 2
    device: str = "cpu"
    own_past: bool = False

    @property
    def world(self) -> str:
        """What distinguishes the merchants to train on."""
        return f"{self.merchants}x{self.buyers}-{self.hours:g}h-world-{self.world_seed}"

    @property
    def training(self) -> str:
        """What distinguishes two trainings on the same log."""
        return f"seed-{self.seed}-{self.encoder_epochs}-{self.epochs or 'usual'}"


def bench_align(
    folder: Path, bench: AlignBench, plan: AlignmentPlan, say: Callable[[str], None]
) -> tuple[Report, AlignmentTable]:
    """Make what is missing in ``folder``, compare every storefront, and return the figures.

    Raises GeneratorError, TrainingDataError or TraceError on sizes that make no sense.
    """
    casting = learn_world(folder, bench, say)
    held_events = generated(
        folder / f"held-out-{bench.held_out}x{bench.held_out_buyers}-{bench.hours:g}h-world-{bench.world_seed}.parquet",
        GeneratorRun(
            bench.held_out,
            bench.held_out_buyers,
            bench.hours,
            bench.world_seed,
            START_MS,
            FIRST_HELD_OUT,
            drift=False,
        ),
        say,
    )
    say("reading the held-out storefronts")
    held = read_held_out(
        [held_events], Encoder.load(casting.encoder), plan.gap_ms, casting.max_events, bench.least_sessions, folder
    )
    if bench.own_past:
        # beside what they go on from, and by whose past: others held out make other simulators
        made = casting.persona.parent / f"own-past-{held_events.stem}-{bench.least_sessions}"
        casting = gone_on(casting, folder / PAST_FILE, made, plan, say)
    left = len(held)

    def done(merchant: str) -> None:
        nonlocal left
        left -= 1
        say(f"{merchant} compared, {left} to go")

    table = AlignmentTable(compare_all(held, casting, plan, folder / "compared", bench.processes, say, done))
    return report_of(table, len(held), sum(len(one.future) for one in held)), table


def learn_world(folder: Path, bench: AlignBench, say: Callable[[str], None]) -> Casting:
    """Generate the merchants to train on and train, as far as ``folder`` does not hold it; return who plays."""
    folder.mkdir(parents=True, exist_ok=True)
    training = generated(
        folder / f"training-{bench.world}.parquet",
        GeneratorRun(bench.merchants, bench.buyers, bench.hours, bench.world_seed, START_MS),
        say,
    )
    return learn(folder / f"trained-{bench.world}-{bench.training}", (training,), bench, say)


def learn(made: Path, events: Sequence[Path], bench: AlignBench, say: Callable[[str], None]) -> Casting:
    """Train the encoder and all simulators on event logs, as far as ``made`` does not hold them; return who plays."""
    dials = settings()
    if not (made / ENCODER / ENCODER_MANIFEST).exists():
        say("training the encoder")
        log = read_sessions(events, dials.gap_ms, dials.session_max_events)
        training, held_out = split_held_out(log, bench.seed)
        options = TrainingOptions(epochs=bench.encoder_epochs, seed=bench.seed)
        fitted = finish(train(training, held_out, options, torch.device(bench.device)), training, held_out)
        write_artefact(made / ENCODER, fitted.network, fitted.codebook, fitted.personas, {"metrics": fitted.metrics})
    folders = _simulators(made, events, bench, say)
    untyped = {name: path for name, path in folders.items() if not RECIPES[name].typed}
    return Casting(made / ENCODER, folders[PERSONA], untyped, folders[EARLIER], tuple(events), dials.session_max_events)


def generated(path: Path, run: GeneratorRun, say: Callable[[str], None]) -> Path:
    """Return ``path``, an event log with its sidecars, which is generated when it is not there."""
    if not path.exists():
        say(f"generating {run.merchants} merchants")
        generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return path


def _simulators(made: Path, events: Sequence[Path], bench: AlignBench, say: Callable[[str], None]) -> dict[str, Path]:
    folders = {name: made / name for name in RECIPES}
    missing = [name for name, folder in folders.items() if not (folder / MANIFEST_FILE).exists()]
    if missing:
        say(f"training simulators: {', '.join(missing)}")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(bench.processes, len(missing)), context) as pool:
            running = {pool.submit(_train, made, name, events, bench): name for name in missing}
            for future in as_completed(running):
                figures = future.result()
                say(
                    f"trained {running[future]}: {figures['parameters']:,.0f} parameters, "
                    f"{figures['held_out_nats_per_session']:.2f} nats a held-out session"
                )
    return folders


def _train(made: Path, name: str, events: Sequence[Path], bench: AlignBench) -> dict[str, float]:
    torch.set_num_threads(1)
    dials, encoder = settings(), Encoder.load(made / ENCODER)
    recorded = record(read_sessions(events, dials.gap_ms, dials.session_max_events), encoder)
    shops = {shop.merchant_id: shop for shop in observe_shops(events, dials.gap_ms)}
    words = Vocabulary(encoder.version, tuple(encoder.code_paths))
    options = FinetuneOptions(epochs=bench.epochs, seed=bench.seed)
    device = torch.device(bench.device)
    return dict(train_simulator(made / name, RECIPES[name], recorded, shops, words, options, device))


def report_of(table: AlignmentTable, storefronts: int, sessions: int) -> Report:
    """Return every mean, with its interval, and the shares of the floor; the persona's own figures bear no suffix."""
    report = Report()
    report.add("held_out_storefronts", float(storefronts), "storefronts")
    report.add("future_sessions", float(sessions), "sessions")
    for condition in table.conditions():
        for measure in table.measures(condition):
            name = measure if condition == PERSONA else f"{measure}_{condition}"
            unit = "nats" if "js" in measure or "nats" in measure else "of mean" if "w1" in measure else "0 to 1"
            report.estimate(name, table.mean(condition, measure), unit)
    for measure in ("ara_g", "ara_s", "ara_t", "ara_events", "conversion", "depth_w1", "dwell_w1"):
        report.compare(measure, f"{measure}_floor")
    return report
