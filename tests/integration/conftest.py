"""Workers as processes of their own, and an encoder that was never trained: quick, and as deterministic as any."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
import torch

from encoders.artefact import write_artefact
from encoders.codebook import Codebook
from encoders.export import to_onnx
from encoders.model import SessionEncoder, Shape
from infra.stack.ports import LOOPBACK, free_port

DEADLINE_S = 120.0
_POLL_S = 0.05


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; fail with what was waited for when it does not in time."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting for {what}"
        time.sleep(_POLL_S)


@dataclass
class Worker:
    """A worker process and its health page."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def page(self, path: str) -> str:
        """Return a page's text, "" while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            return error.read().decode()
        except (URLError, ConnectionError, TimeoutError):
            assert self.process.poll() is None, self.log.read_text()
            return ""

    @property
    def partitions(self) -> int:
        """Partitions it owns, 0 until it has joined."""
        page = self.page("/health")
        return int(json.loads(page)["partitions"]) if page else 0

    def count(self, metric: str) -> float:
        """Return a counter's sum over its labels."""
        lines = [line for line in self.page("/metrics").splitlines() if line.startswith(f"simpersona_{metric}")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "_created" not in line)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE_S)


class StartWorker(Protocol):
    def __call__(self, kafka: str, clickhouse: str, **settings: object) -> Worker: ...


@pytest.fixture(scope="session")
def untrained_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder with random weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shape = Shape(width=16, hidden=16)
    random = np.random.default_rng(0)

    def directions(*size: int) -> np.ndarray:
        vectors = random.normal(size=size).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    coarse = directions(shape.coarse, shape.type_width)
    codebook = Codebook.uncalibrated(coarse, directions(shape.coarse, shape.fine, shape.style_width))
    folder = tmp_path_factory.mktemp("encoder") / "untrained"
    write_artefact(folder, to_onnx(SessionEncoder(shape)), codebook, {"codes": [], "coarse": []}, {})
    return folder


@pytest.fixture
def start_worker(untrained_encoder: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those still running at the end of the test are killed."""
    started: list[Worker] = []

    def start(kafka: str, clickhouse: str, **settings: object) -> Worker:
        port = free_port()
        chosen: Mapping[str, object] = {
            "kafka": kafka,
            "clickhouse": clickhouse,
            "encoder": untrained_encoder,
            "health_port": port,
            "commit_interval_ms": 200,
            **settings,
        }
        environment = {f"SIMPERSONA_{name.upper()}": str(value) for name, value in chosen.items()}
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams"], env={**os.environ, **environment}, stdout=out, stderr=out
            )
        started.append(Worker(process, port, log))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition with a deadline."""
    return until
