"""A click topic as benchmarks fill it, from a small generated log."""

from pathlib import Path

import pytest

from bench.backlog import make_log

EVENTS = 6_000


@pytest.fixture(scope="session")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of some six thousand events."""
    path = tmp_path_factory.mktemp("bench") / "backlog.parquet"
    make_log(path, EVENTS, seed=3)
    return path
