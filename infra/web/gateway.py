"""The gateway: clicks over HTTP into ``clicks.raw``, stamped with the time they were received.

POST /collect takes one event or a list of them as JSON, with canonical or aliased event names. ``client_id`` is turned
into a pseudonym keyed per merchant, so that nobody can join buyers across merchants. Whatever cannot be used is
answered with its position in the list and a reason.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.errors import ClickError
from infra.web.click_json import read_click
from schemas.click_codec import encode_click
from schemas.topics import CLICKS_RAW, click_key

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
ACK_TIMEOUT_S = 10
#: A click on its way to the broker: its position in the request, its key and its value.
Record = tuple[int, bytes, bytes]
#: An unusable click as it is answered: its position and the reason.
Rejection = dict[str, Any]


class Gateway:
    """Route of the gateway. ``secret`` keys the pseudonyms: the same one gives the same pseudonyms."""

    def __init__(self, bootstrap: str, secret: str) -> None:
        self._bootstrap = bootstrap
        self._secret = secret.encode()
        self._producer: KafkaProducer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway")

    def routes(self) -> list[Route]:
        """Return the one route."""
        return [Route("/collect", self._collect, methods=["POST"])]

    def pseudonym(self, merchant_id: str, client_id: str) -> str:
        """Return the client's pseudonym at this merchant: a keyed hash, 32 hexadecimal digits."""
        key = hmac.new(self._secret, merchant_id.encode(), hashlib.sha256).digest()
        return hmac.new(key, client_id.encode(), hashlib.sha256).hexdigest()[:32]

    async def _collect(self, request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        if body is None:
            return JSONResponse(
                {"error": f"The body is over {MAX_BODY_BYTES} bytes; send fewer events."}, status_code=413
            )
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": f"The body is not JSON: {error}"}, status_code=400)
        rows = parsed if isinstance(parsed, list) else [parsed]
        records, rejected = self._judge(rows, time.time_ns() // 1_000_000)
        try:
            oversized = await asyncio.get_running_loop().run_in_executor(self._thread, self._produce, records)
        except KafkaError as error:
            logger.warning("The broker took no clicks: %s", error, extra={"events": len(records)})
            return JSONResponse({"error": f"The broker does not answer, send the same again: {error}"}, status_code=503)
        accepted = len(records) - len(oversized)
        rejected = sorted(rejected + oversized, key=lambda one: int(one["position"]))
        status = 202 if accepted or not rows else 413 if oversized else 400
        return JSONResponse({"accepted": accepted, "rejected": rejected}, status_code=status)

    def _judge(self, rows: list[Any], received_ms: int) -> tuple[list[Record], list[Rejection]]:
        """Return every usable event as a record, and position and reason of every other."""
        records: list[Record] = []
        rejected: list[Rejection] = []
        for position, row in enumerate(rows):
            try:
                event = read_click(row, received_ms)
            except ClickError as error:
                rejected.append({"position": position, "reason": str(error)})
                continue
            event["client_id"] = self.pseudonym(event["merchant_id"], event["client_id"])
            records.append((position, click_key(event["merchant_id"], event["client_id"]), encode_click(event)))
        return records, rejected

    def _produce(self, records: list[Record]) -> list[Rejection]:
        """Produce, wait until the broker has them all, and return those that are larger than it takes.

        Raises KafkaError, then the client sends again.
        """
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self._bootstrap.split(","), acks="all", linger_ms=5)
        sent, oversized = [], []
        for position, key, value in records:
            try:
                sent.append((position, self._producer.send(CLICKS_RAW, key=key, value=value)))
            except MessageSizeTooLargeError:
                oversized.append(position)
        for position, future in sent:
            try:
                future.get(timeout=ACK_TIMEOUT_S)
            except MessageSizeTooLargeError:  # its own limit is below the client's
                oversized.append(position)
        reason = "The event is larger than the broker takes."
        return [{"position": position, "reason": reason} for position in oversized]

    def close(self) -> None:
        """Flush what was accepted and disconnect."""
        if self._producer is not None:
            self._producer.close()


async def _body(request: Request) -> bytes | None:
    """Return the body, None as soon as it is known to be too long. Raises ClientDisconnect."""
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
