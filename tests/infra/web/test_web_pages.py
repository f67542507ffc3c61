"""The web pages over a real broker and a real store: clicks go in over HTTP, the dashboard's questions are answered."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer
from starlette.testclient import TestClient

from infra.web.app import build_web
from infra.web.gateway import Gateway
from schemas.click_codec import decode_click
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.broker.topology import ensure_topics

CLICK: dict[str, Any] = {
    "event_id": "e-1",
    "merchant_id": "north",
    "client_id": "browser-1",
    "event_name": "Product Viewed",
    "occurred_at": 1_788_000_000_000,
    "product_id": "p-1",
    "price_minor": 4990,
}


@pytest.fixture
def web(kafka: str, clickhouse: str) -> Iterator[TestClient]:
    asyncio.run(ensure_topics(kafka, 2, 1))
    with TestClient(build_web(Settings(kafka=kafka, clickhouse=clickhouse))) as client:
        yield client


def test_a_click_over_http_reaches_the_topic_with_its_canonical_name_and_a_pseudonym(
    web: TestClient, kafka: str
) -> None:
    answer = web.post("/collect", json=CLICK)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    consumer = KafkaConsumer(
        CLICKS_RAW, bootstrap_servers=kafka, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    record = next(iter(consumer))
    consumer.close()
    click = decode_click(record.value)
    assert click["event_name"] == "product_viewed" and click["price_minor"] == 4990
    assert click["client_id"] != "browser-1" and len(str(click["client_id"])) == 32
    assert record.key == f"north|{click['client_id']}".encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({**CLICK, "event_id": ""}, "Field event_id is missing."),
        ({**CLICK, "event_name": "danced"}, "Event 'danced' is in no known vocabulary."),
        ("click", "An event must be a JSON object."),
    ],
)
def test_an_unusable_click_is_answered_with_its_reason(web: TestClient, body: Any, reason: str) -> None:
    answer = web.post("/collect", json=body)
    assert answer.status_code == 400
    assert answer.json() == {"accepted": 0, "rejected": [{"position": 0, "reason": reason}]}


def test_a_good_click_beside_a_bad_one_is_kept(web: TestClient) -> None:
    answer = web.post("/collect", json=[CLICK, {}])
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1 and answer.json()["rejected"][0]["position"] == 1


def test_a_body_that_is_no_json_is_refused(web: TestClient) -> None:
    assert web.post("/collect", content=b"{").status_code == 400


def test_pseudonyms_differ_between_merchants_and_stay_for_one() -> None:
    gateway = Gateway("127.0.0.1:9", "secret")
    assert gateway.pseudonym("north", "c") == gateway.pseudonym("north", "c")
    assert gateway.pseudonym("north", "c") != gateway.pseudonym("south", "c")


def test_an_empty_system_answers_every_question_of_the_dashboard(web: TestClient) -> None:
    overview = web.get("/api/overview").json()
    assert overview["merchants"] == [] and overview["totals"]["final_sessions"] == 0
    assert overview["progress"]["lag"] == 0
    assert web.get("/api/merchant/nobody").json()["mix"] == []
    assert "simpersona-stream" in web.get("/").text


def test_a_window_that_is_none_is_named(web: TestClient) -> None:
    answer = web.get("/api/merchant/north?window=2h")
    assert answer.status_code == 400 and "'2h' is none of 1m, 5m, 1h, 1d" in answer.json()["error"]


def test_an_absent_store_is_one_sentence_and_no_crash(kafka: str) -> None:
    with TestClient(build_web(Settings(kafka=kafka, clickhouse="http://default@127.0.0.1:9/simpersona"))) as client:
        answer = client.get("/api/overview")
    assert answer.status_code == 503 and "does not answer" in answer.json()["error"]
