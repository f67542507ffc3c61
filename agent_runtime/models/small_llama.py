"""The default language model without torch: a small Llama compiled, its cache kept by shopper.

A step of the model made here is some 120 000 multiplications a shopper. torch spends most of its time around them, and
its matrix products differ in their last bits with the number of rows. Here every row is summed up in the same order by
the same instructions, whatever stands beside it (``Rowwise``), and shoppers who have left cost nothing.
"""

from pathlib import Path

import numpy as np

from agent_runtime.backends import Cast, Scores
from agent_runtime.models.llama_step import advance, speak
from agent_runtime.models.llama_weights import Weights, read_llama
from agent_runtime.vocabulary import Tokens, Vocabulary
from schemas.events import I32, I64


class SmallLlama:
    """A ``Rowwise`` backend, also a plain ``Backend`` for one thread at a time."""

    def __init__(self, weights: Weights, heads: int, epsilon: float, vocabulary: Vocabulary) -> None:
        self.weights, self.heads, self.epsilon, self.vocabulary = weights, heads, epsilon, vocabulary
        self._told: Tokens = np.empty((0, 0), np.int64)
        self._reader: _Reader | None = None

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers; see ``Rowwise``."""
        return _Reader(self, len(agents))

    def scores(self, tokens: Tokens) -> Scores:
        """Return log-probabilities of the next token, (B, V) float32; see ``Backend``."""
        goes_on = tokens.shape[1] == self._told.shape[1] + 1 and np.array_equal(tokens[:, :-1], self._told)
        if self._reader is None or not goes_on:
            self._reader = _Reader(self, len(tokens))
        self._told = tokens.copy()
        return self._reader.scores(tokens, np.arange(len(tokens)))


class _Reader:
    """A ``Cast``: keys (B, L, D, T) and values (B, L, T, D) of all that was said to ``B`` shoppers."""

    def __init__(self, model: SmallLlama, shoppers: int) -> None:
        layers, width, longest = len(model.weights.qkv), model.weights.embed.shape[1], model.vocabulary.longest
        self._model, self._read = model, 0
        self._keys = np.empty((shoppers, layers, width, longest), np.float32)
        self._values = np.empty((shoppers, layers, longest, width), np.float32)

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the scores of the rows still in the shop; see ``Cast``."""
        said = tokens - self._model.vocabulary.offset if self._model.vocabulary.offset else tokens
        if self._read == 0 and len(rows) > 1:
            return self._begun(said, rows)
        return self._on(said, rows)

    def _begun(self, said: Tokens, rows: I64) -> Scores:
        """Read equal beginnings once: shoppers of one type share theirs."""
        _, first, which = np.unique(said[rows], axis=0, return_index=True, return_inverse=True)
        scores = self._on(said, rows[first])
        source = rows[first][which.ravel()]
        self._keys[rows, :, :, : self._read] = self._keys[source, :, :, : self._read]
        self._values[rows, :, : self._read] = self._values[source, :, : self._read]
        return scores[which.ravel()]

    def _on(self, said: Tokens, rows: I64) -> Scores:
        model = self._model
        scores = np.empty((len(rows), model.weights.head.shape[1]), np.float32)
        hidden = np.empty((len(rows), model.weights.embed.shape[1]), np.float32)
        for position in range(self._read, said.shape[1]):
            words = np.ascontiguousarray(said[rows, position])
            advance(
                model.weights, self._keys, self._values, words, rows, np.full(len(rows), position), model.heads,
                np.float32(model.epsilon), hidden,
            )  # fmt: skip
        speak(hidden, model.weights.head, scores)
        self._read = said.shape[1]
        return scores


def load_small_llama(folder: Path, vocabulary: Vocabulary) -> SmallLlama | None:
    """Return the model of a folder, None when it is of a kind that only transformers can run."""
    read = None if vocabulary.offset else read_llama(folder, len(vocabulary), vocabulary.longest)
    return None if read is None else SmallLlama(*read, vocabulary)
