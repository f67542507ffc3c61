"""What a backend would have done where real shoppers decided: their sessions read out to it, one token at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from agent_runtime.backends import Backend, Kind, kind_at
from agent_runtime.storefront.actions import ACTIONS, PACES
from agent_runtime.storefront.capabilities import Capabilities
from agent_runtime.traces.behaviour import EVENT_OF_ACTION
from agent_runtime.vocabulary import Tokens, Vocabulary
from agent_runtime.walk.rollout import TILE
from schemas.events import I64
from schemas.taxonomy import EVENT_CODES, EVENT_NAMES

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LEAVE = len(ACTIONS)
_PURCHASE = EVENT_CODES["checkout_completed"]


@dataclass(frozen=True, slots=True)
class Choices:
    """``n`` choices among ``C`` things. scores (n, C) float64 unnormalised; allowed (n, C) bool; chosen (n,) int64."""

    scores: F64
    allowed: Bools
    chosen: I64

    def __len__(self) -> int:
        return len(self.chosen)

    def chances(self, bias: F64) -> F64:
        """Return the probabilities (n, C) of what is allowed, with ``bias`` (C,) added to the scores."""
        scores = np.where(self.allowed, self.scores + bias, -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def losses(self, bias: F64) -> F64:
        """Return the negative log-probability of each that was chosen (n,), in nats; exact however unlikely it was."""
        scores = np.where(self.allowed, self.scores + bias, -np.inf)
        return np.asarray(logsumexp(scores, axis=1) - scores[np.arange(len(self)), self.chosen])

    def accuracy(self, bias: F64) -> float:
        """Return how often the likeliest was chosen."""
        return float((self.chances(bias).argmax(axis=1) == self.chosen).mean())


@dataclass(frozen=True, slots=True)
class Decisions:
    """Moves (``ACTIONS``, then leaving) and pauses (``PACES``) of some sessions."""

    moves: Choices
    pauses: Choices


def decisions(
    backend: Backend, vocabulary: Vocabulary, rows: Sequence[Tokens], capabilities: Capabilities
) -> Decisions:
    """Return a backend's scores at every move and pause of real sessions at one storefront.

    rows  token rows of ``token_rows``. Moves that the storefront never serves, or not before others it is owed, are
    not allowed; what was chosen always is.
    """
    moves: list[tuple[F64, Bools, I64]] = [_nothing(_LEAVE + 1)]
    pauses: list[tuple[F64, Bools, I64]] = [_nothing(PACES)]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(order), TILE):
        _read_out(backend, vocabulary, [rows[row] for row in order[first : first + TILE]], capabilities, moves, pauses)
    return Decisions(_joined(moves), _joined(pauses))


def _read_out(
    backend: Backend,
    vocabulary: Vocabulary,
    rows: list[Tokens],
    capabilities: Capabilities,
    moves: list[tuple[F64, Bools, I64]],
    pauses: list[tuple[F64, Bools, I64]],
) -> None:
    longest = max(map(len, rows))
    tokens = np.full((TILE, longest), vocabulary.pad, np.int64)
    for place in range(TILE):  # unused rows repeat a used one: a backend sees equal shapes
        row = rows[place % len(rows)]
        tokens[place, : len(row)] = row
    lengths = np.array([len(row) for row in rows])
    ranges = {kind: (a - vocabulary.offset, b - vocabulary.offset) for kind, (a, b) in vocabulary.ranges.items()}
    (action, action_end), (pace, pace_end) = ranges["action"], ranges["pace"]
    leave = vocabulary.leave - vocabulary.offset
    offered = _Offered(capabilities, len(rows))
    for position in range(vocabulary.prompt_length, longest):
        scores = backend.scores(tokens[:, :position]).astype(np.float64)
        kind = kind_at(position, vocabulary)
        open_ = np.flatnonzero(lengths > position)
        chosen = tokens[open_, position] - vocabulary.offset
        if kind is Kind.PACE:
            pauses.append((scores[open_, pace:pace_end], np.ones((len(open_), PACES), bool), chosen - pace))
        elif kind in (Kind.FIRST, Kind.ACTION):
            move = np.where(chosen == leave, _LEAVE, chosen - action)
            allowed = offered.allowed(open_, may_leave=kind is Kind.ACTION)
            allowed[np.arange(len(open_)), move] = True
            moves.append((np.column_stack([scores[open_, action:action_end], scores[open_, leave]]), allowed, move))
            offered.take(open_, move)


class _Offered:
    """Which moves a storefront serves some sessions, by what they did so far."""

    def __init__(self, capabilities: Capabilities, sessions: int) -> None:
        codes = range(len(EVENT_NAMES))
        self._served = np.array([EVENT_NAMES[code] in capabilities.events for code in codes])[EVENT_OF_ACTION]
        owed = [
            [EVENT_NAMES[other] in capabilities.requires.get(EVENT_NAMES[code], ()) for other in codes]
            for code in codes
        ]
        self._owed = np.array(owed)[EVENT_OF_ACTION]  # (A, E)
        self._done = np.zeros((sessions, len(EVENT_NAMES)), bool)

    def allowed(self, rows: I64, may_leave: bool) -> Bools:
        """Return (rows, A + 1): actions, then leaving."""
        owing = (self._owed[None] & ~self._done[rows][:, None]).any(axis=2)
        return np.column_stack([self._served & ~owing, np.full(len(rows), may_leave)])

    def take(self, rows: I64, move: I64) -> None:
        """Note what was done; a purchase settles everything."""
        acting = move < _LEAVE
        events = EVENT_OF_ACTION[move[acting]]
        self._done[rows[acting], events] = True
        self._done[rows[acting][events == _PURCHASE]] = False


def _nothing(size: int) -> tuple[F64, Bools, I64]:
    return np.empty((0, size)), np.empty((0, size), bool), np.empty(0, np.int64)


def _joined(parts: list[tuple[F64, Bools, I64]]) -> Choices:
    scores, allowed, chosen = zip(*parts, strict=True)
    return Choices(np.concatenate(scores), np.concatenate(allowed), np.concatenate(chosen))
