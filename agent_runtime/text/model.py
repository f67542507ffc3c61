"""A language model that reads sessions as text as a simulation's backend: scores of all moves and pauses, as JSON.

Device, referrer and moment are the scripted chain's, as they are for a model behind an endpoint: the model is told them
in its first message. It is asked for every move, then for the pause before it. What the storefront does not serve is
masked by the walk like any other backend's wishes, so that only moves on offer are ever made.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from agent_runtime.backends import Cast, Kind, Scores, kind_at
from agent_runtime.errors import ModelError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.text.form import Teller, TextForm
from agent_runtime.text.trie import Trie
from agent_runtime.vocabulary import Tokens, Vocabulary
from schemas.events import I32, I64

#: The tokenizer's file beside the model's own.
TOKENIZER_FILE = "tokenizer.json"
#: Log-probability of what cannot come at a position: a word of another kind.
_UNTOLD = -60.0


class TextReader(Protocol):
    """Reads on where it stopped, for certain shoppers; for one thread at a time."""

    def ask(self, rows: I64, said: Sequence[Sequence[int]], trie: Trie) -> Scores:
        """Read what was ``said`` to each of ``rows`` (n,) since the last time, and return the branches' logits (n, E).

        ``said`` holds at least one token a row; ``rows`` are rising, and always some of those of the call before.
        """
        ...


class Readers(Protocol):
    """A language model."""

    def reader(self, shoppers: int) -> TextReader:
        """Return a reader of shoppers 0 to ``shoppers - 1``."""
        ...


class TextModel:
    """A ``Backend``. Whoever has left is read no more, so that sums may differ in their last bits with who is there."""

    def __init__(self, readers: Readers, form: TextForm, chain: MarkovChain) -> None:
        self.readers, self.form, self.chain = readers, form, chain
        self._told: Tokens = np.empty((0, 0), np.int64)
        self._cast: _Reading | None = None

    def scores(self, tokens: Tokens) -> Scores:
        """Return log-probabilities of the next token, (B, V) float32; see ``Backend``."""
        goes_on = tokens.shape[1] == self._told.shape[1] + 1 and np.array_equal(tokens[:, :-1], self._told)
        if self._cast is None or not goes_on:
            self._cast = _Reading(self, len(tokens))
        self._told = tokens.copy()
        words = self.form.vocabulary
        scores = np.full((len(tokens), len(words)), _UNTOLD, np.float32)
        here = np.flatnonzero((tokens[:, -1] != words.pad) & (tokens[:, -1] != words.leave))
        if len(here):
            scores[here] = self._cast.scores(tokens, here)
        return scores


class RowwiseTextModel(TextModel):
    """A ``Rowwise`` backend: its readers answer a row by that row alone, to the last bit."""

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers; see ``Rowwise``."""
        return _Reading(self, len(agents))


class _Reading:
    """A ``Cast``: what was drawn in the compact words is put into text, and the text is read."""

    def __init__(self, model: TextModel, shoppers: int) -> None:
        self._model, self._reader = model, model.readers.reader(shoppers)
        self._tellers = [Teller(model.form) for _ in range(shoppers)]
        self._unread: list[list[int]] = [[] for _ in range(shoppers)]
        self._columns = 0

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the scores of the rows still in the shop; see ``Cast``."""
        form = self._model.form
        words, position = form.vocabulary, tokens.shape[1]
        for column in range(self._columns, position):
            for row in rows:
                self._unread[row] += self._tellers[row].add(tokens[row, : column + 1], column)
        self._columns = position
        kind = kind_at(position, words)
        if kind not in (Kind.FIRST, Kind.ACTION, Kind.PACE):
            return self._model.chain.scores(tokens[rows])
        trie = form.pauses_trie if kind is Kind.PACE else form.moves_trie
        chances = trie.chances(self._reader.ask(rows, [self._unread[row] for row in rows], trie))
        for row in rows:
            self._unread[row] = []
        scores = np.full((len(rows), len(words)), _UNTOLD, np.float32)
        first, end = (bound - words.offset for bound in words.ranges["pace" if kind is Kind.PACE else "action"])
        scores[:, first:end] = chances[:, : end - first]
        if kind is not Kind.PACE:
            scores[:, words.leave - words.offset] = chances[:, -1]
        return scores


def load_text_model(folder: Path, vocabulary: Vocabulary, chain: MarkovChain) -> TextModel:
    """Return the backend of a saved text model, without torch if small. Raises ModelError when it cannot be read."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ModelError(f"{folder / TOKENIZER_FILE}: no tokenizer ({error}); finetune anew.") from error
    form = TextForm(tokenizer, vocabulary)
    from agent_runtime.text.llama_reader import load_text_llama

    if (small := load_text_llama(folder, form)) is not None:
        return RowwiseTextModel(small, form, chain)
    from agent_runtime.text.torch_reader import load_text_torch

    return TextModel(load_text_torch(folder), form, chain)
