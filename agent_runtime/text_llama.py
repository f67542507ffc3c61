"""Reads text with the compiled small Llama: every shopper's sums in one order, whoever stands beside it.

A tree of answers is read depth first: a node's keys and values take the place of those of the branch read before, so
that what a node sees is the way to it and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent_runtime.backends import Scores
from agent_runtime.llama_step import advance
from agent_runtime.small_llama import F32, Weights, read_llama
from agent_runtime.text_form import TextForm
from agent_runtime.text_trie import Trie
from schemas.events import I64

#: Tokens that there is room for at first: few sessions are longer, and memory goes with the room.
_ROOM = 256


class TextLlama:
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
        deepest = int(trie.depth.max(initial=0))
        self._make_room(rows, int((self._length[rows] + lengths).max()) + deepest)
        logits = np.empty((len(rows), len(trie.branches)), np.float32)
        heads = {
            int(fork): np.ascontiguousarray(self._weights.head[:, trie.branches[first:end]])
            for fork, first, end in zip(trie.forks, trie.bounds[:-1], trie.bounds[1:], strict=True)
        }
        forks = {int(fork): slice(*trie.bounds[at : at + 2]) for at, fork in enumerate(trie.forks)}
        unread = np.empty((len(rows), 0), np.float32)
        for left in range(int(lengths.max()), 0, -1):  # the shorter begin later, all end together
            some = np.flatnonzero(lengths >= left)
            words = np.array([said[int(at)][-left] for at in some])
            if left > 1 or 0 not in forks:
                self._read(rows[some], words, self._length[rows[some]], unread, None)
            else:
                self._read(rows, words, self._length[rows], logits[:, forks[0]], heads[0])
            self._length[rows[some]] += 1
        for node, (token, depth) in enumerate(zip(trie.tokens, trie.depth, strict=True), start=1):
            head = heads.get(node)
            target = logits[:, forks[node]] if node in forks else unread
            self._read(rows, np.full(len(rows), token), self._length[rows] + depth - 1, target, head)
        return logits

    def _read(self, rows: I64, words: I64, positions: I64, target: F32, head: F32 | None) -> None:
        """Read a word of each row; write what ``head`` (D, b) says of the next to ``target`` (n, b)."""
        weights = self._weights if head is None else self._weights._replace(head=head)
        scores = np.empty((len(rows), 0 if head is None else head.shape[1]), np.float32)
        advance(
            weights, self._keys, self._values, words, self._slot[rows], positions, self._heads, self._epsilon, scores,
            head is not None,
        )  # fmt: skip
        if head is not None:
            target[:] = scores

    def _make_room(self, rows: I64, length: int) -> None:
        """Keep only what was said to ``rows``, with twice the room, once the room is too small."""
        room = self._values.shape[2]
        if length <= room:
            return
        wider, old = min(max(2 * room, length), self._longest), self._slot[rows]
        keys = np.empty((len(rows), *self._keys.shape[1:3], wider), np.float32)
        values = np.empty((len(rows), self._values.shape[1], wider, self._values.shape[3]), np.float32)
        keys[..., :room], values[:, :, :room] = self._keys[old], self._values[old]
        self._keys, self._values = keys, values
        self._slot[rows] = np.arange(len(rows))


class TextLlamas:
    """A small Llama as a maker of readers."""

    def __init__(self, weights: Weights, heads: int, epsilon: float, longest: int) -> None:
        self._parts, self._longest = (weights, heads, epsilon), longest

    def reader(self, shoppers: int) -> TextLlama:
        """Return a reader of so many shoppers."""
        return TextLlama(*self._parts, shoppers, self._longest)


def load_text_llama(folder: Path, form: TextForm) -> TextLlamas | None:
    """Return the model of a folder, None when it is of a kind that only transformers can run."""
    read = read_llama(folder, form.size, form.longest)
    return None if read is None else TextLlamas(*read, form.longest)
