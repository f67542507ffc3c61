"""``python -m infra.stack.store_server --folder F --port N --memory-mb M``: ClickHouse's HTTP interface over chDB.

It answers what clickhouse-connect, curl and Grafana ask of a server on port 8123: statements in the query string, the
body or a form, bound parameters, settings, compressed inserts, error numbers in X-ClickHouse-Exception-Code, /ping.
For one machine only: it listens on the loopback address, knows no passwords, lets GET and HEAD only read and refuses
requests that a web page makes.
"""

import argparse
import email
import email.policy
import json
import os
import re
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import cramjam
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra.stack.engine import DEFAULT_FORMAT, Engine, EngineError, Statement
from infra.stack.ports import LOOPBACK
from schemas.errors import SimpersonaError
from schemas.settings import settings
from streams.log_lines import configure_logging

#: Parameters that ClickHouse's HTTP handler takes for itself; every other one is a setting or, with param_, a bind.
TRANSPORT_PARAMETERS = frozenset(
    {
        "query", "database", "user", "password", "quota_key", "session_id", "session_timeout", "session_check",
        "query_id", "compress", "decompress", "buffer_size", "wait_end_of_query", "stacktrace", "role",
        "client_protocol_version", "default_format", "enable_http_compression", "send_progress_in_http_headers",
        "http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close",
    }
)  # fmt: skip
DECOMPRESS = {
    "gzip": cramjam.gzip.decompress,
    "deflate": cramjam.zlib.decompress,
    "zstd": cramjam.zstd.decompress,
    "lz4": cramjam.lz4.decompress,
    "br": cramjam.brotli.decompress,
}
BIND_PREFIX = "param_"
BAD_REQUEST_CODE, READ_ONLY_CODE = 36, 164
_OUTFILE = re.compile(rb"\boutfile\b", re.IGNORECASE)
#: ClickHouse answers most errors with 500; these say that the statement asked for something not there or not allowed.
STATUS_OF_CODE = {60: 404, 81: 404, 46: 404, 62: 400, 47: 404, READ_ONLY_CODE: 403, 516: 403, BAD_REQUEST_CODE: 400}


def statement_of(request: Request, body: bytes) -> Statement:
    """Read one HTTP request as one statement, the query string first and the body behind it, as ClickHouse does."""
    values = dict(request.query_params)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        if encoding not in DECOMPRESS:
            raise EngineError(BAD_REQUEST_CODE, f"Code: {BAD_REQUEST_CODE}. Unknown content encoding {encoding!r}.")
        try:
            body = bytes(DECOMPRESS[encoding](body))
        except cramjam.DecompressionError as error:
            raise EngineError(BAD_REQUEST_CODE, f"Code: {BAD_REQUEST_CODE}. Not {encoding}: {error}.") from error
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        values.update(form_values(request.headers["content-type"], body))
        body = b""
    query = values.get("query", "").encode()
    settings = {
        name: value
        for name, value in values.items()
        if name not in TRANSPORT_PARAMETERS and not name.startswith(BIND_PREFIX)
    }
    text = query + b"\n" + body if query and body else query or body
    if request.method in ("GET", "HEAD"):
        settings["readonly"] = "1"
        # A query that only reads may still write its answer into a file of this machine.
        if _OUTFILE.search(text):
            raise EngineError(READ_ONLY_CODE, f"Code: {READ_ONLY_CODE}. {request.method} only reads: no OUTFILE.")
    return Statement(
        text=text,
        database=values.get("database") or request.headers.get("x-clickhouse-database", ""),
        settings=settings,
        parameters={
            name.removeprefix(BIND_PREFIX): value for name, value in values.items() if name.startswith(BIND_PREFIX)
        },
        default_format=values.get("default_format") or request.headers.get("x-clickhouse-format", DEFAULT_FORMAT),
    )


def form_values(content_type: str, body: bytes) -> Mapping[str, str]:
    """Return the text fields of a multipart form (clickhouse-connect sends long parameters as one).

    Raises EngineError on a field that is no text.
    """
    header = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.message_from_bytes(header + body, policy=email.policy.HTTP)
    fields = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            try:
                fields[name] = payload.decode()
            except UnicodeDecodeError as error:
                raise EngineError(BAD_REQUEST_CODE, f"Code: {BAD_REQUEST_CODE}. {name} is not UTF-8.") from error
    return fields


def build_store(engine: Engine) -> Starlette:
    """Return the ASGI application that answers ClickHouse's HTTP interface from the engine."""
    version = engine.run(Statement(b"SELECT version()")).body.decode().strip()

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def answer(request: Request) -> Response:
        headers = {
            "X-ClickHouse-Server-Display-Name": "simpersona-embedded",
            "X-ClickHouse-Query-Id": request.query_params.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": "UTC",
        }
        # A page's images and links carry no origin; browsers say of all that they send where it comes from.
        if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
            return PlainTextResponse("Requests made by web pages are refused.\n", status_code=403)
        try:
            statement = statement_of(request, await request.body())
            if not statement.text.strip():
                return PlainTextResponse("Ok.\n")
            outcome = await run_in_threadpool(engine.run, statement)
        except EngineError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            message = str(error) if "(version " in str(error) else f"{error} (version {version})"
            return PlainTextResponse(message + "\n", status_code=STATUS_OF_CODE.get(error.code, 500), headers=headers)
        headers["X-ClickHouse-Summary"] = json.dumps(
            {
                "read_rows": str(outcome.read_rows),
                "written_rows": str(outcome.written_rows),
                "written_bytes": str(outcome.written_bytes),
            }
        )
        if outcome.format:
            headers["X-ClickHouse-Format"] = outcome.format
        return Response(outcome.body, headers=headers, media_type="application/octet-stream")

    routes = [Route("/ping", ping), Route("/replicas_status", ping), Route("/", answer, methods=["GET", "POST"])]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


def serve() -> None:
    """Serve one data folder until SIGTERM or SIGINT; exit code 2 and one sentence when it cannot be opened."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack.store_server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--memory-mb", type=int, required=True)
    arguments = parser.parse_args()
    # A server says UTC whatever the machine's zone is; chDB takes the process's.
    os.environ["TZ"] = "UTC"
    # uvicorn raises SIGTERM again when it is done; as an exception it lets the engine close its folder.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    configure_logging(settings().log_format)
    try:
        engine = Engine(arguments.folder, arguments.memory_mb)
    except SimpersonaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    try:
        uvicorn.run(
            build_store(engine),
            host=LOOPBACK,
            port=arguments.port,
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
        )
    finally:
        engine.close()


if __name__ == "__main__":
    serve()
