"""Payloads that no decoder can use, each made from a real click: what a broken producer would send."""

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from schemas.click_codec import encode_click
from schemas.framing import HEADER_BYTES
from schemas.topics import click_key
from schemas.validation import ID_BYTES_MAX

Click = Mapping[str, Any]

#: A schema id that nobody registered.
_NOBODYS_SCHEMA = 999_999


@dataclass(frozen=True, slots=True)
class Malformed:
    """One unusable record: when the edge received it, what was done to it and the reason it must be rejected with."""

    received_ms: int
    kind: str
    reason: str
    key: bytes
    value: bytes

    def to_json(self) -> str:
        """Return one line of the sidecar file, bytes as base64."""
        return json.dumps(
            {
                "received_ms": self.received_ms,
                "kind": self.kind,
                "reason": self.reason,
                "key": base64.b64encode(self.key).decode(),
                "value": base64.b64encode(self.value).decode(),
            }
        )


def _changed(**fields: object) -> Callable[[Click], bytes]:
    return lambda click: encode_click({**click, **fields})


def _unknown_schema(click: Click) -> bytes:
    return b"\x00" + struct.pack(">I", _NOBODYS_SCHEMA) + encode_click(click)[HEADER_BYTES:]


def _truncated(click: Click) -> bytes:
    value = encode_click(click)
    return value[: len(value) // 2]


def _garbage(click: Click) -> bytes:
    # A varint that never ends: no Avro reader can take it for a length.
    return encode_click(click)[:HEADER_BYTES] + b"\xff" * 24


def _plain_json(click: Click) -> bytes:
    return json.dumps({"event": click["event_name"], "client": click["client_id"]}).encode()


#: Kind -> (reason, how the bytes are made). Kinds take turns.
KINDS: dict[str, tuple[str, Callable[[Click], bytes]]] = {
    "truncated": ("malformed_avro", _truncated),
    "unknown_schema": ("unknown_schema", _unknown_schema),
    "empty_client": ("empty_id", _changed(client_id="")),
    "garbage": ("malformed_avro", _garbage),
    "unknown_event": ("unknown_event", _changed(event_name="product_teleported")),
    "ancient_clock": ("bad_time", _changed(occurred_at=86_400_000)),
    "plain_json": ("malformed_avro", _plain_json),
    "negative_price": ("bad_price", _changed(price_minor=-100)),
    "oversized_id": ("oversized_id", _changed(event_id="x" * (ID_BYTES_MAX + 1))),
    "empty": ("malformed_avro", lambda click: b""),
}


def spoil(rows: pa.Table, first: int) -> Iterator[Malformed]:
    """Yield one malformed record per row of an event table; ``first`` counts the records made before.

    The spoilt record stands beside the real click, which stays in the log: its event id is another.
    """
    times = {name: rows.column(name).cast(pa.int64()).to_pylist() for name in ("occurred_at", "received_at")}
    plain = rows.drop_columns(list(times)).to_pylist(maps_as_pydicts="strict")
    names = list(KINDS)
    for number, click in enumerate(plain):
        kind = names[(first + number) % len(names)]
        reason, make = KINDS[kind]
        received_ms = times["received_at"][number]
        click |= {
            "event_id": f"spoilt-{click['event_id']}",
            "occurred_at": times["occurred_at"][number],
            "received_at": received_ms,
        }
        key = click_key(click["merchant_id"], click["client_id"])
        yield Malformed(received_ms, kind, reason, key, make(click))


def malformed_path(events: Path) -> Path:
    """Return where the malformed payloads of an event log are kept: one JSON object a line, beside it."""
    return events.with_name(f"{events.stem}.malformed.jsonl")


def read_malformed(lines: TextIO) -> Iterator[Malformed]:
    """Yield the records of a sidecar file in its order. Raises ValueError or KeyError on a line that is none."""
    for line in lines:
        record = json.loads(line)
        yield Malformed(
            received_ms=int(record["received_ms"]),
            kind=record["kind"],
            reason=record["reason"],
            key=base64.b64decode(record["key"], validate=True),
            value=base64.b64decode(record["value"], validate=True),
        )
