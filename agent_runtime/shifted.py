"""A backend whose scores are moved row by row, by what is known of a storefront: ``Rowwise`` if it was."""

from collections.abc import Callable

import numpy as np

from agent_runtime.backends import Backend, Cast, Rowwise, Scores
from agent_runtime.vocabulary import Tokens
from schemas.events import I32, I64

#: Returns what is added to the scores of some rows of tokens, (n, V) or (V,) for all of them.
Shift = Callable[[Tokens], Scores]


def shifted(backend: Backend | Rowwise, shift: Shift) -> Backend | Rowwise:
    """Return a backend that adds ``shift`` to every row's scores; it must depend on that row's tokens alone."""
    return _ShiftedRows(backend, shift) if isinstance(backend, Rowwise) else _Shifted(backend, shift)


class _Shifted:
    def __init__(self, backend: Backend, shift: Shift) -> None:
        self._backend, self._shift = backend, shift

    def scores(self, tokens: Tokens) -> Scores:
        return np.asarray(self._backend.scores(tokens) + self._shift(tokens), np.float32)


class _ShiftedRows:
    def __init__(self, backend: Rowwise, shift: Shift) -> None:
        self._backend, self._shift = backend, shift

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        return _ShiftedCast(self._backend.cast(seed, agents, codes), self._shift)


class _ShiftedCast:
    def __init__(self, cast: Cast, shift: Shift) -> None:
        self._cast, self._shift = cast, shift

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        return np.asarray(self._cast.scores(tokens, rows) + self._shift(tokens[rows]), np.float32)
