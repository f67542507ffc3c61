"""Clicks go in over HTTP: what is taken, and what is refused with which sentence."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kafka import KafkaConsumer
from starlette.testclient import TestClient

from infra.stack.web import WebPages
from infra.web.gateway import MAX_BODY_BYTES, Gateway
from schemas.click_codec import decode_click
from schemas.topics import CLICKS_RAW

CLICK: dict[str, Any] = {
    "event_id": "e-1",
    "merchant_id": "north",
    "client_id": "browser-1",
    "event_name": "Product Viewed",
    "occurred_at": 1_788_000_000_000,
    "product_id": "p-1",
    "price_minor": 4990,
}


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


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff", b"[" * 200_000, b'{"a":' * 100_000],
    ids=["half", "none", "no UTF-8", "nested lists", "nested objects"],
)
def test_a_body_that_is_no_json_is_refused(web: TestClient, body: bytes) -> None:
    answer = web.post("/collect", content=body)
    assert answer.status_code == 400 and answer.json()["error"].startswith("The body is not JSON: ")


def test_an_event_too_large_for_the_broker_is_refused_for_good_and_the_others_are_kept(web: TestClient) -> None:
    large = {**CLICK, "merchant_id": "m" * 600_000}
    rejected = {"position": 1, "reason": "The event is larger than the broker takes."}
    answer = web.post("/collect", json=[CLICK, large, {}])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert answer.json()["rejected"] == [rejected, {"position": 2, "reason": "Field event_id is missing."}]
    answer = web.post("/collect", json=large)
    assert (answer.status_code, answer.json()) == (413, {"accepted": 0, "rejected": [{**rejected, "position": 0}]})


@pytest.fixture
def pages(kafka: str, tmp_path: Path) -> Iterator[WebPages]:
    """The web pages as a process, heard over a real connection."""
    pages = WebPages.start(tmp_path / "web.log", {"SIMPERSONA_KAFKA": kafka})
    try:
        pages.wait_ready()
        yield pages
    finally:
        pages.child.stop()


def test_a_body_that_is_too_long_is_refused_before_it_has_come(pages: WebPages) -> None:
    address = urlsplit(pages.base).netloc
    for headers, begin in (
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, b""),
        ({"Transfer-Encoding": "chunked"}, b"%x\r\n%b\r\n" % (MAX_BODY_BYTES + 1, b" " * (MAX_BODY_BYTES + 1))),
    ):
        connection = HTTPConnection(address, timeout=30)
        connection.putrequest("POST", "/collect")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(begin)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"] == f"The body is over {MAX_BODY_BYTES} bytes; send fewer events."
        connection.close()


def test_a_client_that_hangs_up_leaves_no_traceback(pages: WebPages) -> None:
    address = urlsplit(pages.base)
    with socket.create_connection((address.hostname or "", address.port or 0)) as client:
        client.sendall(b"POST /collect HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n[")
    pages.wait_ready()
    pages.child.stop()
    assert "Traceback" not in pages.child.spec.log.read_text()


def test_pseudonyms_differ_between_merchants_and_stay_for_one() -> None:
    gateway = Gateway("127.0.0.1:9", "secret")
    assert gateway.pseudonym("north", "c") == gateway.pseudonym("north", "c")
    assert gateway.pseudonym("north", "c") != gateway.pseudonym("south", "c")
