"""What session windows give out, and how it becomes rows of ``session_assignments``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from schemas.assignments import AssignmentBatch, Bytes
from schemas.events import I32, I64, U8, SessionBatch
from schemas.texts import Texts


@dataclass(frozen=True, slots=True)
class Superseded:
    """``m`` session ids that no longer stand and the session that their first event is in now.

    merchant_id, client_id m texts; session_id, superseded_by (m,) S16; revision (m,) int32; started_ms (m,) int64
    """

    merchant_id: Texts
    client_id: Texts
    session_id: Bytes
    superseded_by: Bytes
    revision: I32
    started_ms: I64

    def __len__(self) -> int:
        return len(self.session_id)

    @staticmethod
    def none() -> "Superseded":
        """Return no ids."""
        names, ids = Texts.of([]), np.empty(0, "S16")
        return Superseded(names, names, ids, ids, np.empty(0, np.int32), np.empty(0, np.int64))

    @staticmethod
    def joined(parts: Sequence["Superseded"]) -> "Superseded":
        """Return the ids of several (one or more), one after another."""
        return Superseded(*(_joined(parts, name) for name in Superseded.__slots__))


@dataclass(frozen=True, slots=True)
class Emission:
    """``n`` sessions to be encoded, and the ids that they supersede.

    sessions              their events, ragged
    merchant_id, client_id n texts; session_id (n,) S16; revision, events (n,) int32
    started_ms, ended_ms  (n,) int64; stratum, is_final, is_bot (n,) uint8
    """

    sessions: SessionBatch
    merchant_id: Texts
    client_id: Texts
    session_id: Bytes
    revision: I32
    started_ms: I64
    ended_ms: I64
    events: I32
    stratum: U8
    is_final: U8
    is_bot: U8
    superseded: Superseded

    def __len__(self) -> int:
        return len(self.session_id)

    @staticmethod
    def joined(parts: Sequence["Emission"]) -> "Emission":
        """Return what several partitions (one or more) gave out, one after another."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: _joined(parts, name) for name in Emission.__slots__ if name not in ("sessions", "superseded")}
        return Emission(
            sessions=SessionBatch.joined([part.sessions for part in parts]),
            superseded=Superseded.joined([part.superseded for part in parts]),
            **columns,
        )


class CodeColumns(Protocol):
    """What an encoder says about ``n`` sessions: code (n,) int32 and calibrated confidence (n,) float32."""

    @property
    def code(self) -> I32:
        """Index into the encoder's ``code_paths``."""

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """Calibrated probability of the code."""


class SessionEncoder(Protocol):
    """The part of ``encoders.serving.Encoder`` that turning sessions into rows needs."""

    version: str
    code_paths: list[str]

    def encode(self, sessions: SessionBatch, *, still_open: npt.NDArray[np.bool_] | None = None) -> CodeColumns:
        """Return the buyer types of ``n >= 0`` sessions; of those ``still_open`` (n,) more events are to come."""


def _joined(parts: Sequence[object], name: str) -> Any:
    columns = [getattr(part, name) for part in parts]
    return Texts.joined(columns) if isinstance(columns[0], Texts) else np.concatenate(columns)


def assignments(
    emission: Emission, codes: CodeColumns, version: str, code_paths: list[str], source: str
) -> AssignmentBatch:
    """Return the rows of ``session_assignments``: the emitted sessions in their order, then the superseded ids.

    ``codes`` are the encoder's for ``emission.sessions``, ``code_paths`` its paths by code. A superseded row carries no
    events, code -1, an empty path and ``is_final`` 0, so that nothing that counts final sessions can count it.
    """
    old = emission.superseded
    m = len(old)
    nothing = np.zeros(m, np.uint8)
    code = np.concatenate([codes.code.astype(np.int32), np.full(m, -1, np.int32)])
    return AssignmentBatch(
        merchant_id=Texts.joined([emission.merchant_id, old.merchant_id]),
        client_id=Texts.joined([emission.client_id, old.client_id]),
        session_id=np.concatenate([emission.session_id, old.session_id]),
        superseded_by=np.concatenate([np.zeros(len(emission), "S16"), old.superseded_by]),
        revision=np.concatenate([emission.revision, old.revision]),
        is_final=np.concatenate([emission.is_final, nothing]),
        started_ms=np.concatenate([emission.started_ms, old.started_ms]),
        ended_ms=np.concatenate([emission.ended_ms, old.started_ms]),
        events=np.concatenate([emission.events, np.zeros(m, np.int32)]),
        stratum=np.concatenate([emission.stratum, nothing]),
        code=code,
        code_path=Texts.chosen([*code_paths, ""], code),
        confidence=np.concatenate([codes.confidence.astype(np.float32), np.zeros(m, np.float32)]),
        is_bot=np.concatenate([emission.is_bot, nothing]),
        codebook_version=version,
        source=source,
    )
