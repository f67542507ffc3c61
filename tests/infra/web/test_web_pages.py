"""The dashboard's questions, and the visitor's, over a real broker and a real store."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from infra.stack.broker import EmbeddedBroker
from infra.stack.clickhouse import connect
from infra.stack.migrate import migrate
from infra.stack.store import EmbeddedStore
from infra.web.app import build_web
from infra.web.readings import WINDOWS_SHOWN
from schemas.settings import Settings
from streams.broker.topology import ensure_topics
from tests.worker_process import until

MEMORY_MB = 1024
NOON = datetime(2026, 9, 7, 12, tzinfo=UTC)
#: The longest anybody should wait for an answer while the broker is away.
PATIENCE_S = 5.0
SESSION = (
    "merchant_id", "session_id", "client_id", "revision", "is_final", "superseded_by", "started_at", "ended_at",
    "events", "funnel_stratum", "code", "code_path", "confidence", "codebook_version", "source",
)  # fmt: skip


def session(merchant: str, number: int, is_final: bool, superseded_by: str = "") -> list[object]:
    events, code = (0, -1) if superseded_by else (3, 1)
    return [
        merchant, f"{number:016x}", "c", 7, is_final, superseded_by, NOON, NOON,
        events, "B", code, "c01", 0.8, "v1", "live",
    ]  # fmt: skip


def insert(clickhouse: str, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with connect(clickhouse) as client:
        client.insert(table, rows, column_names=list(columns))


def test_an_empty_system_answers_every_question_of_the_dashboard(web: TestClient) -> None:
    overview = web.get("/api/overview").json()
    assert overview["merchants"] == [] and overview["totals"]["final_sessions"] == 0
    assert overview["progress"] == {"produced": 0, "committed": 0, "lag": 0, "events_per_s": 0.0}
    assert web.get("/api/merchant?id=nobody").json()["mix"] == []
    assert "simpersona-stream" in web.get("/").text


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ("id=north&window=2h", "window='2h' is none of 1m, 5m, 1h, 1d"),
        ("window=1h", "Name a merchant: /api/merchant?id=…"),
    ],
)
def test_a_question_that_cannot_be_meant_is_told_why(web: TestClient, question: str, error: str) -> None:
    answer = web.get(f"/api/merchant?{question}")
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize("merchant", ["a/b", "100%41", "what?now", "hash#tag", "..", "Käse & Brot"])
def test_a_merchant_of_any_name_can_be_asked_for(web: TestClient, merchant: str) -> None:
    answer = web.get("/api/merchant", params={"id": merchant})
    assert (answer.status_code, answer.json()["merchant_id"]) == (200, merchant)


def test_a_merchant_is_listed_from_its_first_open_session_on(web: TestClient, clickhouse: str) -> None:
    insert(
        clickhouse,
        "session_assignments",
        SESSION,
        [
            session("old", 1, is_final=True),
            session("old", 2, is_final=False),
            session("new", 3, is_final=False),
            session("merged", 4, is_final=False, superseded_by="0" * 16),
        ],
    )
    listed = web.get("/api/overview").json()["merchants"]
    assert [(one["merchant_id"], one["sessions"], one["open"], one["buyers"]) for one in listed] == [
        ("old", 1, 1, 1),
        ("new", 0, 1, 0),
    ]
    assert listed[1]["reached_checkout"] == 0.0


def test_a_mix_over_time_is_that_of_the_newest_windows(web: TestClient, clickhouse: str) -> None:
    insert(
        clickhouse,
        "personas",
        ("codebook_version", "code", "code_path", "name", "sentence", "statistics", "share"),
        [["v1", 0, "c00", "Type 0", "A sentence.", "{}", 1.0]],
    )
    times = [NOON + n * timedelta(minutes=5) for n in range(WINDOWS_SHOWN + 3)]
    insert(
        clickhouse,
        "merchant_distributions",
        (
            "merchant_id", "window", "window_start", "codebook_version", "source", "code", "weight", "sessions",
            "total", "n_effective", "emitted_at",
        ),
        [["north", "5m", at, "v1", "live", 0, 1.0, 1, 1, 1.0, at] for at in times],
    )  # fmt: skip
    mix = web.get("/api/merchant?id=north&window=5m").json()["mix"]
    assert [row["at"] for row in mix] == [at.timestamp() * 1000 for at in times[3:]]


def test_a_number_that_json_does_not_know_is_null(web: TestClient, clickhouse: str) -> None:
    columns = ("merchant_id", "detected_at", "detector", "statistic", "threshold", "n_effective", "details")
    insert(clickhouse, "drift_events", columns, [["north", NOON, "kl", math.inf, 0.1, 1.0, '{"kl": Infinity}']])
    (drift,) = web.get("/api/overview").json()["drifts"]
    assert drift["statistic"] is None and drift["details"] == {"kl": None}


def test_an_absent_store_is_one_sentence_and_no_crash(kafka: str) -> None:
    with TestClient(build_web(Settings(kafka=kafka, clickhouse="http://default@127.0.0.1:9/simpersona"))) as client:
        answer = client.get("/api/overview")
    assert answer.status_code == 503 and answer.json()["error"].startswith("No ClickHouse can be used at 127.0.0.1:9 (")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A store of the test's own, to be stopped."""
    store = EmbeddedStore.start(tmp_path / "store", tmp_path / "store.log", MEMORY_MB)
    try:
        store.wait_ready()
        migrate(store.url())
        yield store
    finally:
        store.stop()


def test_a_store_that_goes_away_is_one_short_sentence_to_the_dashboard_and_the_visitor(
    kafka: str, store: EmbeddedStore, catalogue: Path
) -> None:
    with TestClient(build_web(Settings(kafka=kafka, clickhouse=store.url(), catalogue=catalogue))) as client:
        questions = ("/api/overview", "/api/visitor?merchant=shop-1&client=c")
        assert [client.get(question).status_code for question in questions] == [200, 200]
        store.stop()
        for question in questions:
            answer = client.get(question)
            assert answer.status_code == 503
            assert answer.json() == {"error": "The store does not answer; the page goes on once it does."}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, to be stopped."""
    broker = EmbeddedBroker.start(tmp_path / "own-broker.log", MEMORY_MB)
    try:
        broker.wait_ready()
        yield broker
    finally:
        broker.stop()


def test_a_broker_that_goes_away_is_told_within_seconds_and_keeps_no_answer_waiting(
    broker: EmbeddedBroker, clickhouse: str
) -> None:
    asyncio.run(ensure_topics(broker.bootstrap, 2, 1))
    with TestClient(build_web(Settings(kafka=broker.bootstrap, clickhouse=clickhouse))) as client:
        assert client.get("/api/overview").json()["progress"]["lag"] == 0
        broker.stop()
        longest_s, error = 0.0, ""

        def is_told() -> bool:
            nonlocal longest_s, error
            begun_s = time.monotonic()
            error = client.get("/api/overview").json()["progress"].get("error", "")
            longest_s = max(longest_s, time.monotonic() - begun_s)
            return bool(error)

        until(is_told, "the dashboard to say that the broker is away", deadline_s=2 * PATIENCE_S)
        assert error == f"The broker at {broker.bootstrap} does not answer: lag and speed are unknown."
        assert longest_s < PATIENCE_S


def test_a_broker_that_comes_back_is_read_again(broker: EmbeddedBroker, clickhouse: str, tmp_path: Path) -> None:
    port = int(broker.bootstrap.rpartition(":")[2])
    with TestClient(build_web(Settings(kafka=broker.bootstrap, clickhouse=clickhouse))) as client:

        def progress() -> dict[str, object]:
            return dict(client.get("/api/overview").json()["progress"])

        assert "has no click topics yet" in str(progress()["error"])
        broker.stop()
        until(lambda: "does not answer" in str(progress().get("error")), "the broker to be missed")
        again = EmbeddedBroker.start(tmp_path / "again.log", MEMORY_MB, port)
        try:
            again.wait_ready()
            asyncio.run(ensure_topics(again.bootstrap, 2, 1))
            until(lambda: progress().get("lag") == 0, "the broker to be read again")
        finally:
            again.stop()
