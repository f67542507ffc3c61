"""Assignments as bytes: ``sessions.assigned`` is the log of record, one framed SessionAssignment per row."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.assignments import AssignmentBatch, Bytes, Objects
from schemas.avro_columns import ColumnarDecoder, Columns
from schemas.avro_writer import BOOL, FLOAT, INT, TEXT, write_records
from schemas.errors import SimpersonaError
from schemas.events import I64, U8
from schemas.framing import FramedWriter, join, schema_ids
from schemas.packaged import SESSION_ASSIGNMENT_ID, packaged_schema
from schemas.taxonomy import STRATA

_SCHEMA = packaged_schema(SESSION_ASSIGNMENT_ID)
_KIND_OF_TYPE = {"string": TEXT, "int": INT, "long": INT, "boolean": BOOL, "float": FLOAT}
_FIELDS = [
    (f["name"], _KIND_OF_TYPE[f["type"]["type"] if isinstance(f["type"], dict) else f["type"]])
    for f in _SCHEMA["fields"]
]
_KINDS = np.array([kind for _, kind in _FIELDS], dtype=np.int64)
_HEADER = np.frombuffer(FramedWriter(_SCHEMA, SESSION_ASSIGNMENT_ID).header, dtype=np.uint8)
_SESSION_ID_BYTES = 16
_HEX_DIGIT = np.isin(np.arange(256), list(b"0123456789abcdef"))


class AssignmentError(SimpersonaError):
    """A record on ``sessions.assigned`` is not one of ours."""


def encode_assignments(batch: AssignmentBatch) -> list[bytes]:
    """Return one framed record per row, in row order."""
    if not len(batch):
        return []
    n = len(batch)
    texts: dict[str, list[bytes]] = {
        "merchant_id": _encoded(batch.merchant_id),
        "session_id": batch.session_id.tolist(),
        "client_id": [client.encode() for client in batch.client_id],
        "superseded_by": batch.superseded_by.tolist(),
        "code_path": _encoded(batch.code_path),
        "codebook_version": [batch.codebook_version.encode()] * n,
        "source": [batch.source.encode()] * n,
    }
    ints: dict[str, npt.NDArray[np.integer[Any]]] = {
        "revision": batch.revision,
        "is_final": batch.is_final,
        "started_at": batch.started_ms,
        "ended_at": batch.ended_ms,
        "events": batch.events,
        "funnel_stratum": batch.stratum,
        "code": batch.code,
        "is_bot": batch.is_bot,
    }
    text_order = [name for name, kind in _FIELDS if kind == TEXT]
    int_order = [name for name, kind in _FIELDS if kind in (INT, BOOL)]
    data, starts, lengths = join([value for name in text_order for value in texts[name]])
    joined, offsets = write_records(
        header=_HEADER,
        kinds=_KINDS,
        texts=data,
        starts=starts.reshape(len(text_order), n),
        lengths=lengths.reshape(len(text_order), n),
        ints=np.stack([ints[name].astype(np.int64) for name in int_order]),
        floats=batch.confidence.astype(np.float32)[None, :],
    )
    bounds = offsets.tolist()
    return [joined[a:b] for a, b in itertools.pairwise(bounds)]


def _encoded(values: Objects) -> list[bytes]:
    """Return UTF-8 of values that repeat a lot."""
    cache: dict[str, bytes] = {}
    return [cache.get(value) or cache.setdefault(value, value.encode()) for value in values]


class AssignmentDecoder:
    """Decode the values of ``sessions.assigned``; compiles its table once."""

    def __init__(self) -> None:
        self._columns = ColumnarDecoder(_SCHEMA)
        self._columns.learn(SESSION_ASSIGNMENT_ID, _SCHEMA)

    def decode(self, values: Sequence[bytes]) -> list[AssignmentBatch]:
        """Return the rows grouped by (codebook_version, source), the order inside a group kept.

        Raises AssignmentError, which says how many records are bad: only our own workers write to this topic, so a bad
        record means a foreign producer and must not be skipped in silence.
        """
        data, starts, lengths = join(list(values))
        raw = data.tobytes()
        columns = self._columns.decode(data, starts, lengths, schema_ids(data, starts, lengths))
        bad = len(values) - int(self._sound(data, columns).sum())
        if bad:
            raise AssignmentError(
                f"Topic sessions.assigned holds {bad} records that are not SessionAssignments; "
                "find who else writes to it and remove those records."
            )
        versions = self._texts(raw, columns, "codebook_version")
        sources = self._texts(raw, columns, "source")
        groups: dict[tuple[str, str], list[int]] = {}
        for row, group in enumerate(zip(versions, sources, strict=True)):
            groups.setdefault(group, []).append(row)
        return [
            self._batch(raw, columns, np.array(rows), version, source) for (version, source), rows in groups.items()
        ]

    def _sound(self, data: U8, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return (n,) whether each record is a row that a worker can have written: its ids are ids, its stratum one."""
        sound: npt.NDArray[np.bool_] = columns.ok == 1
        stratum = columns.ints[self._columns.row_of["funnel_stratum"]]
        sound &= (stratum >= 0) & (stratum < len(STRATA))
        for name, may_be_empty in (("session_id", False), ("superseded_by", True)):
            row = self._columns.row_of[name]
            starts, lengths = columns.starts[row], columns.lengths[row]
            is_id = lengths == _SESSION_ID_BYTES
            # Rows of another length look at the first bytes there are, and what is found there does not count.
            at = np.where(is_id, starts, 0)[:, None] + np.arange(_SESSION_ID_BYTES)
            is_id &= _HEX_DIGIT[data.take(at, mode="clip")].all(axis=1) if len(data) else False
            sound &= is_id | (may_be_empty & (lengths == 0))
        return sound

    def _batch(self, raw: bytes, columns: Columns, rows: I64, version: str, source: str) -> AssignmentBatch:
        def ints(name: str) -> I64:
            values: I64 = columns.ints[self._columns.row_of[name], rows]
            return values

        return AssignmentBatch(
            merchant_id=self._texts(raw, columns, "merchant_id")[rows],
            client_id=self._texts(raw, columns, "client_id")[rows],
            session_id=self._ids(raw, columns, "session_id")[rows],
            superseded_by=self._ids(raw, columns, "superseded_by")[rows],
            revision=ints("revision").astype(np.int32),
            is_final=ints("is_final").astype(np.uint8),
            started_ms=ints("started_at"),
            ended_ms=ints("ended_at"),
            events=ints("events").astype(np.int32),
            stratum=ints("funnel_stratum").astype(np.uint8),
            code=ints("code").astype(np.int32),
            code_path=self._texts(raw, columns, "code_path")[rows],
            confidence=columns.floats[self._columns.row_of["confidence"], rows].astype(np.float32),
            is_bot=ints("is_bot").astype(np.uint8),
            codebook_version=version,
            source=source,
        )

    def _slices(self, raw: bytes, columns: Columns, name: str) -> list[bytes]:
        row = self._columns.row_of[name]
        starts, lengths = columns.starts[row].tolist(), columns.lengths[row].tolist()
        return [raw[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    def _texts(self, raw: bytes, columns: Columns, name: str) -> Objects:
        cache: dict[bytes, str] = {}
        out = np.empty(len(columns.ok), dtype=object)
        for row, value in enumerate(self._slices(raw, columns, name)):
            out[row] = cache.get(value) or cache.setdefault(value, value.decode())
        return out

    def _ids(self, raw: bytes, columns: Columns, name: str) -> Bytes:
        return np.array(self._slices(raw, columns, name), dtype=f"S{_SESSION_ID_BYTES}")


def decode_assignments(values: Sequence[bytes]) -> list[AssignmentBatch]:
    """Return the rows of some records, see ``AssignmentDecoder.decode``; for tests and tools."""
    return AssignmentDecoder().decode(values)
