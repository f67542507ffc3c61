"""Real sessions walked again in the simulated storefront: what actions and shop alone lose of a buyer's type."""

from collections.abc import Sequence

import numpy as np

from agent_runtime.backends import Cast, Scores
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Tokens, Vocabulary
from agent_runtime.walk.rollout import Span, play
from schemas.events import I32, I64

#: Log-probability of every token but the told one: enough below 0 to be drawn only where that one is not on offer.
_UNTOLD = -60.0


class Told:
    """A ``Cast`` that says sessions again; where the storefront does not serve a move, any other may come.

    sessions  (B, longest + 1) whole token rows, prompts included; filled up with leaving
    """

    def __init__(self, sessions: Tokens, vocabulary: Vocabulary) -> None:
        self._sessions, self._vocabulary = sessions, vocabulary

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return scores that all but name the next token; see ``Cast``."""
        scores = np.full((len(rows), len(self._vocabulary)), _UNTOLD, np.float32)
        told = self._sessions[rows, tokens.shape[1]] - self._vocabulary.offset
        scores[np.arange(len(rows)), told] = 0.0
        return scores


class Recital:
    """A ``Rowwise`` backend that gives agent ``a`` the session ``rows[a]``."""

    def __init__(self, rows: Sequence[Tokens], vocabulary: Vocabulary) -> None:
        self._rows, self._vocabulary = rows, vocabulary

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers; see ``Rowwise``."""
        whole = np.full((len(agents), self._vocabulary.longest + 1), self._vocabulary.leave, np.int64)
        for place, agent in enumerate(agents.tolist()):
            whole[place, : len(self._rows[agent])] = self._rows[agent]
        return Told(whole, self._vocabulary)


def play_told(
    vocabulary: Vocabulary, storefront: Storefront, traces: Traces, span: Span, gap_ms: int, seed: int
) -> list[PlayedSession]:
    """Return real sessions of one merchant as its simulated storefront gives them back, in their order."""
    rows = token_rows(traces, vocabulary, [storefront.shop.capabilities.flags()])
    told = Recital(rows, vocabulary)
    return play(told, vocabulary, storefront, np.arange(len(rows)), traces.code, span, seed, gap_ms).sessions
