"""The registry is asked once per schema id, and its absence is told apart from its "no"."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from schemas.packaged import CLICK_EVENT_ID, packaged_schema
from streams.errors import RetryLater
from streams.registry import SchemaRegistry

pytestmark = pytest.mark.fast


class _Registry(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        known = self.path == "/schemas/ids/7"
        body = {"schema": json.dumps(packaged_schema(CLICK_EVENT_ID))} if known else {"error_code": 40403}
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def registry() -> Iterator[tuple[str, list[str]]]:
    _Registry.asked = []
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


def test_an_unknown_id_is_none(registry: tuple[str, list[str]]) -> None:
    client = SchemaRegistry(registry[0])
    assert client.schema(8) is None
    client.close()


def test_an_absent_registry_asks_for_a_retry_and_never_rejects() -> None:
    client = SchemaRegistry("http://127.0.0.1:9")
    with pytest.raises(RetryLater, match="SIMPERSONA_SCHEMA_REGISTRY"):
        client.schema(7)
    client.close()
