"""Rejected events as bytes: the reason, where the record stood and the payload as it came."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import fastavro

from schemas.framing import HEADER_BYTES, FramedWriter
from schemas.packaged import REJECTED_EVENT_ID, packaged_schema

_writer = FramedWriter(packaged_schema(REJECTED_EVENT_ID), REJECTED_EVENT_ID)
_schema = fastavro.parse_schema(packaged_schema(REJECTED_EVENT_ID))


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
    record["received_at"] = round(record["received_at"].timestamp() * 1000)
    return Rejection(**record)
