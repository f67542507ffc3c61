"""A storefront adapter: what a merchant's own past sessions say that the simulator's weights cannot know.

One bias per action, one for leaving and one per pause, fitted in a second by penalised maximum likelihood on the
scores of the frozen backend (a multinomial logit with an offset; the penalty is a normal prior on every bias). It
shifts how a whole shop behaves and knows nothing of buyer types.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.capabilities import Capabilities
from agent_runtime.decisions import Choices, Decisions, decisions
from agent_runtime.shifted import shifted
from agent_runtime.vocabulary import Tokens, Vocabulary

F64 = npt.NDArray[np.float64]

#: Standard deviation of a bias before any session was seen: most shops differ by less than e to this.
PRIOR_DEVIATION = 0.7
#: Newton's method on a convex loss of some forty parameters is there after half a dozen steps.
_STEPS = 12
_SETTLED = 1e-6


@dataclass(frozen=True, slots=True)
class Adapter:
    """Biases of one storefront, in nats. moves (A + 1,): ``ACTIONS``, then leaving; pauses (PACES,)."""

    moves: F64
    pauses: F64


def adapted(backend: Backend | Rowwise, vocabulary: Vocabulary, adapter: Adapter) -> Backend | Rowwise:
    """Return a backend with a storefront's adapter on it."""
    bias = np.zeros(len(vocabulary), np.float32)
    ranges = {kind: slice(a - vocabulary.offset, b - vocabulary.offset) for kind, (a, b) in vocabulary.ranges.items()}
    bias[ranges["action"]] = adapter.moves[:-1]
    bias[vocabulary.leave - vocabulary.offset] = adapter.moves[-1]
    bias[ranges["pace"]] = adapter.pauses
    return shifted(backend, lambda tokens: bias)


def fit_adapter(
    backend: Backend, vocabulary: Vocabulary, rows: Sequence[Tokens], capabilities: Capabilities
) -> Adapter:
    """Return the adapter of a storefront from token rows of its past sessions; without any, all biases are zero."""
    return fit_biases(decisions(backend, vocabulary, rows, capabilities))


def fit_biases(seen: Decisions) -> Adapter:
    """Return the adapter of decisions that were read out already."""
    return Adapter(_fit(seen.moves), _fit(seen.pauses))


def _fit(choices: Choices) -> F64:
    """Return the biases (C,) that maximise likelihood times prior (Newton's method)."""
    size = choices.scores.shape[1]
    bias = np.zeros(size)
    precision = PRIOR_DEVIATION**-2
    wanted = np.bincount(choices.chosen, minlength=size).astype(np.float64)
    for _ in range(_STEPS):
        chances = choices.chances(bias)
        gradient = chances.sum(axis=0) - wanted + precision * bias
        curvature = np.diag(chances.sum(axis=0) + precision) - chances.T @ chances
        step = np.linalg.solve(curvature, gradient)
        bias -= step
        if np.abs(step).max() < _SETTLED:
            break
    return bias
