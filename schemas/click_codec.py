"""ClickEvents as bytes: how producers write them and the stream reads them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import fastavro
import numpy as np

from schemas.avro_columns import ColumnarDecoder
from schemas.click_columns import TEXT_FIELDS, ClickColumns, assemble
from schemas.errors import SimpersonaError
from schemas.events import I64, U8, EventBatch
from schemas.framing import HEADER_BYTES, FramedWriter, schema_ids
from schemas.packaged import CLICK_EVENT_ID, WATERMARK_ID, Schema, packaged_schema
from schemas.rejections import CODE_OF_REASON
from schemas.slices import Slices
from schemas.validation import TIME_MAX_MS, TIME_MIN_MS

#: Fault of a row that holds no click at all (a watermark): nothing to count, nothing to reject.
NOT_AN_EVENT = 255

_click_writer = FramedWriter(packaged_schema(CLICK_EVENT_ID), CLICK_EVENT_ID)
_watermark_writer = FramedWriter(packaged_schema(WATERMARK_ID), WATERMARK_ID)
_click_schema = fastavro.parse_schema(packaged_schema(CLICK_EVENT_ID))


class UndecodableError(SimpersonaError):
    """Some bytes are not a framed record of a known schema."""


def encode_click(event: Mapping[str, object]) -> bytes:
    """Return one ClickEvent, framed. Times are int milliseconds, missing optional fields take the schema's default.

    Raises ValueError or TypeError when a field is missing or of the wrong type.
    """
    return _click_writer.write(event)


def encode_watermark(watermark_ms: int) -> bytes:
    """Return a Watermark record: the producer's promise that nothing earlier will come that is not late."""
    return _watermark_writer.write({"watermark": watermark_ms})


def decode_click(value: bytes) -> dict[str, object]:
    """Return one ClickEvent as a dict with int times: the readable reference beside the columnar decoder.

    Raises UndecodableError on a wrong frame, an unknown schema id or a malformed body.
    """
    found = int(schema_ids(Slices.of([value]))[0])
    if found != CLICK_EVENT_ID:
        raise UndecodableError(f"The record's schema id is {found}, expected {CLICK_EVENT_ID} (ClickEvent).")
    body = io.BytesIO(value[HEADER_BYTES:])
    try:
        record = fastavro.schemaless_reader(body, _click_schema, None)
    except (EOFError, IndexError, ValueError, OverflowError) as error:
        raise UndecodableError(f"The record is not a ClickEvent: {error}") from error
    if not isinstance(record, dict):
        raise UndecodableError("The record is not a ClickEvent: its schema is no record.")
    for name in ("occurred_at", "received_at"):
        record[name] = round(record[name].timestamp() * 1000)
    return record


@dataclass(frozen=True, slots=True)
class ClickChunk:
    """Decoded records: one row per record, and the watermarks among them.

    mark_rows, marks_ms  (w,) int64, rows of ``batch`` that hold a watermark, rising, and its time
    """

    batch: EventBatch
    mark_rows: I64
    marks_ms: I64

    @property
    def watermark_ms(self) -> int | None:
        """The highest watermark, None without one."""
        return int(self.marks_ms.max()) if len(self.marks_ms) else None

    def part(self, first: int, end: int) -> "ClickChunk":
        """Return the records ``first <= row < end``, without a copy."""
        low, high = np.searchsorted(self.mark_rows, (first, end))
        return ClickChunk(self.batch.part(first, end), self.mark_rows[low:high] - first, self.marks_ms[low:high])


class ClickDecoder:
    """Decode the values of a click topic into columns. One per worker; not thread-safe while ``learn`` runs."""

    def __init__(self) -> None:
        self._clicks = ColumnarDecoder(packaged_schema(CLICK_EVENT_ID))
        self._clicks.learn(CLICK_EVENT_ID, packaged_schema(CLICK_EVENT_ID))
        self._watermarks = ColumnarDecoder(packaged_schema(WATERMARK_ID))
        self._watermarks.learn(WATERMARK_ID, packaged_schema(WATERMARK_ID))
        self._text_rows = np.array([self._clicks.row_of[name] for name in TEXT_FIELDS])

    def learn(self, schema_id: int, writer: Schema) -> None:
        """Accept clicks written with another schema (from a registry). Raises UnsupportedSchemaError."""
        self._clicks.learn(schema_id, writer)

    def knows(self, schema_id: int) -> bool:
        """Say whether records of this schema id can be read."""
        return schema_id == WATERMARK_ID or self._clicks.knows(schema_id)

    def decode(self, values: Slices | Sequence[bytes]) -> ClickChunk:
        """Return one row per value; never raises on bad bytes: the row's ``fault`` says what was wrong with it."""
        if not isinstance(values, Slices):
            values = Slices.of(values)
        ids = schema_ids(values)
        clicks = self._clicks.decode(values, ids)
        known = np.isin(ids, [i for i in np.unique(ids).tolist() if self._clicks.knows(i)])
        fault = np.zeros(len(values), dtype=np.uint8)
        fault[clicks.ok == 0] = CODE_OF_REASON["malformed_avro"]
        fault[(ids >= 0) & ~known] = CODE_OF_REASON["unknown_schema"]
        mark_rows, marks_ms = self._take_watermarks(values, ids, fault)
        ints, row_of = clicks.ints, self._clicks.row_of
        columns = ClickColumns(
            text=values.data,
            starts=clicks.starts[self._text_rows],
            lengths=clicks.lengths[self._text_rows],
            occurred_ms=ints[row_of["occurred_at"]],
            received_ms=ints[row_of["received_at"]],
            price_minor=ints[row_of["price_minor"]],
            quantity=ints[row_of["quantity"]],
            is_bot=ints[row_of["is_bot"]],
            fault=fault,
        )
        return ClickChunk(assemble(columns), mark_rows, marks_ms)

    def _take_watermarks(self, values: Slices, ids: I64, fault: U8) -> tuple[I64, I64]:
        """Mark watermark rows as no events; return those that can be meant, and their times."""
        rows = np.flatnonzero(ids == WATERMARK_ID)
        if not len(rows):
            return rows, rows
        decoded = self._watermarks.decode(values.at(rows), ids[rows])
        marks_ms, whole = decoded.ints[0], decoded.ok == 1
        # A watermark that cannot be meant would close every session there is, and reject every click to come.
        valid = whole & (marks_ms >= TIME_MIN_MS) & (marks_ms < TIME_MAX_MS)
        bad = np.where(whole, CODE_OF_REASON["bad_time"], CODE_OF_REASON["malformed_avro"])
        fault[rows] = np.where(valid, NOT_AN_EVENT, bad)
        return rows[valid], marks_ms[valid]
