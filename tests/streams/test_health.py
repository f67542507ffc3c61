"""The health page: which word a worker's condition deserves, and what comes over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from streams.broker.chunks import TopicPartition
from streams.health import NOT_PROGRESSING, OK, STARTING, WAITING_FOR_STORE, Condition, HealthPage, Progress
from streams.metrics import Metrics

pytestmark = pytest.mark.fast

CLICKS, ASSIGNED = TopicPartition("clicks.raw", 0), TopicPartition("sessions.assigned", 3)
PATIENCE_MS = 60_000
WELL: dict[str, Any] = {
    "joined": True, "outstanding": 0, "lags": {CLICKS: 0, ASSIGNED: 7}, "quiet_ms": 10, "store_away": False,
    "stuck_after_ms": PATIENCE_MS,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"joined": False, "lags": {}}, STARTING),
        ({"lags": {}}, OK),  # more workers than partitions: nothing to do is no fault
        ({"quiet_ms": PATIENCE_MS - 1}, OK),
        ({"quiet_ms": PATIENCE_MS}, NOT_PROGRESSING),
        ({"quiet_ms": PATIENCE_MS, "store_away": True}, WAITING_FOR_STORE),
        ({"quiet_ms": PATIENCE_MS, "joined": False}, STARTING),  # a large state is being restored
        ({"quiet_ms": 10 * PATIENCE_MS, "joined": False}, NOT_PROGRESSING),
    ],
)
def test_a_condition_has_one_word(change: dict[str, Any], status: str) -> None:
    assert Condition(**WELL | change).status == status


def test_a_hop_is_quiet_from_when_work_waits_and_nothing_of_it_is_finished() -> None:
    progress = Progress()
    assert progress.quiet_ms(1_000) == 0
    progress.note("clicks", waiting=False, reach=5, now_ms=1_000)
    progress.note("clicks", waiting=True, reach=5, now_ms=2_000)
    assert progress.quiet_ms(2_500) == 1_500, "work came at some time since the last note"
    progress.note("clicks", waiting=True, reach=6, now_ms=3_000)
    assert progress.quiet_ms(3_000) == 0
    progress.note("clicks", waiting=True, reach=6, now_ms=9_000)
    assert progress.quiet_ms(9_000) == 6_000
    progress.note("clicks", waiting=True, reach=0, now_ms=9_500)
    assert progress.quiet_ms(9_500) == 0, "after a rebalance it begins anew, wherever it stands"
    progress.note("clicks", waiting=False, reach=0, now_ms=9_900)
    assert progress.quiet_ms(9_900) == 0


def test_a_hop_that_works_does_not_hide_one_that_hangs() -> None:
    progress = Progress()
    for second in range(100):
        progress.note("clicks", waiting=True, reach=second, now_ms=second * 1_000)
        progress.note("assigned", waiting=True, reach=0, now_ms=second * 1_000)
    assert progress.quiet_ms(99_000) == 99_000


def answer(condition: Condition, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        metrics = Metrics()
        metrics.rejected.labels("late").inc(3)
        metrics.lag.labels("clicks.raw", 2).set(9)
        page = HealthPage(lambda: condition, metrics)
        port = await page.start(0)
        try:
            async with httpx.AsyncClient() as client:
                return await client.get(f"http://127.0.0.1:{port}{path}")
        finally:
            await page.stop()

    return asyncio.run(ask())


def test_a_worker_that_is_well_answers_200() -> None:
    response = answer(Condition(**WELL), "/health")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "partitions": 2,
        "outstanding_chunks": 0,
        "lag_records": 7,
        "quiet_ms": 10,
    }


def test_a_worker_that_is_stuck_answers_503() -> None:
    response = answer(Condition(**WELL | {"outstanding": 1, "quiet_ms": PATIENCE_MS}), "/health")
    assert response.status_code == 503
    assert response.json()["status"] == "not progressing"


def test_prometheus_reads_the_counters() -> None:
    lines = answer(Condition(**WELL | {"quiet_ms": PATIENCE_MS, "store_away": True}), "/metrics").text.splitlines()
    assert 'simpersona_rejected_events_total{reason="late"} 3.0' in lines
    assert {"simpersona_progressing 1.0", "simpersona_store_away 1.0", "simpersona_quiet_seconds 60.0"} <= set(lines)
    lags = [line for line in lines if line.startswith("simpersona_lag_records{")]
    assert lags == [
        'simpersona_lag_records{partition="0",topic="clicks.raw"} 0.0',
        'simpersona_lag_records{partition="3",topic="sessions.assigned"} 7.0',
    ], "nothing is said about partitions that belong to another worker by now"


def test_another_path_is_not_found() -> None:
    assert answer(Condition(**WELL), "/").status_code == 404
