"""Two sets of generated merchants with planted buyer types: one to train on, one that training never sees."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.batches import outcomes
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from encoders.sessionise import SessionLog, read_sessions
from encoders.truth import planted_types, read_truth
from schemas.events import I64
from schemas.settings import settings

#: A Monday, 2026-09-07.
START_MS = 1_788_739_200_000
#: Number of the first merchant that is not trained on; no training set reaches so far.
FIRST_UNSEEN = 10_000


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """How much to generate.

    merchants, unseen_merchants  to train on, and held out
    buyers, unseen_buyers        of each of them
    hours    of traffic
    overlap  difficulty dial in [0, 1], see ``encoders.generator.buyer_types.habits``
    seed     of the world
    """

    merchants: int = 60
    unseen_merchants: int = 42
    buyers: int = 300
    unseen_buyers: int = 200
    hours: float = 168.0
    overlap: float = OVERLAP
    seed: int = 5


@dataclass(frozen=True, slots=True)
class Part:
    """Sessions of one set of merchants and their planted types (n,), -1 where the truth knows none."""

    log: SessionLog
    types: I64

    @property
    def converted(self) -> npt.NDArray[np.bool_]:
        """Whether each session bought, (n,)."""
        return outcomes(self.log)[1]

    def known(self) -> "Part":
        """Return only the sessions whose planted type is known."""
        rows = self.types >= 0
        return Part(self.log.select(rows), self.types[rows])

    def at_least(self, events: int) -> "Part":
        """Return only the sessions of so many events or more."""
        rows = self.log.lengths >= events
        return Part(self.log.select(rows), self.types[rows])


@dataclass(frozen=True, slots=True)
class World:
    """What the encoder may train on, and the merchants it is asked about (known types only)."""

    training: Part
    unseen: Part


def make_world(folder: Path, plan: WorldPlan, say: Callable[[str], None]) -> World:
    """Return the two sets of merchants, generated below ``folder`` unless they lie there already.

    Files are named by all that decides them, so a folder may be used again with other sizes. Raises GeneratorError on
    sizes that make no sense.
    """
    folder.mkdir(parents=True, exist_ok=True)
    training = _part(folder, plan, 0, plan.merchants, plan.buyers, say)
    unseen = _part(folder, plan, FIRST_UNSEEN, plan.unseen_merchants, plan.unseen_buyers, say)
    return World(training, unseen.known())


def _part(folder: Path, plan: WorldPlan, first: int, merchants: int, buyers: int, say: Callable[[str], None]) -> Part:
    run = GeneratorRun(merchants, buyers, plan.hours, plan.seed, START_MS, first, overlap=plan.overlap)
    name = f"merchants-{first}-{merchants}x{buyers}-{plan.hours:g}h-overlap-{plan.overlap:g}-seed-{plan.seed}"
    events, truth = folder / f"{name}.parquet", folder / f"{name}.truth.parquet"
    if not (events.exists() and truth.exists()):
        say(f"generating {merchants} merchants")
        generate(run, events, truth, lambda done, total: None)
    say(f"reading {merchants} merchants")
    dials = settings()
    log = read_sessions([events], dials.gap_ms, dials.session_max_events)
    return Part(log, planted_types(read_truth(truth), log))
