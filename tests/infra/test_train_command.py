import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from encoders.errors import ArtefactError, CheckpointError, EncodersError, TrainingDataError
from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from encoders.serving import Encoder
from infra.cli.train import app
from tests.worker_process import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log of one merchant: product views, no cart, one session a buyer, as many real logs are."""
    random = np.random.default_rng(0)
    rows = []
    for buyer in range(600):
        time_ms = 1_700_000_000_000 + buyer * 1000
        for event in range(1 + int(random.poisson(4))):
            time_ms += int(random.exponential(20_000 if buyer % 2 else 3_000))
            rows.append(
                {
                    "event_id": f"{buyer}-{event}", "merchant_id": "shop", "client_id": f"buyer-{buyer}",
                    "event_name": "product_viewed", "occurred_at": time_ms, "received_at": time_ms,
                    "product_id": f"p{random.integers(30)}", "is_bot": False, "schema_version": 1,
                }
            )  # fmt: skip
    rows.sort(key=lambda row: row["occurred_at"])
    path = tmp_path_factory.mktemp("logs") / "clicks.parquet"
    with EventLogWriter(path) as writer:
        writer.write(pa.Table.from_pylist(rows, ARROW_SCHEMA))
    return path


def test_a_log_of_views_by_strangers_trains_an_encoder(clicks: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "encoder", tmp_path / "report.json"
    arguments = ["--events", clicks, "--out", out, "--epochs", "2", "--codes", "4", "--fine-codes", "1"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--threads", "1", "--json", str(report)])
    assert result.exit_code == 0, result.output
    assert Encoder.load(out).code_paths == ["c00", "c01", "c02", "c03"]
    written = json.loads(report.read_text())
    assert written["codebook_version"] == Encoder.load(out).version
    assert written["metrics"]["same_buyer_agreement"] is None, "nobody came twice"
    assert "buyer types" in result.output
    assert written["codebook_version"] in (out / "card.html").read_text()
    assert "| source | clicks.parquet |" in (out / "card.md").read_text()
    assert not (tmp_path / "encoder.checkpoint").exists()


def test_a_killed_training_ends_as_if_nothing_had_been(clicks: Path, tmp_path: Path) -> None:
    def arguments(name: str, *more: str) -> list[str]:
        dials = ["--epochs", "16", "--codes", "4", "--fine-codes", "2", "--patience", "16", "--device", "cpu"]
        return ["--events", str(clicks), "--out", str(tmp_path / name), *dials, *more]

    killed, checkpoint = tmp_path / "killed", tmp_path / "killed.checkpoint"
    program = [sys.executable, "-m", "infra.cli.main", "train", *arguments("killed")]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL) as training:
        until((checkpoint / "state.pt").exists, "the first epoch's state", poll_s=0.01)
        training.kill()
    assert checkpoint.is_dir() and not killed.exists(), "it was killed after its end"
    with pytest.raises(CheckpointError, match=r"with other seed \(0, now 3\)"):
        raise _failure(arguments("killed", "--seed", "3")) or AssertionError("it went on")
    result = CliRunner().invoke(app, arguments("killed"))
    assert result.exit_code == 0, result.output
    assert "going on with an interrupted training on 600 sessions" in result.output
    assert not checkpoint.exists()
    CliRunner().invoke(app, arguments("whole"))
    for name in ("codebook.npz", "encoder.onnx", "personas.json", "card.html", "card.md"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def _failure(arguments: list[str]) -> BaseException | None:
    return CliRunner().invoke(app, arguments).exception


def test_several_logs_may_follow_one_option(clicks: Path, tmp_path: Path) -> None:
    arguments = ["--events", str(clicks), str(tmp_path / "absent.parquet"), "--out", str(tmp_path / "encoder")]
    failure = _failure(arguments)
    assert isinstance(failure, EncodersError)
    assert "absent.parquet" in str(failure)


def test_a_folder_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    failure = _failure(["--events", str(tmp_path / "absent.parquet"), "--out", str(tmp_path)])
    assert isinstance(failure, ArtefactError)


def test_a_training_on_too_little_leaves_nothing_in_the_way_of_the_next(clicks: Path, tmp_path: Path) -> None:
    arguments = ["--events", str(clicks), "--out", str(tmp_path / "encoder"), "--limit-sessions", "3"]
    assert isinstance(_failure(arguments), TrainingDataError)
    assert list(tmp_path.iterdir()) == []


def test_a_truth_that_is_none_is_refused_before_anything_is_read(clicks: Path, tmp_path: Path) -> None:
    arguments = ["--events", str(tmp_path / "absent.parquet"), "--out", str(tmp_path / "encoder"), "--truth"]
    failure = _failure([*arguments, str(tmp_path / "nothing.parquet")])
    assert str(failure) == f"{tmp_path / 'nothing.parquet'}: there is no such file."
    failure = _failure([*arguments, str(clicks)])
    assert "not a truth of generated sessions, missing started_ms, ended_ms, type" in str(failure)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_device_is_one_sentence(clicks: Path, tmp_path: Path) -> None:
    failure = _failure(["--events", str(clicks), "--out", str(tmp_path / "encoder"), "--device", "abacus"])
    assert isinstance(failure, TrainingDataError)
    assert str(failure) == "--device abacus: not known; choose cpu, cuda or auto."
