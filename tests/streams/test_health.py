"""The health page: which word a worker's condition deserves, and what comes over HTTP."""

import asyncio

import httpx
import pytest

from streams.health import NOT_PROGRESSING, OK, STARTING, STUCK_AFTER_MS, WAITING_FOR_STORE, Condition, HealthPage
from streams.metrics import Metrics

pytestmark = pytest.mark.fast

WELL = {"partitions": 4, "joined": True, "outstanding": 0, "lag": 0, "quiet_ms": 10, "store_away": False}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"joined": False, "partitions": 0}, STARTING),
        ({"partitions": 0}, OK),  # more workers than partitions: nothing to do is no fault
        ({"outstanding": 3, "quiet_ms": STUCK_AFTER_MS - 1}, OK),
        ({"outstanding": 3, "quiet_ms": STUCK_AFTER_MS}, NOT_PROGRESSING),
        ({"lag": 1, "quiet_ms": STUCK_AFTER_MS}, NOT_PROGRESSING),
        ({"quiet_ms": 100 * STUCK_AFTER_MS}, OK),
        ({"outstanding": 3, "quiet_ms": STUCK_AFTER_MS, "store_away": True}, WAITING_FOR_STORE),
    ],
)
def test_a_condition_has_one_word(change: dict[str, int | bool], status: str) -> None:
    assert Condition(**{**WELL, **change}).status == status


def answer(condition: Condition, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        metrics = Metrics()
        metrics.rejected.labels("late").inc(3)
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
        "partitions": 4,
        "outstanding_chunks": 0,
        "lag_records": 0,
        "quiet_ms": 10,
    }


def test_a_worker_that_is_stuck_answers_503() -> None:
    response = answer(Condition(**{**WELL, "outstanding": 1, "quiet_ms": STUCK_AFTER_MS}), "/health")
    assert response.status_code == 503
    assert response.json()["status"] == "not progressing"


def test_prometheus_reads_the_counters() -> None:
    text = answer(Condition(**WELL), "/metrics").text
    assert 'simpersona_rejected_events_total{reason="late"} 3.0' in text.splitlines()
    assert "simpersona_progressing 1.0" in text.splitlines()


def test_another_path_is_not_found() -> None:
    assert answer(Condition(**WELL), "/").status_code == 404
