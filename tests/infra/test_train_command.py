import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from encoders.errors import ArtefactError, EncodersError, TrainingDataError
from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from encoders.serving import Encoder
from infra.cli.train import app


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


def test_an_unknown_device_is_one_sentence(clicks: Path, tmp_path: Path) -> None:
    failure = _failure(["--events", str(clicks), "--out", str(tmp_path / "encoder"), "--device", "abacus"])
    assert isinstance(failure, TrainingDataError)
    assert str(failure) == "--device abacus: not known; choose cpu, cuda or auto."
