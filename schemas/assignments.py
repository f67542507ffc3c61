"""Assignments in columns: one row per session revision, as written to ``sessions.assigned`` and ClickHouse."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events import I32, I64, U8
from schemas.slices import Rows
from schemas.texts import Texts

#: Fixed-width bytes: session ids are 16 hexadecimal digits.
Bytes = npt.NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class AssignmentBatch:
    """``n`` rows of ``session_assignments`` without ``inserted_at``.

    merchant_id, client_id      n texts
    session_id, superseded_by   (n,) S16 (``superseded_by`` empty when the session stands)
    revision, events            (n,) int32
    is_final, is_bot            (n,) uint8, 0 or 1
    started_ms, ended_ms        (n,) int64, UTC
    stratum                     (n,) uint8, index into ``schemas.taxonomy.STRATA``
    code                        (n,) int32, -1 for a superseded row; confidence (n,) float32
    code_path                   n texts, coarse first ("c03.f2"), "" for a superseded row
    codebook_version, source    one value for the whole batch
    """

    merchant_id: Texts
    client_id: Texts
    session_id: Bytes
    superseded_by: Bytes
    revision: I32
    is_final: U8
    started_ms: I64
    ended_ms: I64
    events: I32
    stratum: U8
    code: I32
    code_path: Texts
    confidence: npt.NDArray[np.float32]
    is_bot: U8
    codebook_version: str
    source: str

    def __len__(self) -> int:
        return len(self.session_id)

    def at(self, rows: Rows) -> "AssignmentBatch":
        """Return some of the rows."""
        return AssignmentBatch(
            merchant_id=self.merchant_id[rows],
            client_id=self.client_id[rows],
            session_id=self.session_id[rows],
            superseded_by=self.superseded_by[rows],
            revision=self.revision[rows],
            is_final=self.is_final[rows],
            started_ms=self.started_ms[rows],
            ended_ms=self.ended_ms[rows],
            events=self.events[rows],
            stratum=self.stratum[rows],
            code=self.code[rows],
            code_path=self.code_path[rows],
            confidence=self.confidence[rows],
            is_bot=self.is_bot[rows],
            codebook_version=self.codebook_version,
            source=self.source,
        )
