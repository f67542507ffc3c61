"""The scripted simulator: a Markov chain of actions per buyer type that knows how long the session already is.

It needs no language model and is fitted in seconds, so it serves as fallback and as the line a model has to beat.
Counts of a type are smoothed towards those of all types (interpolation with a fixed prior weight, as in Jelinek and
Mercer 1980), which leaves rare types close to the crowd instead of certain about what they never did.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Kind, Scores, kind_at
from agent_runtime.storefront.actions import ACTIONS, MOMENTS, PACES
from agent_runtime.traces.traces import Traces
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from schemas.events import I32, I64
from schemas.taxonomy import DEVICES, REFERRERS

F32 = npt.NDArray[np.float32]

#: Bounds of the session's length so far, in actions: leaving depends on it.
LENGTH_BOUNDS = (2, 3, 4, 6, 9, 13, 20, 32)
#: Sessions' worth of the crowd's habits that every count starts from.
PRIOR = 8.0
_BUCKET = np.searchsorted(LENGTH_BOUNDS, np.arange(MAX_EVENTS + 2), side="right")
_BUCKETS = len(LENGTH_BOUNDS) + 1
_LEAVE = len(ACTIONS)


@dataclass(frozen=True, slots=True)
class MarkovChain:
    """Probabilities by buyer type; ``A`` actions, the last column is leaving. A ``Backend``.

    traits  device, referrer, moment (K, sizes) float32; first (K, A) float32; nxt (K, length buckets, A, A + 1);
    pace    (K, A, PACES): the pause before an action
    """

    vocabulary: Vocabulary
    device: F32
    referrer: F32
    moment: F32
    first: F32
    nxt: F32
    pace: F32

    def scores(self, tokens: Tokens) -> Scores:
        """Return log-probabilities of the next token; see ``Backend``."""
        vocabulary = self.vocabulary
        position = tokens.shape[1]
        code = tokens[:, vocabulary.prompt_length - 1] - vocabulary.id(f"<{vocabulary.code_paths[0]}>")
        action_at, action_end = vocabulary.ranges["action"]
        scores = np.full((len(tokens), len(vocabulary)), -np.inf, np.float32)

        def put(kind: str, probabilities: F32) -> None:
            first, end = (bound - vocabulary.offset for bound in vocabulary.ranges[kind])
            scores[:, first:end] = np.log(probabilities)

        def action_in(column: int) -> npt.NDArray[np.int64]:
            # A shopper who has left is padded on; what is said of it is not read.
            told = tokens[:, column]
            return np.where((told >= action_at) & (told < action_end), told - action_at, 0)

        match kind_at(position, vocabulary):
            case Kind.DEVICE:
                put("device", self.device[code])
            case Kind.REFERRER:
                put("referrer", self.referrer[code])
            case Kind.MOMENT:
                put("moment", self.moment[code])
            case Kind.FIRST:
                put("action", self.first[code])
            case Kind.PACE:
                put("pace", self.pace[code, action_in(position - 1)])
            case Kind.ACTION:
                since = position - vocabulary.prompt_length - 3
                taken = 1 + (since - 1) // 2
                before = action_in(position - 1 if taken == 1 else position - 2)
                chances = self.nxt[code, _BUCKET[min(taken, MAX_EVENTS)], before]
                put("action", chances[:, :_LEAVE])
                scores[:, vocabulary.leave - vocabulary.offset] = np.log(chances[:, _LEAVE])
        return scores

    def cast(self, seed: int, agents: I64, codes: I32) -> "_Walkers":
        """Return what decides for these shoppers; see ``Rowwise``."""
        return _Walkers(self)

    def save(self, path: Path) -> None:
        """Write the tables as one NumPy archive."""
        tables = {name: getattr(self, name) for name in ("device", "referrer", "moment", "first", "nxt", "pace")}
        np.savez_compressed(path, allow_pickle=False, **tables)

    @staticmethod
    def load(path: Path, vocabulary: Vocabulary) -> "MarkovChain":
        """Return the chain of ``save``."""
        with np.load(path, allow_pickle=False) as tables:
            return MarkovChain(vocabulary, **{name: tables[name] for name in tables.files})


class _Walkers:
    """A ``Cast``: the chain keeps nothing of anybody."""

    def __init__(self, chain: MarkovChain) -> None:
        self._chain = chain

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the chain's scores of the rows still in the shop."""
        return self._chain.scores(tokens[rows])


def fit_markov(traces: Traces, vocabulary: Vocabulary) -> MarkovChain:
    """Count the traces into a chain. Every count is positive after smoothing, so that masks can take any move away."""
    steps, codes = traces.steps, len(vocabulary.code_paths)
    lengths = np.diff(steps.offsets)
    code = np.repeat(traces.code, lengths).astype(np.int64)
    place = np.arange(len(code)) - np.repeat(steps.offsets[:-1], lengths)
    action = steps.action.astype(np.int64)
    following = np.append(action[1:], _LEAVE)
    following[steps.offsets[1:] - 1] = _LEAVE
    bucket = _BUCKET[np.minimum(place + 1, MAX_EVENTS)]
    later = place > 0

    actions = len(ACTIONS)
    nxt = np.zeros((codes, _BUCKETS, actions, actions + 1))
    np.add.at(nxt, (code, bucket, action, following), 1.0)
    pace = np.zeros((codes, actions, PACES))
    np.add.at(pace, (code[later], action[later], steps.pace[later]), 1.0)
    first = np.zeros((codes, actions))
    np.add.at(first, (traces.code, action[steps.offsets[:-1]]), 1.0)
    return MarkovChain(
        vocabulary,
        device=_smooth(_count(traces.code, steps.device, codes, len(DEVICES))),
        referrer=_smooth(_count(traces.code, steps.referrer, codes, len(REFERRERS))),
        moment=_smooth(_count(traces.code, steps.moment, codes, MOMENTS)),
        first=_smooth(first),
        # A type's habit at a length leans on its habit at any length, and that on the crowd's.
        nxt=_normal(nxt + PRIOR * _smooth(nxt.sum(axis=1))[:, None]),
        pace=_smooth(pace),
    )


def _count(code: npt.NDArray[np.int32], value: npt.NDArray[np.uint8], codes: int, size: int) -> npt.NDArray[np.float64]:
    table = np.zeros((codes, size))
    np.add.at(table, (code, value), 1.0)
    return table


def _smooth(counts: npt.NDArray[np.float64]) -> F32:
    """Return probabilities over the last axis, each type (first axis) leaning on all types together."""
    crowd = counts.sum(axis=0) + 1.0 / counts.shape[-1]
    return _normal(counts + PRIOR * crowd / crowd.sum(axis=-1, keepdims=True))


def _normal(weights: npt.NDArray[np.float64]) -> F32:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)
