"""Clicks read back from the broker make the sessions that their event log makes."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from encoders.errors import TrainingDataError
from encoders.generator.delivery import Faults
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from encoders.sessionise import SessionLog, read_sessions
from infra.cli.session_source import clicks_between
from streams.event_logs.recent_clicks import RecentClicksError, recent_sessions
from tests.integration.test_click_hop import send

GAP_MS, MOST = 1_800_000, 512
HOUR_MS = 3_600_000


def sessions(log: SessionLog) -> dict[tuple[str, int, int], bytes]:
    """Return merchant, buyer and start of every session → its events."""
    batch = log.batch()
    parts = np.split(batch.events, batch.offsets[1:-1])
    names = [log.merchants[merchant] for merchant in log.merchant]
    return {
        (name, int(key), int(part["t"][0])): part.tobytes()
        for name, key, part in zip(names, log.key, parts, strict=True)
    }


def test_clicks_of_the_last_hours_make_the_sessions_of_their_log(kafka: str, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    run = GeneratorRun(
        merchants=3, buyers=60, hours=10.0, seed=3, start_ms=1_788_000_000_000, first_merchant=0, drift=False,
        bots=0.02, malformed=0.01, overlap=OVERLAP, faults=Faults(delayed=0.15, late=0.01, duplicated=0.03),
    )  # fmt: skip
    generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    before_ms = time.time_ns() // 1_000_000
    with pytest.raises(RecentClicksError, match=r"has no topic clicks.raw; run `simpersona migrate`"):
        asyncio.run(recent_sessions(kafka, 0, GAP_MS, MOST))
    send(kafka, path, close_ms=HOUR_MS)
    told: list[int] = []
    found = asyncio.run(recent_sessions(kafka, before_ms - HOUR_MS, GAP_MS, MOST, progress=told.append))
    assert sessions(found) == sessions(read_sessions([path], GAP_MS, MOST))
    assert sum(told) >= int(found.lengths.sum())
    assert sessions(clicks_between(kafka, timedelta(hours=1), None, told.append)) == sessions(found)
    with pytest.raises(TrainingDataError, match="no usable click of that time"):
        clicks_between(kafka, None, timedelta(hours=1), told.append)
    with pytest.raises(TrainingDataError, match="no usable click of that time; reach further back"):
        asyncio.run(recent_sessions(kafka, before_ms + HOUR_MS, GAP_MS, MOST))
    with pytest.raises(TrainingDataError, match="no usable click of that time; reach further back"):
        asyncio.run(recent_sessions(kafka, 0, GAP_MS, MOST, until_ms=before_ms))
