"""All answers that are on offer as one tree of tokens: decoding that can leave the list at no point.

An answer's log-probability is the sum over the tree's forks on its way, each fork a softmax over its own branches
alone; that is sampling token by token with everything else masked out, told for all answers at once. Where only one
branch goes on nothing is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Scores
from agent_runtime.errors import ModelError
from schemas.events import I64

_Answer = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trie:
    """``C`` answers; ``N`` nodes that must be read besides the root, depth first; ``K`` forks with ``E`` branches.

    tokens   (N,) token that leads to a node; depth (N,) how many lie before it, itself included
    inside   (N, N) bool, whether the column's node lies on the way to the row's, itself included
    forks    (K,) node + 1 of every fork, 0 for the root
    bounds   (K + 1,) where a fork's branches begin among ``branches`` (E,), the tokens that may follow it
    ways     (C, D) the branches on the way to each answer, filled up with -1
    """

    tokens: I64
    depth: I64
    inside: npt.NDArray[np.bool_]
    forks: I64
    bounds: I64
    branches: I64
    ways: I64

    @staticmethod
    def of(answers: Sequence[_Answer]) -> "Trie":
        """Return the tree of token sequences. Raises ModelError when one is where another one begins."""
        ordered = sorted(answers)
        for first, second in pairwise(ordered):
            if second[: len(first)] == first:
                raise ModelError("The tokenizer writes two answers alike; choose another base model.")
        following: dict[_Answer, list[int]] = {}
        for answer in ordered:
            for end, token in enumerate(answer):
                branches = following.setdefault(answer[:end], [])
                if token not in branches:
                    branches.append(token)
        forks = sorted(node for node, branches in following.items() if len(branches) > 1)
        nodes = sorted({fork[:end] for fork in forks for end in range(1, len(fork) + 1)})  # sorted: depth first
        edges = [(*fork, token) for fork in forks for token in following[fork]]
        ways = [[at for at, edge in enumerate(edges) if answer[: len(edge)] == edge] for answer in answers]
        longest = max(map(len, ways))
        return Trie(
            tokens=np.array([node[-1] for node in nodes], np.int64),
            depth=np.array([len(node) for node in nodes], np.int64),
            inside=np.array([[row[: len(node)] == node for node in nodes] for row in nodes], bool).reshape(
                len(nodes), len(nodes)
            ),
            forks=np.array([nodes.index(fork) + 1 if fork else 0 for fork in forks], np.int64),
            bounds=np.cumsum([0, *(len(following[fork]) for fork in forks)]),
            branches=np.array([edge[-1] for edge in edges], np.int64),
            ways=np.array([way + [-1] * (longest - len(way)) for way in ways], np.int64),
        )

    def chances(self, logits: Scores) -> Scores:
        """Return log-probabilities (n, C) of the answers from the branches' logits (n, E), row by row."""
        return np.asarray(_along(np.ascontiguousarray(logits, np.float32), self.bounds, self.ways))


@nb.njit(cache=True, nogil=True)
def _along(logits: Scores, bounds: I64, ways: I64) -> Scores:
    scores = np.zeros((len(logits), len(ways)), np.float32)
    line = np.empty(logits.shape[1])
    for row in range(len(logits)):
        for fork in range(len(bounds) - 1):
            first, end = bounds[fork], bounds[fork + 1]
            peak, total = logits[row, first:end].max(), 0.0
            for at in range(first, end):
                total += np.exp(float(logits[row, at] - peak))
            for at in range(first, end):
                line[at] = float(logits[row, at] - peak) - np.log(total)
        for answer in range(len(ways)):
            for at in ways[answer]:
                if at >= 0:
                    scores[row, answer] += line[at]
    return scores
