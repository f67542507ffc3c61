"""Clicks for the session tests: made in a line, batched into columns, and cut by a plain reference."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from schemas.assignments import AssignmentBatch
from schemas.events import EVENT, FLAG_BOT, EventBatch
from schemas.hashing import hash_key
from schemas.texts import Texts
from streams.sessions.cut import session_hash
from streams.sessions.rules import SessionRules
from streams.sessions.windows import Emission, SessionWindows


@dataclass(frozen=True)
class Click:
    """One click in milliseconds; ``received`` None means at once."""

    occurred: int
    client: str = "anna"
    id: int = -1  # -1: the time
    received: int | None = None
    merchant: str = "shop"
    event: int = 4
    bot: bool = False
    fault: int = 0

    @property
    def received_ms(self) -> int:
        return self.occurred if self.received is None else self.received

    @property
    def t(self) -> int:
        return min(self.occurred, self.received_ms)

    @property
    def key(self) -> int:
        return self.occurred if self.id < 0 else self.id

    def again(self, received: int) -> "Click":
        """The same click sent once more."""
        return replace(self, id=self.key, received=received)


#: A final row as the tests compare it: merchant, client, session id, start, end, events, stratum, bot, event ids.
FinalRow = tuple[str, str, str, int, int, int, int, int, tuple[int, ...]]


class SessionWorld:
    """What the session tests share; one object, because pytest hands out fixtures, not modules."""

    @staticmethod
    def windows(clicks: Sequence[Click], rules: SessionRules) -> SessionWindows:
        """Return windows that have taken in these clicks, the first one at offset 0."""
        windows = SessionWindows(rules)
        windows.add(SessionWorld.batch(clicks), np.arange(len(clicks), dtype=np.int64))
        return windows

    Click = Click

    @staticmethod
    def batch(clicks: Sequence[Click]) -> EventBatch:
        """Clicks as the decoder would give them."""
        n = len(clicks)
        events = np.zeros(n, EVENT)
        events["t"] = [c.t for c in clicks]
        events["id"] = [c.key for c in clicks]
        events["event"] = [c.event for c in clicks]
        events["price"] = np.nan
        events["flags"] = [FLAG_BOT * c.bot for c in clicks]
        merchants, clients = [c.merchant.encode() for c in clicks], [c.client.encode() for c in clicks]
        text = np.frombuffer(b"".join(m + b"?" + c for m, c in zip(merchants, clients, strict=True)), np.uint8)
        m_n = np.array([len(m) for m in merchants], np.int32)
        c_n = np.array([len(c) for c in clients], np.int32)
        m_at = np.concatenate([[0], np.cumsum(m_n + 1 + c_n)[:-1]]).astype(np.int64) if n else np.empty(0, np.int64)
        c_at = m_at + m_n + 1
        hashes = [hash_key(text, *where) for where in zip(m_at, m_n, c_at, c_n, strict=True)]
        return EventBatch(
            events=events,
            received_ms=np.array([c.received_ms for c in clicks], np.int64),
            key_hash=np.array(hashes, np.uint64),
            text=text,
            merchant_start=m_at,
            merchant_length=m_n,
            client_start=c_at,
            client_length=c_n,
            fault=np.array([c.fault for c in clicks], np.uint8),
        )

    @staticmethod
    def finals(emissions: Sequence[Emission]) -> list[FinalRow]:
        """The final rows of some emissions, sorted."""
        rows: list[FinalRow] = []
        for e in emissions:
            for i in np.flatnonzero(e.is_final).tolist():
                events = e.sessions.events[e.sessions.offsets[i] : e.sessions.offsets[i + 1]]
                described = (int(x[i]) for x in (e.started_ms, e.ended_ms, e.events, e.stratum, e.is_bot))
                ids = tuple(events["id"].tolist())
                rows.append((e.merchant_id[i], e.client_id[i], e.session_id[i].decode(), *described, ids))
        return sorted(rows)

    @staticmethod
    def reference(clicks: Sequence[Click], rules: SessionRules) -> list[FinalRow]:
        """The sessions of some clicks by the plainest means: drop late ones, sort, split at gaps, cut by caps."""
        clients: dict[tuple[str, str], dict[int, Click]] = defaultdict(dict)
        for click in clicks:
            if click.fault == 0 and click.received_ms - click.t <= rules.allowed_lateness_ms:
                clients[click.merchant, click.client].setdefault(click.key, click)
        rows: list[FinalRow] = []
        for (merchant, client), found in clients.items():
            gap = rules.gap_overrides_ms.get(merchant, rules.gap_ms)
            text = np.frombuffer(merchant.encode() + client.encode(), np.uint8)
            m = len(merchant.encode())
            key_hash = np.uint64(hash_key(text, 0, m, m, len(text) - m))
            run: list[Click] = []
            piece: list[Click] = []
            pieces: list[tuple[Click, list[Click]]] = []
            for click in sorted(found.values(), key=lambda c: (c.t, c.key)):
                if not run or click.t - run[-1].t > gap:
                    run, piece = [click], [click]
                    pieces.append((run[0], piece))
                    continue
                run.append(click)
                if click.t - piece[0].t > rules.session_max_ms or len(piece) >= rules.session_max_events:
                    piece = []
                    pieces.append((run[0], piece))
                piece.append(click)
            for first, members in pieces:
                start = members[0]
                number = session_hash(key_hash, first.t, np.uint64(first.key), start.t, np.uint64(start.key))
                stratum = max((0, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3)[c.event] for c in members)
                bot = any(c.bot for c in members) or len(members) >= rules.session_max_events
                ids = tuple(c.key for c in members)
                rows.append(
                    (merchant, client, f"{int(number):016x}", start.t, members[-1].t, len(ids), stratum, int(bot), ids)
                )
        return sorted(rows)


@pytest.fixture(scope="session")
def world() -> SessionWorld:
    """Clicks, batches, final rows and the reference."""
    return SessionWorld()


@dataclass(frozen=True)
class AssignmentRow:
    """One session revision; what is not named has a usual value."""

    session: int
    code: int = 0
    ended_ms: int = 1_750_075_200_000  # 2025-06-16 12:00 UTC
    merchant: str = "m"
    client: str = "c"
    final: bool = True
    bot: bool = False
    superseded_by: int | None = None
    version: str = "v1"
    source: str = "live"
    confidence: float = 0.75
    events: int = 3


class AssignmentWorld:
    """What the tests of the second hop share."""

    Row = AssignmentRow
    NOON_MS = AssignmentRow.ended_ms

    @staticmethod
    def batch(rows: Sequence[AssignmentRow]) -> AssignmentBatch:
        """Return rows, which share version and source, as a batch."""

        def digits(value: int | None) -> bytes:
            return b"" if value is None else b"%016x" % value

        [(version, source)] = {(row.version, row.source) for row in rows}
        code = [-1 if row.superseded_by is not None else row.code for row in rows]
        return AssignmentBatch(
            merchant_id=Texts.of([row.merchant for row in rows]),
            client_id=Texts.of([row.client for row in rows]),
            session_id=np.array([digits(row.session) for row in rows], dtype="S16"),
            superseded_by=np.array([digits(row.superseded_by) for row in rows], dtype="S16"),
            revision=np.array([2 * row.events + row.final for row in rows], dtype=np.int32),
            is_final=np.array([row.final for row in rows], dtype=np.uint8),
            started_ms=np.array([row.ended_ms - 60_000 for row in rows], dtype=np.int64),
            ended_ms=np.array([row.ended_ms for row in rows], dtype=np.int64),
            events=np.array([row.events for row in rows], dtype=np.int32),
            stratum=np.array([row.code % 4 for row in rows], dtype=np.uint8),
            code=np.array(code, dtype=np.int32),
            code_path=Texts.of(["" if c < 0 else f"c{c:02d}" for c in code]),
            confidence=np.array([row.confidence for row in rows], dtype=np.float32),
            is_bot=np.array([row.bot for row in rows], dtype=np.uint8),
            codebook_version=version,
            source=source,
        )

    @staticmethod
    def batches(rows: Sequence[AssignmentRow]) -> list[AssignmentBatch]:
        """Return rows grouped by version and source, as the decoder does."""
        groups: dict[tuple[str, str], list[AssignmentRow]] = {}
        for row in rows:
            groups.setdefault((row.version, row.source), []).append(row)
        return [AssignmentWorld.batch(group) for group in groups.values()]


@pytest.fixture(scope="session")
def assigned() -> AssignmentWorld:
    """Assignments by hand."""
    return AssignmentWorld()
