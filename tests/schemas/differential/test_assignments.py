"""Assignments: the columnar writer's bytes by the strict reader, and any bytes by the decoder and the strict reader."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.assignment_codec import AssignmentDecoder, AssignmentError, encode_assignments
from schemas.assignments import AssignmentBatch
from schemas.framing import HEADER_BYTES
from schemas.packaged import SESSION_ASSIGNMENT_ID, packaged_schema
from schemas.texts import Texts

SCHEMA = packaged_schema(SESSION_ASSIGNMENT_ID)
HEADER = b"\x00" + SESSION_ASSIGNMENT_ID.to_bytes(4, "big")
ID = re.compile("[0-9a-f]{16}", re.ASCII)
#: Rows written at once; hostile records are tried one by one, which is why there are fewer of them.
ROWS, HOSTILE_SHARE = 500, 20


def random_batch(random_avro: Any, rows: int) -> AssignmentBatch:
    r = random_avro.random

    def column(make: Any, dtype: Any) -> Any:
        out = np.empty(rows, dtype=dtype)
        out[:] = [make() for _ in range(rows)]
        return out

    def session() -> bytes:
        return b"%016x" % r.getrandbits(64)

    def texts(draw: Callable[[], str]) -> Texts:
        return Texts.of([draw() for _ in range(rows)])

    def int32() -> int:
        return r.choice((0, 1, -1, 2**31 - 1, -(2**31), r.randint(-(2**31), 2**31 - 1)))

    def int64() -> int:
        return r.choice((0, 2**63 - 1, -(2**63), r.randint(0, 2**42)))

    return AssignmentBatch(
        merchant_id=texts(random_avro.text),
        client_id=texts(random_avro.text),
        session_id=column(session, "S16"),
        superseded_by=column(lambda: session() if r.random() < 0.2 else b"", "S16"),
        revision=column(int32, np.int32),
        is_final=column(lambda: r.randint(0, 1), np.uint8),
        started_ms=column(int64, np.int64),
        ended_ms=column(int64, np.int64),
        events=column(int32, np.int32),
        stratum=column(lambda: r.randint(0, 3), np.uint8),
        code=column(int32, np.int32),
        code_path=texts(lambda: r.choice(("", "c03", "c03.f2", random_avro.text()))),
        confidence=column(lambda: r.choice((0.0, 1.0, np.nan, np.inf, r.random())), np.float32),
        is_bot=column(lambda: r.randint(0, 1), np.uint8),
        codebook_version=r.choice(("v1", random_avro.text())),
        source=r.choice(("live", "simulated", random_avro.text())),
    )


NAMES = {"started_ms": "started_at", "ended_ms": "ended_at", "stratum": "funnel_stratum"}
COLUMNS = [name for name in AssignmentBatch.__dataclass_fields__ if name not in ("codebook_version", "source")]


def plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value.decode() if isinstance(value, bytes) else value


def test_written_rows_are_read_alike_by_both(random_avro: Any, strict_avro: Any, count: int) -> None:
    reference, decoder = strict_avro(SCHEMA, SCHEMA), AssignmentDecoder()
    for _ in range(count // ROWS):
        batch = random_batch(random_avro, ROWS)
        values = encode_assignments(batch)
        records = [reference.read(value[HEADER_BYTES:]) for value in values]
        [(_, back)] = decoder.decode(values)
        assert {value[:HEADER_BYTES] for value in values} == {HEADER}
        assert (back.codebook_version, back.source) == (batch.codebook_version, batch.source)
        for name in COLUMNS:
            written = [plain(value) for value in getattr(batch, name)]
            for found in ([record[NAMES.get(name, name)] for record in records], map(plain, getattr(back, name))):
                pairs = zip(found, written, strict=True)
                assert all(a == b or (a != a and b != b) for a, b in pairs), name


def test_hostile_records_are_refused_exactly_when_the_reference_refuses_them(
    random_avro: Any, strict_avro: Any, count: int
) -> None:
    reference, decoder = strict_avro(SCHEMA, SCHEMA), AssignmentDecoder()
    refused = 0
    for _ in range(count // HOSTILE_SHARE // ROWS + 1):
        values = encode_assignments(random_batch(random_avro, ROWS))
        for value, other in zip(values, values[1:] + values[:1], strict=True):
            spoilt = random_avro.spoilt(value, other)
            try:
                if spoilt[:HEADER_BYTES] != HEADER:
                    raise strict_avro.Malformed("frame")
                record = reference.read(spoilt[HEADER_BYTES:])
                is_row = ID.fullmatch(record["session_id"]) and ID.fullmatch(record["superseded_by"] or "0" * 16)
                if not is_row or not 0 <= record["funnel_stratum"] < 4:
                    raise strict_avro.Malformed("no session")
            except strict_avro.Malformed:
                refused += 1
                with pytest.raises(AssignmentError, match="holds 1 records"):
                    decoder.decode([spoilt])
                continue
            [(_, back)] = decoder.decode([spoilt])
            for name in COLUMNS:
                a, b = plain(getattr(back, name)[0]), record[NAMES.get(name, name)]
                assert a == b or (a != a and b != b), (name, spoilt.hex())
    assert refused > ROWS / 2
