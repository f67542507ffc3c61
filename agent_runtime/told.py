"""Real sessions walked again in the simulated storefront: what actions and shop alone lose of a buyer's type."""

import numpy as np

from agent_runtime.backends import Scores
from agent_runtime.rollout import TILE, Span, play
from agent_runtime.session import PlayedSession
from agent_runtime.storefront import Storefront
from agent_runtime.traces import Traces, token_rows
from agent_runtime.vocabulary import Tokens, Vocabulary

#: Log-probability of every token but the told one: enough below 0 to be drawn only where that one is not on offer.
_UNTOLD = -60.0


class Told:
    """A ``Backend`` that says real sessions again; where the storefront does not serve a move, any other may come."""

    def __init__(self, rows: list[Tokens], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokens: Tokens = np.full((TILE, vocabulary.longest + 1), vocabulary.leave, np.int64)
        for place, row in enumerate(rows):
            self._tokens[place, : len(row)] = row

    def scores(self, tokens: Tokens) -> Scores:
        """Return scores that all but name the next token; see ``Backend``."""
        scores = np.full((len(tokens), len(self._vocabulary)), _UNTOLD, np.float32)
        scores[np.arange(len(tokens)), self._tokens[:, tokens.shape[1]] - self._vocabulary.offset] = 0.0
        return scores


def play_told(
    vocabulary: Vocabulary, storefront: Storefront, traces: Traces, span: Span, gap_ms: int, seed: int
) -> list[PlayedSession]:
    """Return real sessions of one merchant as its simulated storefront gives them back, in their order."""
    rows = token_rows(traces, vocabulary, [storefront.shop.capabilities.flags()])
    sessions: list[PlayedSession] = []
    for first in range(0, len(rows), TILE):
        part = np.arange(first, min(first + TILE, len(rows)))
        told = Told([rows[row] for row in part], vocabulary)
        sessions += play(told, vocabulary, storefront, part, traces.code[part], span, seed, gap_ms).sessions
    return sessions
