"""The seam between a simulation and whatever decides for the shoppers: one class, one method.

A trained language model, a Markov chain without any model, or a test's own rule are siblings behind it.
"""

from enum import Enum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from agent_runtime.vocabulary import TRAITS, Tokens, Vocabulary
from schemas.events import I32, I64

Scores = npt.NDArray[np.float32]


@runtime_checkable
class Backend(Protocol):
    """Decides what the shoppers do next. Pure in effect: the same tokens always give the same scores."""

    def scores(self, tokens: Tokens) -> Scores:
        """Return unnormalised log-probabilities of the next token, (B, V) float32 over the vocabulary's own tokens.

        tokens  (B, T) int64, everything said so far, rows of equal length; finished rows go on with padding. Called
        once a step, with one column more each time, always with the same number of rows.
        """
        ...


class Cast(Protocol):
    """Decides for certain shoppers, from their arrival to their leaving; for one thread at a time."""

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the scores of ``rows`` (n,) of ``tokens`` (B, T), (n, V) float32.

        Called once a step, with one column more each time; ``rows`` are those still in the shop, rising, always some of
        those of the call before.
        """
        ...


@runtime_checkable
class Rowwise(Protocol):
    """A backend that answers a row by that row alone, to the last bit, whatever stands beside it.

    Its crowds may be cut and thinned out in any way; one without this is played in tiles of one fixed shape.
    """

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers, (B,) each: row ``r`` of its tokens is ``agents[r]``."""
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
