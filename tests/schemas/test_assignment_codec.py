"""Assignments and rejections survive the round through bytes."""

import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.assignment_codec import AssignmentDecoder, AssignmentError, decode_assignments, encode_assignments
from schemas.assignments import AssignmentBatch
from schemas.framing import HEADER_BYTES
from schemas.packaged import SESSION_ASSIGNMENT_ID, packaged_schema
from schemas.rejected_codec import Rejection, decode_rejection, encode_rejection
from schemas.texts import Texts

pytestmark = pytest.mark.fast

_i32 = st.integers(-(2**31), 2**31 - 1)
rows = st.fixed_dictionaries(
    {
        "merchant_id": st.text(max_size=8),
        "client_id": st.text(max_size=12),
        "session_id": st.integers(0, 2**64 - 1).map(lambda i: b"%016x" % i),
        "superseded_by": st.just(b"") | st.integers(0, 2**64 - 1).map(lambda i: b"%016x" % i),
        "revision": _i32,
        "is_final": st.integers(0, 1),
        "started_ms": st.integers(0, 2**62),
        "ended_ms": st.integers(0, 2**62),
        "events": _i32,
        "stratum": st.integers(0, 3),
        "code": _i32,
        "code_path": st.sampled_from(["", "c03", "c03.f2"]),
        "confidence": st.floats(0, 1, width=32),
        "is_bot": st.integers(0, 1),
    }
)
_TEXTS = ("merchant_id", "client_id", "code_path")
_DTYPES = {
    "session_id": "S16", "superseded_by": "S16", "revision": np.int32, "events": np.int32, "code": np.int32,
    "is_final": np.uint8, "is_bot": np.uint8, "stratum": np.uint8, "started_ms": np.int64, "ended_ms": np.int64,
    "confidence": np.float32,
}  # fmt: skip


def batch_of(records: list[dict[str, Any]], version: str = "v1", source: str = "live") -> AssignmentBatch:
    columns = {name: np.array([r[name] for r in records], dtype=dtype) for name, dtype in _DTYPES.items()}
    texts = {name: Texts.of([r[name] for r in records]) for name in _TEXTS}
    return AssignmentBatch(**columns, **texts, codebook_version=version, source=source)


@given(st.lists(rows, min_size=1, max_size=10))
@settings(max_examples=100, deadline=None)
def test_rows_come_back_as_they_were(records: list[dict[str, Any]]) -> None:
    batch = batch_of(records)
    (back,) = decode_assignments(encode_assignments(batch))
    for name in _DTYPES:
        assert np.array_equal(getattr(back, name), getattr(batch, name)), name
    for name in _TEXTS:
        assert getattr(back, name).tolist() == [record[name] for record in records], name
    assert (back.codebook_version, back.source) == ("v1", "live")


@given(rows)
@settings(max_examples=50, deadline=None)
def test_fastavro_reads_what_the_columnar_writer_wrote(record: dict[str, Any]) -> None:
    (value,) = encode_assignments(batch_of([record]))
    schema = packaged_schema(SESSION_ASSIGNMENT_ID)
    for field in schema["fields"]:
        field["type"] = "long" if isinstance(field["type"], dict) else field["type"]
    body = io.BytesIO(value[HEADER_BYTES:])
    read = fastavro.schemaless_reader(body, fastavro.parse_schema(schema), None)
    assert not body.read()
    assert isinstance(read, dict)
    assert read["client_id"] == record["client_id"] and read["started_at"] == record["started_ms"]
    assert read["confidence"] == np.float32(record["confidence"]) and read["is_bot"] == bool(record["is_bot"])


def test_versions_and_sources_are_kept_apart() -> None:
    record = {
        "merchant_id": "m", "client_id": "c", "session_id": b"0" * 16, "superseded_by": b"", "revision": 4,
        "is_final": 0, "started_ms": 1, "ended_ms": 2, "events": 2, "stratum": 1, "code": 3, "code_path": "c03",
        "confidence": 0.5, "is_bot": 0,
    }  # fmt: skip
    values = [
        *encode_assignments(batch_of([record])),
        *encode_assignments(batch_of([record], version="v2")),
        *encode_assignments(batch_of([record], source="simulated")),
        *encode_assignments(batch_of([record])),
    ]
    groups = decode_assignments(values)
    assert [(g.codebook_version, g.source, len(g)) for g in groups] == [
        ("v1", "live", 2),
        ("v2", "live", 1),
        ("v1", "simulated", 1),
    ]


def test_nothing_encodes_to_nothing() -> None:
    assert encode_assignments(batch_of([])) == []
    assert decode_assignments([]) == []


def test_a_foreign_record_is_an_error_and_not_skipped() -> None:
    with pytest.raises(AssignmentError, match="1 records that are not SessionAssignments"):
        AssignmentDecoder().decode([b"hello"])


@given(st.binary(max_size=40), st.text(max_size=10), st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_a_rejection_keeps_the_bytes(payload: bytes, message: str, at_ms: int) -> None:
    rejection = Rejection("late", message, "clicks", "0.1.0", at_ms, "clicks.raw", 3, 2**40, payload)
    assert decode_rejection(encode_rejection(rejection)) == rejection
