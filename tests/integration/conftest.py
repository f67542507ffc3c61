"""Workers as processes of their own, and an encoder that was never trained."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.untrained import write_untrained
from tests.worker_process import WORKER, Worker, until


class StartWorker(Protocol):
    def __call__(self, kafka: str, clickhouse: str, program: Sequence[str] = WORKER, **settings: object) -> Worker: ...


@pytest.fixture(scope="session")
def untrained_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder with random weights."""
    return write_untrained(tmp_path_factory.mktemp("encoder") / "untrained", seed=0)


@pytest.fixture
def start_worker(untrained_encoder: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; those still running at the end of the test are killed."""
    started: list[Worker] = []

    def start(kafka: str, clickhouse: str, program: Sequence[str] = WORKER, **settings: object) -> Worker:
        chosen = {"kafka": kafka, "clickhouse": clickhouse, "encoder": untrained_encoder, "commit_interval_ms": 200}
        started.append(Worker.start(tmp_path / f"worker-{len(started)}.log", {**chosen, **settings}, program))
        return started[-1]

    yield start
    for worker in started:
        if worker.running:
            worker.kill()


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition with a deadline."""
    return until
