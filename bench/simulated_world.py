"""What the benchmarks of simulated buyers start from: generated merchants, an encoder and a simulator taught on some.

Made with the product's own commands, so that it is what a user would have; a folder that has it already is taken as it
is.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.errors import BenchError

#: Of what a command that failed has said, as much is told.
_LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class SimulatedWorldPlan:
    """Sizes. ``held_out`` merchants come after the ``merchants`` that encoder and simulator are taught on."""

    merchants: int = 12
    buyers: int = 300
    held_out: int = 4
    held_out_buyers: int = 1_000
    hours: float = 168.0
    encoder_epochs: int = 8
    world_seed: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SimulatedWorld:
    """Where everything lies: event logs of the merchants taught on and held out, encoder and simulator."""

    training: Path
    held_out: Path
    encoder: Path
    simulator: Path


def make_simulated_world(folder: Path, plan: SimulatedWorldPlan, say: Callable[[str], None]) -> SimulatedWorld:
    """Return the world in ``folder``, making what is missing. Raises BenchError when a command fails."""
    folder.mkdir(parents=True, exist_ok=True)
    world = SimulatedWorld(
        folder / "training.parquet", folder / "held-out.parquet", folder / "encoder", folder / "simulator"
    )
    assigned = folder / "assigned.parquet"
    made: tuple[tuple[str, int, int, Path], ...] = (
        ("merchants to learn from", 0, plan.buyers, world.training),
        ("merchants held out", plan.merchants, plan.held_out_buyers, world.held_out),
    )
    for what, first, buyers, out in made:
        count = plan.merchants if not first else plan.held_out
        if not out.is_file():
            say(f"generating {count} {what}")
            command(
                "generate", "--merchants", count, "--first-merchant", first, "--buyers", buyers, "--hours", plan.hours,
                "--seed", plan.world_seed, "--no-drift", "--out", out, "--truth", out.with_suffix(".truth.parquet"),
            )  # fmt: skip
    if not world.encoder.exists():
        say("training an encoder")
        command(
            "train", "--events", world.training, "--out", world.encoder, "--epochs", plan.encoder_epochs,
            "--seed", plan.seed,
        )  # fmt: skip
    if not world.simulator.exists():
        say("teaching a simulator")
        command("assign", "--events", world.training, "--encoder", world.encoder, "--out", assigned)
        command(
            "finetune", "--events", world.training, "--assignments", assigned, "--encoder", world.encoder,
            "--out", world.simulator, "--seed", plan.seed,
        )  # fmt: skip
    return world


def command(*arguments: object) -> str:
    """Run a ``simpersona`` command to its end and return what it printed. Raises BenchError when it fails."""
    words = [str(argument) for argument in arguments]
    done = subprocess.run([sys.executable, "-m", "infra.cli.main", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(
            f"`simpersona {' '.join(words)}` ended with code {done.returncode}: {done.stderr[-_LAST_WORDS:].strip()}"
        )
    return done.stdout
