"""The seam between a simulation and whatever decides for the shoppers: one class, one method.

A trained language model, a Markov chain without any model, or a test's own rule are siblings behind it.
"""

from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent_runtime.vocabulary import TRAITS, Tokens, Vocabulary

Scores = npt.NDArray[np.float32]


class Backend(Protocol):
    """Decides what the shoppers do next. Pure in effect: the same tokens always give the same scores."""

    def scores(self, tokens: Tokens) -> Scores:
        """Return unnormalised log-probabilities of the next token, (B, V) float32 over the vocabulary's own tokens.

        tokens  (B, T) int64, everything said so far, rows of equal length; finished rows go on with padding. Called
        once a step, with one column more each time, always with the same number of rows.
        """
        ...


class Kind(Enum):
    """What stands at a position of a session's tokens."""

    PROMPT = "prompt"
    DEVICE = "device"
    REFERRER = "referrer"
    MOMENT = "moment"
    FIRST = "first action"
    ACTION = "action"
    PACE = "pace"


def kind_at(position: int, vocabulary: Vocabulary) -> Kind:
    """Return what the token at a position is, counting from the prompt's first."""
    after = position - vocabulary.prompt_length
    if after < 0:
        return Kind.PROMPT
    if after < TRAITS:
        return (Kind.DEVICE, Kind.REFERRER, Kind.MOMENT)[after]
    if after == TRAITS:
        return Kind.FIRST
    return Kind.ACTION if (after - TRAITS) % 2 else Kind.PACE
