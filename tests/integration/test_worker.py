"""A worker's start: what it refuses in one sentence, and what it must not carry with it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.stack.ports import LOOPBACK, free_port


def worker(**settings: object) -> subprocess.CompletedProcess[str]:
    environment = {f"SIMPERSONA_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "streams"],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    return line


def test_a_worker_without_a_broker_says_so(untrained_encoder: Path) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    done = worker(encoder=untrained_encoder, kafka=address)
    assert sentence(done) == (f"error: No Kafka broker answers at {address}; start one or correct SIMPERSONA_KAFKA.")
    assert done.stderr.count("\n") == 1, "the client's own complaints are left out"


def test_a_worker_without_a_store_says_so(untrained_encoder: Path, kafka: str) -> None:
    port = free_port()
    done = worker(encoder=untrained_encoder, kafka=kafka, clickhouse=f"http://default@{LOOPBACK}:{port}/simpersona")
    assert f"ClickHouse at {LOOPBACK}:{port}/simpersona does not answer" in sentence(done)
    assert done.stderr.count("\n") == 1, "each failed try is left out"


def test_a_worker_with_an_altered_encoder_says_so(untrained_encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(untrained_encoder, folder)
    (folder / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes() + b"\x00")
    assert "hash differs from the manifest's" in sentence(worker(encoder=folder))


def test_a_worker_whose_health_port_is_taken_says_so(untrained_encoder: Path, kafka: str, clickhouse: str) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = worker(encoder=untrained_encoder, kafka=kafka, clickhouse=clickhouse, health_port=port)
    assert sentence(done) == f"error: Port {port} for the health page is taken; free it or set SIMPERSONA_HEALTH_PORT."


def test_a_setting_of_the_wrong_type_is_named() -> None:
    assert "SIMPERSONA_PARTITIONS" in sentence(worker(partitions="many"))


@pytest.mark.fast
def test_a_worker_loads_no_torch_and_nothing_else_that_is_large() -> None:
    large = {"torch", "transformers", "pandas", "sklearn", "matplotlib"}
    code = f"import sys, streams.worker; print(sorted({large} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
