"""Reads text with the compiled small Llama: every shopper's sums in one order, whoever stands beside it.

A tree of answers is read depth first: a node's keys and values take the place of those of the branch read before, so
that what a node sees is the way to it and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path

import numba as nb
import numpy as np

from agent_runtime.backends import Scores
from agent_runtime.errors import ModelError
from agent_runtime.models.llama_step import BLOCK, advance
from agent_runtime.models.llama_weights import F32, Weights, read_llama
from agent_runtime.text.form import TextForm
from agent_runtime.text.trie import Trie
from schemas.events import I64

#: Tokens that there is room for at first: few sessions are longer, and memory goes with the room.
_ROOM = 256


class LlamaReader:
    """A ``TextReader`` of any number of shoppers, from their arrival to their leaving; for one thread at a time.

    Keys (S, L, D, T) and values (S, L, T, D) of the ``S`` shoppers that were there when room was last made.
    """

    def __init__(self, weights: Weights, heads: int, epsilon: float, shoppers: int, longest: int) -> None:
        self._weights, self._heads, self._epsilon, self._longest = weights, heads, np.float32(epsilon), longest
        self._length = np.zeros(shoppers, np.int64)
        self._slot = np.arange(shoppers)
        layers, width, room = len(weights.qkv), weights.embed.shape[1], min(_ROOM, longest)
        self._keys = np.empty((shoppers, layers, width, room), np.float32)
        self._values = np.empty((shoppers, layers, room, width), np.float32)

    def ask(self, rows: I64, said: Sequence[Sequence[int]], trie: Trie) -> Scores:
        """Return the logits of the tree's branches (n, E); see ``TextReader``."""
        lengths = np.array([len(text) for text in said])
        self._make_room(rows, int((self._length[rows] + lengths).max()) + int(trie.depth.max(initial=0)))
        words = np.zeros((len(rows), int(lengths.max())), np.int64)
        for place, text in enumerate(said):
            words[place, : len(text)] = text
        head = np.ascontiguousarray(self._weights.head[:, trie.branches])
        logits = np.zeros((len(rows), len(trie.branches)), np.float32)
        read_tree(
            self._weights, head, self._keys, self._values, words, lengths, self._slot[rows],
            self._length[rows], trie.tokens, trie.depth, trie.forks, trie.bounds, self._heads, self._epsilon, logits,
        )  # fmt: skip
        self._length[rows] += lengths
        return logits

    def _make_room(self, rows: I64, length: int) -> None:
        """Keep only what was said to ``rows``, with twice the room, once the room is too small. Raises ModelError."""
        room = self._values.shape[2]
        if length <= room:
            return
        if length > self._longest:
            raise ModelError(f"A session as text has over {self._longest} tokens, too many to be read.")
        wider, old = min(max(2 * room, length), self._longest), self._slot[rows]
        keys = np.empty((len(rows), *self._keys.shape[1:3], wider), np.float32)
        values = np.empty((len(rows), self._values.shape[1], wider, self._values.shape[3]), np.float32)
        keys[..., :room], values[:, :, :room] = self._keys[old], self._values[old]
        self._keys, self._values = keys, values
        self._slot[rows] = np.arange(len(rows))


@nb.njit(cache=True, nogil=True)
def read_tree(
    weights: Weights, head: F32, keys: F32, values: F32, words: I64, lengths: I64, slots: I64, starts: I64,
    tokens: I64, depth: I64, forks: I64, bounds: I64, heads: int, epsilon: np.float32, logits: F32,
) -> None:  # fmt: skip
    """Read ``words`` (n, W), of which ``lengths`` (n,) count, then a tree of answers; add its branches' logits (n, E).

    slots, starts  (n,) where each row's keys and values are, and how many of them
    head           (D, E) the columns of the branches' tokens; tokens, depth, forks, bounds as in ``Trie``

    A few rows go through everything before the next, so that their keys and values are still near.
    """
    for first in range(0, len(words), BLOCK):
        end = min(first + BLOCK, len(words))
        block, last = np.arange(first, end), starts[first:end] + lengths[first:end]
        hidden = np.empty((end - first, head.shape[0]), np.float32)
        for left in range(lengths[first:end].max(), 0, -1):  # the shorter begin later, all end together
            some = block[lengths[first:end] >= left]
            said = np.array([words[row, lengths[row] - left] for row in some])
            places = starts[some] + lengths[some] - left
            advance(weights, keys, values, said, slots[some], places, heads, epsilon, hidden)
        fork = 0
        for node in range(len(tokens) + 1):
            if node:
                said, places = np.full(end - first, tokens[node - 1]), last + depth[node - 1] - 1
                advance(weights, keys, values, said, slots[first:end], places, heads, epsilon, hidden)
            if fork < len(forks) and forks[fork] == node:
                for row in range(end - first):
                    for at in range(head.shape[0]):
                        for branch in range(bounds[fork], bounds[fork + 1]):
                            logits[first + row, branch] += hidden[row, at] * head[at, branch]
                fork += 1


class LlamaReaders:
    """A small Llama as a maker of readers."""

    def __init__(self, weights: Weights, heads: int, epsilon: float, longest: int) -> None:
        self._parts, self._longest = (weights, heads, epsilon), longest

    def reader(self, shoppers: int) -> LlamaReader:
        """Return a reader of so many shoppers."""
        return LlamaReader(*self._parts, shoppers, self._longest)


def load_text_llama(folder: Path, form: TextForm) -> LlamaReaders | None:
    """Return the model of a folder, None when it is of a kind that only transformers can run."""
    read = read_llama(folder, form.size, form.longest)
    return None if read is None else LlamaReaders(*read, form.longest)
