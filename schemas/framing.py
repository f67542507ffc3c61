"""Confluent's wire format: one zero byte, the schema id as four big-endian bytes, then the Avro body.

Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import io
import struct
from collections.abc import Mapping

import fastavro
import numpy as np

from schemas.events import I64
from schemas.packaged import Schema
from schemas.slices import Slices

HEADER_BYTES = 5
_HEADER = struct.Struct(">bI")


class FramedWriter:
    """Write single records of one schema with fastavro: the reference writer, and fast enough for producers."""

    def __init__(self, schema: Schema, schema_id: int) -> None:
        self._schema = fastavro.parse_schema(schema)
        self.header = _HEADER.pack(0, schema_id)

    def write(self, record: Mapping[str, object]) -> bytes:
        """Return the framed bytes of a record. Raises ValueError or TypeError when a field does not fit the schema."""
        out = io.BytesIO()
        out.write(self.header)
        fastavro.schemaless_writer(out, self._schema, record)
        return out.getvalue()


def schema_ids(values: Slices) -> I64:
    """Return the (n,) schema ids of framed values, -1 where the header is missing or not Confluent's."""
    data, starts = values.data, values.starts
    out = np.full(len(starts), -1, dtype=np.int64)
    framed = np.flatnonzero(values.lengths >= HEADER_BYTES)
    framed = framed[data[starts[framed]] == 0]
    at = starts[framed, None] + np.arange(1, HEADER_BYTES)
    out[framed] = data[at].astype(np.int64) @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
    return out
