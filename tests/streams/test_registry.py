"""The registry is asked once per schema id, and its absence is told apart from its "no"."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from schemas.packaged import CLICK_EVENT_ID, packaged_schema
from streams.broker.registry import UNKNOWN_FOR_S, SchemaRegistry
from streams.errors import RetryLater

pytestmark = pytest.mark.fast


class _Registry(BaseHTTPRequestHandler):
    asked: list[str]
    answers: dict[str, bytes]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        body = self.answers.get(self.path.rpartition("/")[2])
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b'{"error_code": 40403}')

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def registry() -> Iterator[tuple[str, list[str]]]:
    _Registry.asked = []
    _Registry.answers = {
        "7": json.dumps({"schema": json.dumps(packaged_schema(CLICK_EVENT_ID))}).encode(),
        "70": json.dumps({"schema": "message Click {}", "schemaType": "PROTOBUF"}).encode(),
        "72": b"<html>Sign in</html>",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", _Registry.asked
    server.shutdown()
    server.server_close()


def test_a_known_id_gives_its_schema_and_is_asked_for_once(registry: tuple[str, list[str]]) -> None:
    url, asked = registry
    client = SchemaRegistry(url)
    assert client.schema(7) == packaged_schema(CLICK_EVENT_ID)
    assert client.schema(7) == packaged_schema(CLICK_EVENT_ID)
    assert asked == ["/schemas/ids/7"]
    client.close()


@pytest.mark.parametrize("schema_id", [8, 70], ids=["unknown", "protobuf"])
def test_an_id_without_an_avro_schema_is_none(registry: tuple[str, list[str]], schema_id: int) -> None:
    client = SchemaRegistry(registry[0])
    assert client.schema(schema_id) is None
    client.close()


def test_an_unknown_id_is_asked_for_again_after_a_while(registry: tuple[str, list[str]]) -> None:
    url, asked = registry
    now_s = 100.0
    client = SchemaRegistry(url, clock_s=lambda: now_s)
    assert [client.schema(8), client.schema(8)] == [None, None]
    assert len(asked) == 1, "not for every record"
    _Registry.answers["8"] = _Registry.answers["7"]
    now_s += UNKNOWN_FOR_S
    assert client.schema(8) == packaged_schema(CLICK_EVENT_ID)
    client.close()


@pytest.mark.parametrize("what", ["absent", "no registry"])
def test_a_registry_that_does_not_answer_asks_for_a_retry_and_never_rejects(
    registry: tuple[str, list[str]], what: str
) -> None:
    client = SchemaRegistry("http://127.0.0.1:9" if what == "absent" else registry[0])
    with pytest.raises(RetryLater, match="SIMPERSONA_SCHEMA_REGISTRY"):
        client.schema(72)
    client.close()
