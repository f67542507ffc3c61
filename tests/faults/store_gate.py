"""A gate in front of the real store that injects faults: slow inserts, refused ones, answers that get lost."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread, get_ident
from urllib.parse import parse_qs, urlsplit

from infra.stack.ports import LOOPBACK

UPSTREAM_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to every insert.

    delay_s      it reaches the store that much later
    code         ClickHouse answers with this error instead; 0 for none
    lost_answer  it is carried out and the connection cut before the answer
    """

    delay_s: float = 0.0
    code: int = 0
    lost_answer: bool = False


class StoreGate:
    """Passes ClickHouse's HTTP interface on to a store; ``fault`` may be set at any time."""

    def __init__(self, store_url: str) -> None:
        """Listen on a free port, in a thread of its own."""
        parts = urlsplit(store_url)
        self.fault = Fault()
        #: Inserts that met a fault.
        self.met = 0
        #: Threads of requests that are not answered yet.
        self.under_way: set[int] = set()
        #: Set when the fault is over; requests that are held back then go on.
        self.over = Event()
        gate = self

        class Handler(_Handler):
            store = f"{parts.hostname}:{parts.port}"

            def fault(self) -> Fault:
                gate.met += gate.fault != Fault()
                return gate.fault

            def do_POST(self) -> None:
                gate.under_way.add(get_ident())
                super().do_POST()
                gate.under_way.discard(get_ident())

            def wait(self, seconds: float) -> None:
                gate.over.wait(seconds)

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.url = store_url.replace(Handler.store, f"{LOOPBACK}:{self._server.server_port}")
        Thread(target=self._server.serve_forever, daemon=True).start()

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """Inserts meet the fault within the block; those held back at its end are carried out then."""
        self.over.clear()
        self.fault = fault
        try:
            yield
        finally:
            self.fault = Fault()
            self.over.set()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = ""

    def fault(self) -> Fault:
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _answer(self, body: bytes) -> None:
        fault = self.fault() if self._inserts(body) else Fault()
        self.wait(fault.delay_s)
        if fault.code:
            self._send(500, {"X-ClickHouse-Exception-Code": str(fault.code)}, _message(fault.code))
            return
        store = http.client.HTTPConnection(self.store, timeout=UPSTREAM_TIMEOUT_S)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_HOP}
        store.request(self.command, self.path, body, headers | {"Host": self.store})
        answer = store.getresponse()
        content = answer.read()
        store.close()
        if fault.lost_answer:
            self.close_connection = True
        else:
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_HOP}
            self._send(answer.status, kept, content)

    def _inserts(self, body: bytes) -> bool:
        query = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
        return (query or body[:64].decode("latin-1")).lstrip().upper().startswith("INSERT")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # a worker that was killed while it waited; there is nobody to tell

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the tests look at what comes of it."""


#: Headers that belong to one connection, or that the gate writes itself.
_OF_THE_HOP = frozenset({"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"})


def _message(code: int) -> bytes:
    return f"Code: {code}. DB::Exception: refused by the fault test. (FAULT)\n".encode()
