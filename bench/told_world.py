"""A generated world of many storefronts, each under conditions of its own: its log and an encoder, made once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from encoders.artefact import MANIFEST_FILE, write_artefact
from encoders.fitting import finish
from encoders.generator.run import GeneratorRun, generate
from encoders.sessionise import read_sessions
from encoders.training import TrainingOptions, split_held_out, train
from schemas.settings import settings

#: A Monday, 2026-09-07, and the number of the first storefront that is not trained on.
START_MS, FIRST_HELD_OUT = 1_788_739_200_000, 10_000


@dataclass(frozen=True, slots=True)
class ToldWorld:
    """Its size.

    merchants, buyers    whose log teaches answers to conditions: many, because each storefront shows one set of them
    trained_merchants    how many of them also train encoder and simulators, which need sessions rather than storefronts
    encoder_epochs       passes of the encoder's training
    """

    merchants: int = 1_200
    buyers: int = 30
    trained_merchants: int = 400
    hours: float = 168.0
    world_seed: int = 5
    encoder_epochs: int = 4
    seed: int = 0

    @property
    def name(self) -> str:
        """What its files are called after: the traffic alone."""
        return f"{self.merchants}x{self.buyers}-{self.hours:g}h-world-{self.world_seed}"

    @property
    def trained(self) -> str:
        """What is made of it is called after this."""
        return f"conditions-{self.trained_merchants}-of-{self.name}-seed-{self.seed}-{self.encoder_epochs}"


def training_log(folder: Path, world: ToldWorld, say: Callable[[str], None]) -> Path:
    """Return the world's event log, generated unless it is there; its conditions lie beside it."""
    path = folder / f"conditions-{world.name}.parquet"
    if not path.exists():
        say(f"generating {world.merchants} merchants")
        run = GeneratorRun(world.merchants, world.buyers, world.hours, world.world_seed, START_MS, conditions=True)
        generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return path


def encoder_of(folder: Path, world: ToldWorld, events: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the world's encoder, trained unless it is there."""
    made = folder / world.trained / "encoder"
    if not (made / MANIFEST_FILE).exists():
        say("training the encoder")
        torch.set_num_threads(1)
        dials = settings()
        log = read_sessions([events], dials.gap_ms, dials.session_max_events)
        training, held_out = split_held_out(log.select(log.merchant < world.trained_merchants), world.seed)
        options = TrainingOptions(epochs=world.encoder_epochs, seed=world.seed)
        fitted = finish(train(training, held_out, options, torch.device("cpu")), training, held_out)
        write_artefact(made, fitted.network, fitted.codebook, fitted.personas, {"metrics": fitted.metrics})
    return made
