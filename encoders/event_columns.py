"""Rows of the event log as an ``EventBatch``: the same columns, hashes and faults as the stream's decoder makes."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.avro_columns import NULL_INT
from schemas.click_columns import TEXT_FIELDS, ClickColumns, assemble
from schemas.events import I32, I64, U8, EventBatch

#: The columns that ``to_event_batch`` reads; ask ``read_batches`` for these alone where nothing else is needed.
BATCH_COLUMNS = (*TEXT_FIELDS, "occurred_at", "received_at", "price_minor", "quantity", "is_bot")


def to_event_batch(batch: pa.RecordBatch) -> EventBatch:
    """Return the events of one batch of ``read_batches`` (at least BATCH_COLUMNS), row for row.

    Equal to what ``ClickDecoder`` makes of the same clicks once encoded, faults included; only ``text`` is laid out
    otherwise. Never raises on a row's values.
    """
    rows = batch.num_rows
    texts: list[U8] = []
    starts = np.empty((len(TEXT_FIELDS), rows), np.int64)
    lengths = np.empty((len(TEXT_FIELDS), rows), np.int32)
    base = 0
    for field, name in enumerate(TEXT_FIELDS):
        text, starts[field], lengths[field] = _slices(batch.column(name))
        starts[field] += base
        base += len(text)
        texts.append(text)
    columns = ClickColumns(
        text=np.concatenate(texts),
        starts=starts,
        lengths=lengths,
        occurred_ms=_integers(batch.column("occurred_at")),
        received_ms=_integers(batch.column("received_at")),
        price_minor=_integers(batch.column("price_minor")),
        quantity=_integers(batch.column("quantity")),
        is_bot=_integers(batch.column("is_bot")),
        fault=np.zeros(rows, np.uint8),
    )
    return assemble(columns)


def _slices(column: pa.StringArray) -> tuple[U8, I64, I32]:
    """Return (bytes, (n,) starts into them, (n,) lengths); a null has length 0, as an absent text has."""
    rows = len(column)
    _, offsets, data = column.buffers()
    if not rows or data is None:
        return np.empty(0, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, np.int32)
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + rows + 1]
    first, last = int(bounds[0]), int(bounds[-1])
    lengths = np.diff(bounds)
    if column.null_count:
        lengths = np.where(pc.is_null(column).to_numpy(zero_copy_only=False), np.int32(0), lengths)
    return np.frombuffer(data, np.uint8)[first:last], (bounds[:-1] - first).astype(np.int64), lengths


def _integers(column: pa.Array) -> I64:
    """Return times, integers or booleans as (n,) int64, NULL_INT where there is none.

    That very number becomes its neighbour, as in the stream's decoder.
    """
    whole = pc.max_element_wise(pc.cast(column, pa.int64()), int(NULL_INT) + 1, skip_nulls=False)
    values: npt.NDArray[np.int64] = pc.fill_null(whole, int(NULL_INT)).to_numpy()
    return values
