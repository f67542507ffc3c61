"""Columns of the tables the sink writes, and the product's batches as Arrow tables of those columns."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.assignments import AssignmentBatch
from schemas.taxonomy import STRATA
from schemas.texts import Texts
from streams.mixes.rows import MixRows

_TIME = pa.timestamp("ms", tz="UTC")
_TEXT = pa.string()


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


#: Table -> the columns written; columns with a default (``inserted_at``) are left to the store.
SCHEMAS: dict[str, pa.Schema] = {
    "session_assignments": _schema(
        merchant_id=_TEXT,
        session_id=_TEXT,
        client_id=_TEXT,
        revision=pa.int32(),
        is_final=pa.bool_(),
        superseded_by=_TEXT,
        started_at=_TIME,
        ended_at=_TIME,
        events=pa.int32(),
        funnel_stratum=_TEXT,
        code=pa.int32(),
        code_path=_TEXT,
        confidence=pa.float32(),
        codebook_version=_TEXT,
        source=_TEXT,
        is_bot=pa.bool_(),
    ),
    "merchant_distributions": _schema(
        merchant_id=_TEXT,
        window=_TEXT,
        window_start=_TIME,
        codebook_version=_TEXT,
        source=_TEXT,
        code=pa.int32(),
        weight=pa.float64(),
        sessions=pa.uint64(),
        total=pa.uint64(),
        n_effective=pa.float64(),
        emitted_at=_TIME,
    ),
    "drift_events": _schema(
        merchant_id=_TEXT,
        detected_at=_TIME,
        detector=_TEXT,
        statistic=pa.float64(),
        threshold=pa.float64(),
        n_effective=pa.float64(),
        baseline_window=_TEXT,
        details=_TEXT,
        codebook_version=_TEXT,
        emitted_at=_TIME,
    ),
    "rejected_events": _schema(
        failure_kind=_TEXT,
        message=_TEXT,
        processor=_TEXT,
        processor_version=_TEXT,
        received_at=_TIME,
        topic=_TEXT,
        partition=pa.int32(),
        offset=pa.int64(),
        payload=pa.binary(),
    ),
    "replayed_events": _schema(
        topic=_TEXT,
        partition=pa.int32(),
        offset=pa.int64(),
        received_at=_TIME,
        replayed_at=_TIME,
    ),
    "codebooks": _schema(
        codebook_version=_TEXT,
        created_at=_TIME,
        size=pa.uint32(),
        coarse=pa.uint32(),
        manifest=_TEXT,
        previous_version=_TEXT,
        code_map=_TEXT,
    ),
    "personas": _schema(
        codebook_version=_TEXT,
        code=pa.int32(),
        code_path=_TEXT,
        name=_TEXT,
        sentence=_TEXT,
        statistics=_TEXT,
        share=pa.float64(),
    ),
    "simulation_runs": _schema(
        run_id=_TEXT,
        merchant_id=_TEXT,
        started_at=_TIME,
        finished_at=_TIME,
        codebook_version=_TEXT,
        seed=pa.uint64(),
        buyers=pa.uint32(),
        backend=_TEXT,
        manifest=_TEXT,
    ),
    "simulated_sessions": _schema(
        run_id=_TEXT,
        merchant_id=_TEXT,
        client_id=_TEXT,
        agent=pa.uint32(),
        intended_code=pa.int32(),
        intended_path=_TEXT,
        events=pa.uint32(),
        outcome=_TEXT,
        crashed=pa.bool_(),
        started_at=_TIME,
        ended_at=_TIME,
    ),
    "alignment_scores": _schema(
        run_id=_TEXT,
        merchant_id=_TEXT,
        measure=_TEXT,
        value=pa.float64(),
        floor=pa.float64(),
        low=pa.float64(),
        high=pa.float64(),
        computed_at=_TIME,
    ),
}


def assignment_table(batch: AssignmentBatch) -> pa.Table:
    """Return a batch as rows of ``session_assignments``."""
    n = len(batch)
    columns: dict[str, Any] = {
        "merchant_id": batch.merchant_id,
        "session_id": Texts.fixed(batch.session_id),
        "client_id": batch.client_id,
        "revision": batch.revision,
        "is_final": batch.is_final != 0,
        "superseded_by": Texts.fixed(batch.superseded_by),
        "started_at": batch.started_ms,
        "ended_at": batch.ended_ms,
        "events": batch.events,
        "funnel_stratum": Texts.chosen(STRATA, batch.stratum),
        "code": batch.code,
        "code_path": batch.code_path,
        "confidence": batch.confidence,
        "codebook_version": pa.repeat(pa.scalar(batch.codebook_version, _TEXT), n),
        "source": pa.repeat(pa.scalar(batch.source, _TEXT), n),
        "is_bot": batch.is_bot != 0,
    }
    return _table("session_assignments", columns)


def distribution_table(rows: MixRows, emitted_ms: int) -> pa.Table:
    """Return mixes as rows of ``merchant_distributions``, all with the same time of emission."""
    columns = rows.columns()
    return _table("merchant_distributions", {**columns, "emitted_at": np.full(len(columns["code"]), emitted_ms)})


def record_table(table: str, records: Sequence[Any]) -> pa.Table:
    """Return dataclass instances, whose fields are the table's columns, as rows; times are int ms."""
    rows = [asdict(record) for record in records]
    return _table(table, {name: [row[name] for row in rows] for name in SCHEMAS[table].names})


def _table(table: str, columns: dict[str, Any]) -> pa.Table:
    schema = SCHEMAS[table]
    arrays = []
    for field in schema:
        values = columns[field.name]
        if isinstance(values, Texts):
            arrays.append(_text(values))
        elif pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, type=pa.int64()).cast(field.type))
        elif isinstance(values, pa.Array):
            arrays.append(values)
        else:
            arrays.append(pa.array(values, type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _text(texts: Texts) -> pa.Array:
    data, offsets = texts.packed()
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data))
