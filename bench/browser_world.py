"""The merchants and simulators of ``bench browser``: some to learn from, others whose pages are walked through.

What is made is kept in the folder and not made again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from agent_runtime.simulators.finetune import FinetuneOptions
from agent_runtime.simulators.simulator import MANIFEST_FILE, Simulator, load_simulator
from agent_runtime.simulators.training import Recipe, train_simulator
from agent_runtime.storefront.shop import Shop, observe_shops, write_shops
from agent_runtime.traces.held_out import Recorded, record
from agent_runtime.vocabulary import Vocabulary
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


@dataclass(frozen=True, slots=True)
class BrowserWorldPlan:
    """How much to generate and train. ``held_out`` storefronts are walked through."""

    merchants: int = 16
    held_out: int = 4
    buyers: int = 200
    hours: float = 96.0
    encoder_epochs: int = 6
    world_seed: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BrowserWorld:
    """Real sessions at the held-out storefronts, the storefronts, their catalogue, and four simulators.

    simulators  by (with persona tokens, with storefront flags)
    """

    real: Recorded
    shops: dict[str, Shop]
    catalogue: Path
    storefronts: Path
    simulators: dict[tuple[bool, bool], Simulator]


def make_browser_world(folder: Path, plan: BrowserWorldPlan, say: Callable[[str], None]) -> BrowserWorld:
    """Return the world, made below ``folder`` where it is not there yet.

    Raises GeneratorError, TrainingDataError or TraceError on sizes that make no sense.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dials = settings()
    training, held = (
        _events(folder, plan, 0, plan.merchants, say),
        _events(folder, plan, FIRST_HELD_OUT, plan.held_out, say),
    )
    made = folder / (
        f"trained-{plan.merchants}x{plan.buyers}-{plan.hours:g}h-world-{plan.world_seed}-seed-{plan.seed}"
        f"-{plan.encoder_epochs}"
    )
    encoder = _encoder(made / "encoder", training, plan, say)
    simulators = _simulators(made, training, encoder, plan, say)
    real = record(read_sessions([held], dials.gap_ms, dials.session_max_events), encoder)
    shops = observe_shops([held], dials.gap_ms)
    storefronts = held.with_suffix(".shops.jsonl")
    write_shops(storefronts, shops)
    return BrowserWorld(
        real,
        {shop.merchant_id: shop for shop in shops},
        held.with_suffix(".catalogue.parquet"),
        storefronts,
        simulators,
    )


def _events(folder: Path, plan: BrowserWorldPlan, first: int, merchants: int, say: Callable[[str], None]) -> Path:
    path = folder / f"merchants-{first}-{merchants}x{plan.buyers}-{plan.hours:g}h-world-{plan.world_seed}.parquet"
    if not path.exists():
        say(f"generating {merchants} merchants")
        run = GeneratorRun(
            merchants, plan.buyers, plan.hours, plan.world_seed, START_MS, first, drift=first < FIRST_HELD_OUT
        )
        generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return path


def _encoder(folder: Path, events: Path, plan: BrowserWorldPlan, say: Callable[[str], None]) -> Encoder:
    if not (folder / ENCODER_MANIFEST).exists():
        say("training the encoder")
        dials = settings()
        training, held_out = split_held_out(read_sessions([events], dials.gap_ms, dials.session_max_events), plan.seed)
        options = TrainingOptions(epochs=plan.encoder_epochs, seed=plan.seed)
        fitted = finish(train(training, held_out, options, torch.device("cpu")), training, held_out)
        write_artefact(folder, fitted.network, fitted.codebook, fitted.personas, {"metrics": fitted.metrics})
    return Encoder.load(folder)


def _simulators(
    made: Path, events: Path, encoder: Encoder, plan: BrowserWorldPlan, say: Callable[[str], None]
) -> dict[tuple[bool, bool], Simulator]:
    torch.set_num_threads(1)
    dials = settings()
    recorded: Recorded | None = None
    simulators = {}
    for typed in (True, False):
        for flags in (True, False):
            name = f"{'persona' if typed else 'untyped'}{'-flags' if flags else ''}"
            if not (made / name / MANIFEST_FILE).exists():
                say(f"training {name}")
                if recorded is None:
                    recorded = record(read_sessions([events], dials.gap_ms, dials.session_max_events), encoder)
                shops = {shop.merchant_id: shop for shop in observe_shops([events], dials.gap_ms)}
                words = Vocabulary(encoder.version, tuple(encoder.code_paths))
                options = FinetuneOptions(seed=plan.seed)
                recipe = Recipe(typed=typed, flags=flags)
                train_simulator(made / name, recipe, recorded, shops, words, options, torch.device("cpu"))
            simulators[typed, flags] = load_simulator(made / name)
    return simulators
