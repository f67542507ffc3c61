"""A storefront adapter: what a merchant's own past sessions say that the simulator's weights cannot know.

One bias per action, one for leaving and one per pause, fitted in a second by penalised maximum likelihood on the
scores of the frozen backend (a multinomial logit with an offset; the penalty is a normal prior on the biases). Actions
of one event lean on each other, as far as the sessions do not speak against it. It shifts how a whole shop behaves and
knows nothing of buyer types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.errors import ModelError, PopulationError
from agent_runtime.models.decisions import Choices, Decisions, decisions
from agent_runtime.newton import least
from agent_runtime.shifted import shifted
from agent_runtime.storefront.actions import ACTIONS, PACES
from agent_runtime.storefront.capabilities import Capabilities
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.behaviour import EVENT_OF_ACTION
from agent_runtime.traces.held_out import record
from agent_runtime.traces.traces import token_rows
from agent_runtime.vocabulary import Tokens, Vocabulary
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviation of an event's bias, and of a pause's, before any session was seen: most shops differ by less than
#: e to this.
DEVIATION = 0.7
#: Standard deviations of an action's bias around its event's: the likeliest of these holds.
ACTION_DEVIATIONS = (0.1, 0.2, 0.3, 0.5, 0.7)
#: The same where actions of one event may hardly differ: ten biases for thirty actions.
EVENTS_ALONE = (0.01,)
#: Events of the moves, leaving being an event of its own.
_EVENTS = np.append(EVENT_OF_ACTION, 0)
#: A shop like those seen takes half a dozen steps, one unlike any of them some more.
_STEPS = 50
_SETTLED = 1e-6
#: Sessions that say enough: the 1 200 of a generated merchant's past half said more than 400 of them (docs/log.md).
MOST_SESSIONS = 2_000


@dataclass(frozen=True, slots=True)
class Adapter:
    """Biases of one storefront, in nats. moves (A + 1,): ``ACTIONS``, then leaving; pauses (PACES,)."""

    moves: F64
    pauses: F64

    def to_json(self) -> dict[str, list[float]]:
        """Return the biases for a manifest, to the last bit."""
        return {"moves": self.moves.tolist(), "pauses": self.pauses.tolist()}

    @staticmethod
    def of(told: Mapping[str, Any]) -> "Adapter":
        """Return the adapter of a manifest. Raises PopulationError when it is none."""
        try:
            found = Adapter(np.array(told["moves"], np.float64), np.array(told["pauses"], np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise PopulationError(f"The manifest's storefront adapter cannot be read ({error!r}).") from error
        if found.moves.shape != (len(ACTIONS) + 1,) or found.pauses.shape != (PACES,):
            raise PopulationError("The manifest's storefront adapter is of another release: it has other actions.")
        return found


def adapted(backend: Backend | Rowwise, vocabulary: Vocabulary, adapter: Adapter) -> Backend | Rowwise:
    """Return a backend with a storefront's adapter on it."""
    bias = np.zeros(len(vocabulary), np.float32)
    ranges = {kind: slice(a - vocabulary.offset, b - vocabulary.offset) for kind, (a, b) in vocabulary.ranges.items()}
    bias[ranges["action"]] = adapter.moves[:-1]
    bias[vocabulary.leave - vocabulary.offset] = adapter.moves[-1]
    bias[ranges["pace"]] = adapter.pauses
    return shifted(backend, lambda tokens: bias)


def spread(count: int, most: int) -> I64:
    """Return at most ``most`` of ``count`` places (at least one), evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def learn_adapter(backend: Backend, vocabulary: Vocabulary, log: SessionLog, encoder: Encoder, shop: Shop) -> Adapter:
    """Return the adapter of a storefront from its own sessions in a log: ``MOST_SESSIONS`` of them, evenly spread.

    Raises PopulationError when the log has none of them, ModelError when the encoder speaks of another codebook.
    """
    if encoder.version != vocabulary.codebook_version:
        raise ModelError(
            f"The simulator knows codebook {vocabulary.codebook_version}, the encoder is {encoder.version}; name the "
            "one that the simulator was made with (SIMPERSONA_ENCODER)."
        )
    merchants = np.array(log.merchants)
    rows = np.flatnonzero((merchants == shop.merchant_id)[log.merchant])
    if not len(rows):
        raise PopulationError(f"The log has no session of {shop.merchant_id} to adapt to; name its own with --events.")
    traces = record(log.select(rows[spread(len(rows), MOST_SESSIONS)]), encoder).traces
    flags = [shop.capabilities.flags()] * len(merchants)
    return fit_adapter(backend, vocabulary, token_rows(traces, vocabulary, flags), shop.capabilities)


def fit_adapter(
    backend: Backend, vocabulary: Vocabulary, rows: Sequence[Tokens], capabilities: Capabilities
) -> Adapter:
    """Return the adapter of a storefront from token rows of its past sessions; without any, all biases are zero."""
    return fit_biases(decisions(backend, vocabulary, rows, capabilities))


def fit_biases(seen: Decisions, deviations: Sequence[float] = ACTION_DEVIATIONS) -> Adapter:
    """Return the adapter of decisions that were read out already; the likeliest of ``deviations`` holds."""
    fits: list[_Fit] = []
    for own in deviations:
        fits.append(_fit(seen.moves, _move_prior(own), fits[-1].bias if fits else None))
    pauses = _fit(seen.pauses, DEVIATION**2 * np.eye(PACES))
    return Adapter(max(fits, key=lambda fit: fit.evidence).bias, pauses.bias)


def _move_prior(own: float) -> F64:
    """Return the covariance of the moves' biases, (A + 1, A + 1): an event's, and ``own`` around it."""
    return np.asarray(DEVIATION**2 * (_EVENTS[:, None] == _EVENTS) + own**2 * np.eye(len(_EVENTS)))


class _Fit(NamedTuple):
    """Biases (C,), and the logarithm of what the choices are worth under their prior (Laplace's approximation)."""

    bias: F64
    evidence: float


def _fit(choices: Choices, prior: F64, start: F64 | None = None) -> _Fit:
    """Return the biases that maximise likelihood times a normal prior of covariance ``prior`` (C, C).

    ``start`` (C,) is where to look first.
    """
    size = choices.scores.shape[1]
    precision = np.linalg.inv(prior)
    wanted = np.bincount(choices.chosen, minlength=size).astype(np.float64)

    def loss(bias: F64) -> float:
        return float(choices.losses(bias).sum()) + 0.5 * float(bias @ precision @ bias)

    def curvature(chances: F64) -> F64:
        return np.asarray(np.diag(chances.sum(axis=0)) - chances.T @ chances + precision)

    def step(bias: F64) -> F64:
        chances = choices.chances(bias)
        gradient = chances.sum(axis=0) - wanted + precision @ bias
        return np.asarray(np.linalg.solve(curvature(chances), -gradient))

    bias = least(np.zeros(size) if start is None else start, loss, step, _STEPS, _SETTLED)
    narrowed = np.linalg.slogdet(curvature(choices.chances(bias)) @ prior).logabsdet
    return _Fit(bias, -loss(bias) - 0.5 * float(narrowed))
