"""The supervised ceiling: classifiers that are told the planted types of the training merchants.

Two of them, asked about merchants they have not seen: gradient boosting on hand-made features, one model for every
length of beginning, and a recurrent network over the same tokens as the encoder, trained on random beginnings. The
better of the two at a length is the ceiling there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from bench.encoder_world import Part, World
from encoders.batches import BEGINNING_SHARE
from encoders.feature_spec import CONTEXT_WIDTH, SUMMARY_WIDTH, TOKEN_WIDTH
from encoders.features import Bools, described_features, session_features
from encoders.metrics import nmi
from encoders.model import SUMMARY_LIMIT
from schemas.events import I64

#: Beginnings that are asked about, in events.
PREFIXES = (2, 3, 5, 10)
#: Sessions that a type needs at a length to be learnt by boosting: with a handful of one type its trees diverge.
LEAST_OF_TYPE = 50
_DESCRIBED = SUMMARY_WIDTH + CONTEXT_WIDTH
_BATCH, _WIDTH, _LEARNING_RATE = 512, 96, 3e-3


@dataclass(frozen=True, slots=True)
class Ceiling:
    """NMI of both classifiers on the unseen merchants by length of beginning; 0 stands for whole sessions."""

    boosting: dict[int, float]
    network: dict[int, float]

    def best(self, length: int) -> float:
        """Return the better of the two."""
        return max(self.boosting[length], self.network[length])


def measure_ceiling(world: World, rounds: int, epochs: int, seed: int, say: Callable[[str], None]) -> Ceiling:
    """Train both classifiers and return how well they do; ``rounds`` of boosting, ``epochs`` of the network."""
    known = world.training.known()
    say("a recurrent classifier that is told the types")
    network = _train_network(known, epochs, seed)
    boosting: dict[int, float] = {}
    recurrent: dict[int, float] = {}
    for length in (0, *PREFIXES):
        say(f"gradient boosting that is told the types, {f'first {length} events' if length else 'whole sessions'}")
        seen, asked = known.at_least(length), world.unseen.at_least(length)
        boosting[length] = nmi(_boosted(seen, asked, length, rounds, seed), asked.types)
        recurrent[length] = nmi(_classify(network, asked, shown(asked, length), length == 0), asked.types)
    return Ceiling(boosting, recurrent)


def shown(part: Part, length: int) -> I64:
    """Return how many events of each session are shown, (n,): the first ``length``, all of them for 0."""
    return part.log.lengths if length == 0 else np.minimum(part.log.lengths, length)


def _described(part: Part, length: int) -> np.ndarray:
    return described_features(part.log.events, part.log.starts, shown(part, length))


def _boosted(seen: Part, asked: Part, length: int, rounds: int, seed: int) -> I64:
    model = HistGradientBoostingClassifier(max_iter=rounds, early_stopping=False, random_state=seed)
    often = np.bincount(seen.types)[seen.types] >= LEAST_OF_TYPE
    if not often.any():
        often[:] = True
    model.fit(_described(seen, length)[often], seen.types[often])
    return np.asarray(model.predict(_described(asked, length)), np.int64)


class _Classifier(nn.Module):
    """A GRU over tokens, joined with summary and context; scores of the planted types."""

    mean: Tensor
    scale: Tensor

    def __init__(self, described: np.ndarray, types: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(described.mean(0)))
        self.register_buffer("scale", torch.from_numpy(1.0 / np.maximum(described.std(0), 1e-2)))
        self.gru = nn.GRU(TOKEN_WIDTH, _WIDTH)
        self.join = nn.Linear(_WIDTH + _DESCRIBED, _WIDTH)
        self.score = nn.Linear(_WIDTH, types)

    def forward(self, part: Part, rows: I64, lengths: I64, ended: Bools) -> Tensor:
        """Return scores (B, types) of the first ``lengths`` (B,) events of sessions ``rows`` (B,), ``ended`` or not."""
        features = session_features(part.log.events, part.log.starts[rows], lengths, ended)
        counts = torch.from_numpy(lengths + ended)
        _, state = self.gru(pack_padded_sequence(torch.from_numpy(features.tokens), counts, enforce_sorted=False))
        described = torch.from_numpy(np.concatenate([features.summaries, features.contexts], axis=1))
        standardised = ((described - self.mean) * self.scale).clamp(-SUMMARY_LIMIT, SUMMARY_LIMIT)
        return torch.as_tensor(self.score(functional.relu(self.join(torch.cat([state[0], standardised], dim=-1)))))


def _train_network(part: Part, epochs: int, seed: int) -> _Classifier:
    random = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _Classifier(_described(part, 0), int(part.types.max()) + 1)
    types = torch.from_numpy(part.types)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    batches = max(len(types) // _BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=epochs * batches)
    for _ in range(epochs):
        for rows in np.array_split(random.permutation(len(types)), batches):
            lengths = part.log.lengths[rows]
            partial = random.random(len(rows)) < BEGINNING_SHARE
            optimiser.zero_grad()
            read = np.where(partial, random.integers(1, lengths + 1), lengths)
            scores = model(part, rows, read, ~partial)
            functional.cross_entropy(scores, types[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def _classify(model: _Classifier, part: Part, lengths: I64, ended: bool) -> I64:
    parts: Sequence[Tensor] = [
        model(part, rows, lengths[rows], np.full(len(rows), ended)).argmax(-1)
        for rows in np.array_split(np.arange(len(lengths)), max(len(lengths) // _BATCH, 1))
    ]
    return np.asarray(torch.cat(list(parts)).numpy(), np.int64)
