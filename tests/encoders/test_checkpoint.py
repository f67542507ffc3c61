"""An interrupted training goes on where it was, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.checkpoint import SESSIONS_FILE, STATE_FILE, Checkpoint
from encoders.errors import CheckpointError, TrainingDataError
from encoders.fitting import fingerprint
from encoders.model import Shape
from encoders.sessionise import SessionLog
from encoders.training import EpochReport, TrainedEncoder, TrainingOptions, split_held_out, train

OPTIONS = TrainingOptions(Shape(width=8, hidden=8, coarse=4, fine=2), epochs=4, batch=64)
ASKED = {"seed": 0, "epochs": 4}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def log(populate: Callable[[int, int, int], Any]) -> SessionLog:
    sessions: SessionLog = populate(6, 40, 2).log
    return sessions


@pytest.fixture(scope="module")
def uninterrupted(log: SessionLog) -> TrainedEncoder:
    return train(*split_held_out(log, 0), OPTIONS, CPU)


def _bytes(trained: TrainedEncoder) -> dict[str, bytes]:
    weights = {**trained.encoder.state_dict(), **trained.quantiser.state_dict()}
    return {name: value.numpy().tobytes() for name, value in weights.items()}


@pytest.mark.parametrize("epochs", [1, 2, 4], ids=["before quantising", "while quantising", "before the end"])
def test_an_interrupted_training_ends_as_if_nothing_had_been(
    epochs: int, log: SessionLog, uninterrupted: TrainedEncoder, tmp_path: Path
) -> None:
    def interrupt(done: int, planned: int, report: EpochReport | None) -> None:
        if report is not None and report.epoch + 1 == epochs:
            raise KeyboardInterrupt

    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
        with pytest.raises(KeyboardInterrupt):
            train(*split_held_out(log, 0), OPTIONS, CPU, interrupt, checkpoint)
    told: list[int] = []
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.require_same(ASKED)
        again = train(
            *split_held_out(checkpoint.sessions(), 0), OPTIONS, CPU,
            lambda done, planned, report: told.append(done) if report is not None else None, checkpoint,
        )  # fmt: skip
    assert _bytes(again) == _bytes(uninterrupted)
    assert again.history == uninterrupted.history
    assert len(told) == OPTIONS.epochs - epochs, "only what was left was trained"


def test_a_training_that_early_stopping_ended_does_not_go_on(log: SessionLog, tmp_path: Path) -> None:
    # The network all but stands still, so that an epoch without a gain comes soon.
    options = TrainingOptions(OPTIONS.shape, epochs=30, batch=64, learning_rate=1e-12, patience=1, warmup_share=0.0)
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
        first = train(*split_held_out(log, 0), options, CPU, checkpoint=checkpoint)
        again = train(*split_held_out(log, 0), options, CPU, checkpoint=checkpoint)
    assert len(first.history) < options.epochs
    assert again.history == first.history
    assert _bytes(again) == _bytes(first)


@pytest.mark.fast
def test_kept_sessions_are_the_same_sessions(log: SessionLog, tmp_path: Path) -> None:
    some = log.select(np.arange(0, len(log), 3))
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, some)
        kept = checkpoint.sessions()
    assert fingerprint(kept) == fingerprint(some)
    assert kept.merchants == some.merchants
    assert kept.merchant.tolist() == some.merchant.tolist()


@pytest.mark.fast
def test_another_wish_than_the_interrupted_one_is_named(log: SessionLog, tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
        with pytest.raises(CheckpointError, match=r"interrupted training with other epochs \(4, now 9\); repeat its"):
            checkpoint.require_same({"seed": 0, "epochs": 9})
        checkpoint.forget()
        assert not checkpoint.holds_sessions


@pytest.mark.fast
@pytest.mark.parametrize("name", [SESSIONS_FILE, STATE_FILE])
def test_a_damaged_checkpoint_is_one_sentence(name: str, log: SessionLog, tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
        checkpoint.save({"history": []})
        path = checkpoint.folder / name
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(CheckpointError, match=r"damaged .*; give --restart to begin anew"):
            checkpoint.sessions() if name == SESSIONS_FILE else checkpoint.state()


@pytest.mark.fast
def test_one_training_at_a_time_and_no_other_files(tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "encoder"):
        with pytest.raises(CheckpointError, match="another training is at work"), Checkpoint(tmp_path / "encoder"):
            pass
        assert (tmp_path / "encoder.checkpoint").exists()
    assert list(tmp_path.iterdir()) == [], "nothing was begun, nothing is left"
    diary = tmp_path / "encoder.checkpoint" / "diary.txt"
    diary.parent.mkdir()
    diary.write_text("dear diary")
    with pytest.raises(CheckpointError, match=r"holds diary.txt"), Checkpoint(tmp_path / "encoder"):
        pass
    assert diary.read_text() == "dear diary"


def test_sessions_that_cannot_be_trained_on_are_not_kept(log: SessionLog, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError), Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
        train(*split_held_out(log.limit(3, 0), 0), OPTIONS, CPU)
    assert list(tmp_path.iterdir()) == []


def test_another_command_takes_nothing_from_an_interrupted_training(log: SessionLog, tmp_path: Path) -> None:
    with Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.begin(ASKED, log)
    with pytest.raises(CheckpointError), Checkpoint(tmp_path / "encoder") as checkpoint:
        checkpoint.require_same({**ASKED, "seed": 1})
    assert Checkpoint(tmp_path / "encoder").holds_sessions
