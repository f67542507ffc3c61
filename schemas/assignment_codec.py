"""Assignments as bytes: ``sessions.assigned`` is the log of record, one framed SessionAssignment per row."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.assignments import AssignmentBatch, Bytes
from schemas.avro_columns import ColumnarDecoder, Columns
from schemas.avro_writer import BOOL, FLOAT, INT, TEXT, write_records
from schemas.errors import SimpersonaError
from schemas.events import I64, U8
from schemas.framing import FramedWriter, schema_ids
from schemas.packaged import SESSION_ASSIGNMENT_ID, packaged_schema
from schemas.slices import Slices
from schemas.taxonomy import STRATA
from schemas.texts import Texts

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
    joined, offsets = encode_joined(batch)
    return [joined[a:b] for a, b in itertools.pairwise(offsets.tolist())]


def encode_joined(batch: AssignmentBatch) -> tuple[bytes, I64]:
    """Return the framed records of the rows (n,), one after another, and (n + 1,) offsets of each and the end."""
    n = len(batch)
    texts = {
        "merchant_id": batch.merchant_id,
        "session_id": Texts.fixed(batch.session_id),
        "client_id": batch.client_id,
        "superseded_by": Texts.fixed(batch.superseded_by),
        "code_path": batch.code_path,
        "codebook_version": Texts.chosen([batch.codebook_version], np.zeros(n, np.int64)),
        "source": Texts.chosen([batch.source], np.zeros(n, np.int64)),
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
    in_order = Texts.joined([texts[name] for name in text_order])
    return write_records(
        header=_HEADER,
        kinds=_KINDS,
        texts=in_order.data,
        starts=in_order.starts.reshape(len(text_order), n),
        lengths=in_order.lengths.reshape(len(text_order), n),
        ints=np.stack([ints[name].astype(np.int64) for name in int_order]),
        floats=batch.confidence.astype(np.float32)[None, :],
    )


class AssignmentDecoder:
    """Decode the values of ``sessions.assigned``; compiles its table once."""

    def __init__(self) -> None:
        self._columns = ColumnarDecoder(_SCHEMA)
        self._columns.learn(SESSION_ASSIGNMENT_ID, _SCHEMA)

    def decode(self, values: Slices | Sequence[bytes]) -> list[tuple[I64, AssignmentBatch]]:
        """Return the rows grouped by (codebook_version, source), each group with its rows' places among the values.

        The order inside a group is the values'. Raises AssignmentError, which says how many records are bad: only our
        own workers write to this topic, so a bad record means a foreign producer and must not be skipped in silence.
        """
        if not isinstance(values, Slices):
            values = Slices.of(values)
        data = values.data
        columns = self._columns.decode(values, schema_ids(values))
        bad = len(values) - int(self._sound(data, columns).sum())
        if bad:
            raise AssignmentError(
                f"Topic sessions.assigned holds {bad} records that are not SessionAssignments; "
                "find who else writes to it and remove those records."
            )
        versions, sources = (self._texts(data, columns, name) for name in ("codebook_version", "source"))
        _, version = versions.distinct()
        known_sources, source = sources.distinct()
        group = version * len(known_sources) + source
        _, firsts = np.unique(group, return_index=True)
        groups = [np.flatnonzero(group == group[first]) for first in np.sort(firsts)]
        return [
            (rows, self._batch(data, columns, rows, versions[int(rows[0])], sources[int(rows[0])])) for rows in groups
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

    def _batch(self, data: U8, columns: Columns, rows: I64, version: str, source: str) -> AssignmentBatch:
        def ints(name: str) -> I64:
            values: I64 = columns.ints[self._columns.row_of[name], rows]
            return values

        return AssignmentBatch(
            merchant_id=self._texts(data, columns, "merchant_id")[rows],
            client_id=self._texts(data, columns, "client_id")[rows],
            session_id=_ids(self._texts(data, columns, "session_id")[rows]),
            superseded_by=_ids(self._texts(data, columns, "superseded_by")[rows]),
            revision=ints("revision").astype(np.int32),
            is_final=ints("is_final").astype(np.uint8),
            started_ms=ints("started_at"),
            ended_ms=ints("ended_at"),
            events=ints("events").astype(np.int32),
            stratum=ints("funnel_stratum").astype(np.uint8),
            code=ints("code").astype(np.int32),
            code_path=self._texts(data, columns, "code_path")[rows],
            confidence=columns.floats[self._columns.row_of["confidence"], rows].astype(np.float32),
            is_bot=ints("is_bot").astype(np.uint8),
            codebook_version=version,
            source=source,
        )

    def _texts(self, data: U8, columns: Columns, name: str) -> Texts:
        row = self._columns.row_of[name]
        return Texts(data, columns.starts[row], columns.lengths[row].astype(np.int64))


def _ids(texts: Texts) -> Bytes:
    """Return session ids, each of 16 bytes or none."""
    ids = np.zeros(len(texts), f"S{_SESSION_ID_BYTES}")
    there = np.flatnonzero(texts.lengths)
    at = texts.starts[there, None] + np.arange(_SESSION_ID_BYTES)
    ids[there] = texts.data[at].reshape(-1).view(ids.dtype)
    return ids


def decode_assignments(values: Sequence[bytes]) -> list[AssignmentBatch]:
    """Return the groups of some records' rows, see ``AssignmentDecoder.decode``; for tests and tools."""
    return [batch for _, batch in AssignmentDecoder().decode(values)]
