"""The gateway: clicks over HTTP into ``clicks.raw``, stamped with the time they were received.

POST /collect takes one event or a list of them as JSON, with canonical or aliased event names. ``client_id`` is turned
into a pseudonym keyed per merchant, so that nobody can join buyers across merchants.
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
from kafka.errors import KafkaError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.click_codec import encode_click
from schemas.taxonomy import ALIASES, EVENT_CODES
from schemas.topics import CLICKS_RAW, click_key

logger = logging.getLogger(__name__)

_CANONICAL = {name: name for name in EVENT_CODES} | {a: n for names in ALIASES.values() for a, n in names.items()}
_REQUIRED = ("event_id", "merchant_id", "client_id", "event_name", "occurred_at")
_OPTIONAL_TEXT = ("product_id", "category", "currency", "query", "url_path", "referrer_kind", "device")
_OPTIONAL_INT = ("price_minor", "quantity")
MAX_BODY_BYTES = 1 << 20
ACK_TIMEOUT_S = 10


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
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            return JSONResponse(
                {"error": f"The body is over {MAX_BODY_BYTES} bytes; send fewer events."}, status_code=413
            )
        try:
            parsed = json.loads(body)
        except ValueError as error:
            return JSONResponse({"error": f"The body is not JSON: {error}"}, status_code=400)
        rows = parsed if isinstance(parsed, list) else [parsed]
        accepted, rejected = self._judge(rows, time.time_ns() // 1_000_000)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._produce, accepted)
        except KafkaError as error:
            logger.warning("The broker took no clicks: %s", error, extra={"events": len(accepted)})
            return JSONResponse({"error": f"The broker does not answer, send the same again: {error}"}, status_code=503)
        status = 202 if accepted or not rows else 400
        return JSONResponse({"accepted": len(accepted), "rejected": rejected}, status_code=status)

    def _judge(self, rows: list[Any], received_ms: int) -> tuple[list[tuple[bytes, bytes]], list[dict[str, Any]]]:
        """Return (key, value) of every usable event, and position and reason of every other."""
        accepted, rejected = [], []
        for position, row in enumerate(rows):
            try:
                event = self._event(row, received_ms)
                value = encode_click(event)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                rejected.append({"position": position, "reason": str(error).strip("'\"")})
                continue
            accepted.append((click_key(event["merchant_id"], event["client_id"]), value))
        return accepted, rejected

    def _produce(self, records: list[tuple[bytes, bytes]]) -> None:
        """Produce and wait until the broker has them all; raises KafkaError, then the client sends again."""
        if self._producer is None:
            self._producer = KafkaProducer(bootstrap_servers=self._bootstrap.split(","), acks="all", linger_ms=5)
        futures = [self._producer.send(CLICKS_RAW, key=key, value=value) for key, value in records]
        for future in futures:
            future.get(timeout=ACK_TIMEOUT_S)

    def _event(self, row: Any, received_ms: int) -> dict[str, Any]:
        """Return the ClickEvent of one JSON object. Raises KeyError or TypeError with a sentence naming the field."""
        if not isinstance(row, dict):
            raise TypeError("An event must be a JSON object.")
        for name in _REQUIRED:
            if not row.get(name):
                raise KeyError(f"Field {name} is missing.")
        if row["event_name"] not in _CANONICAL:
            raise KeyError(f"Event {row['event_name']!r} is in no known vocabulary.")
        merchant_id = str(row["merchant_id"])
        event: dict[str, Any] = {
            "event_id": str(row["event_id"]),
            "merchant_id": merchant_id,
            "client_id": self.pseudonym(merchant_id, str(row["client_id"])),
            "event_name": _CANONICAL[row["event_name"]],
            "occurred_at": int(row["occurred_at"]),
            "received_at": received_ms,
            "is_bot": bool(row.get("is_bot", False)),
        }
        event |= {name: str(row[name]) for name in _OPTIONAL_TEXT if row.get(name) is not None}
        event |= {name: int(row[name]) for name in _OPTIONAL_INT if row.get(name) is not None}
        return event

    def close(self) -> None:
        """Flush what was accepted and disconnect."""
        if self._producer is not None:
            self._producer.close()
