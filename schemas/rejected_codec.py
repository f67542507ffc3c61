"""Rejected events as bytes: the reason, where the record stood and the payload as it came."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import fastavro

from schemas.framing import HEADER_BYTES, FramedWriter
from schemas.packaged import REJECTED_EVENT_ID, packaged_schema

_writer = FramedWriter(packaged_schema(REJECTED_EVENT_ID), REJECTED_EVENT_ID)


def _plain_schema() -> Any:
    """Return the schema with times as plain numbers: not every number is a date, and none of ours is needed as one."""
    schema = packaged_schema(REJECTED_EVENT_ID)
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"] = field["type"]["type"]
    return fastavro.parse_schema(schema)


_schema = _plain_schema()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that could not be used. ``received_at`` is milliseconds UTC, the broker's time of the record."""

    failure_kind: str
    message: str
    processor: str
    processor_version: str
    received_at: int
    topic: str
    partition: int
    offset: int
    payload: bytes


def encode_rejection(rejection: Rejection) -> bytes:
    """Return the framed record of a rejection."""
    return _writer.write(asdict(rejection))


def decode_rejection(value: bytes) -> Rejection:
    """Return the rejection in a framed record; raises fastavro's errors on bytes that are not one of ours."""
    record: dict[str, Any] = dict(fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), _schema, None))
    return Rejection(**record)
