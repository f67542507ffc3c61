"""A backend that knows of a change behind the checkout only once the checkout has begun.

A storefront's flags are in the prompt from the first move on, so a model told that there is no payment step would let
its shoppers put other things into the cart, which no shopper does: nobody has seen that step by then.
"""

from collections.abc import Sequence

import numpy as np

from agent_runtime.backends import Backend, Cast, Rowwise, Scores
from agent_runtime.vocabulary import Tokens, Vocabulary
from schemas.events import I32, I64

_BEGUN = "checkout_started"


def until_checkout(
    before: Backend | Rowwise, after: Backend | Rowwise, vocabulary: Vocabulary, flags: Sequence[int]
) -> Backend | Rowwise:
    """Return what decides by ``before``, told ``flags``, until a shopper's checkout begins, and by ``after`` from then.

    A backend that is not ``Rowwise`` keeps one row of tokens a shopper and cannot be told two stories: ``after`` alone
    is returned.
    """
    if not (isinstance(before, Rowwise) and isinstance(after, Rowwise)):
        return after
    return _UntilCheckout(before, after, vocabulary, flags)


class _UntilCheckout:
    def __init__(self, before: Rowwise, after: Rowwise, vocabulary: Vocabulary, flags: Sequence[int]) -> None:
        self._before, self._after = before, after
        self._flags = [vocabulary.id(f"<shop{group}:{bits}>") for group, bits in enumerate(flags)]
        self._begun = vocabulary.id(_BEGUN)

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        sides = self._before.cast(seed, agents, codes), self._after.cast(seed, agents, codes)
        return _Shoppers(*sides, np.array(self._flags), self._begun)


class _Shoppers:
    def __init__(self, before: Cast, after: Cast, flags: I64, begun: int) -> None:
        self._before, self._after, self._flags, self._begun = before, after, flags, begun

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        # All rows, also those whose turn has not come: a cast may lose rows, and gain none.
        scores = np.array(self._after.scores(tokens, rows), np.float32)
        browsing = ~(tokens[rows] == self._begun).any(axis=1)
        if browsing.any():
            told = tokens.copy()
            told[:, : len(self._flags)] = self._flags
            scores[browsing] = self._before.scores(told, rows[browsing])
        return scores
