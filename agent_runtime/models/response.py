"""How each buyer type answers to a storefront's conditions: shifts of the log-odds of its moves, linear in them.

The language model knows what each type does; from its scores as an offset, one hierarchical multinomial logit (McFadden
1974) learns what prices, banners, checkouts, lists and waits change of it. Linear, because a few hundred storefronts
cannot teach more, and because what was not seen (a tenth dearer than ever) must still have an answer. Types lean on
what they have in common as far as their own sessions leave them unsure.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.errors import ModelError
from agent_runtime.shifted import shifted
from agent_runtime.storefront.capabilities import FLAG_GROUPS
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.behaviour import EVENT_OF_ACTION
from agent_runtime.vocabulary import Vocabulary
from schemas.events import I64
from schemas.taxonomy import EVENT_NAMES

F64 = npt.NDArray[np.float64]

#: What is answered to, in this order.
FEATURES = ("log_price_level", "free_shipping", "no_payment_step", "disorder", "page_delay_s")
#: What is shifted: events but the unknown one, then leaving.
OUTCOMES = len(EVENT_NAMES)
LEAVING = OUTCOMES - 1
#: Outcome of each of ``ACTIONS``, (A,).
OUTCOME_OF_ACTION: I64 = np.asarray(EVENT_OF_ACTION, np.int64) - 1


def features(shop: Shop) -> F64:
    """Return a storefront's ``FEATURES``, (X,)."""
    told = shop.conditions
    short = "payment_info_submitted" not in shop.capabilities.events
    return np.array(
        [math.log(told.price_level), float(told.free_shipping), float(short), 1.0 - told.ranking, told.page_delay_s]
    )


def types_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the names of the coarse types, in the order of their words."""
    return tuple(dict.fromkeys(sorted(path.partition(".")[0] for path in vocabulary.code_paths)))


@dataclass(frozen=True)
class Response:
    """Coefficients of ``K`` types and ``C`` codes.

    centre   (X,) the mean storefront, where nothing is shifted
    shifts   (K, X, E) nats per unit of each feature
    mix      (C, X) nats of a code's share per unit of each feature
    spread, mix_spread  (K * X * E, R), (C * X, R') float32: roots of their covariances, spread @ spread.T

    Types are read off finished sessions, so a change also moves shoppers between them: see ``simulators.mix_fit``.
    """

    centre: F64
    shifts: F64
    mix: F64
    spread: npt.NDArray[np.float32]
    mix_spread: npt.NDArray[np.float32]

    def at(self, shop: Shop) -> F64:
        """Return the shifts of every type's outcomes at a storefront, (K, E)."""
        shifts: F64 = np.einsum("x,kxe->ke", features(shop) - self.centre, self.shifts)
        return shifts

    def odds(self, before: Shop, after: Shop) -> F64:
        """Return by what each code's share is multiplied, up to a common factor, when a shop changes, (C,)."""
        return np.asarray(np.exp(self.mix @ (features(after) - features(before))))

    def drawn(self, seed: int, mirrored: bool = False) -> "Response":
        """Return the response as it might as well be, drawn from what the training sessions leave open.

        ``mirrored`` is as far off the other way, so that the two have this response for their mean.
        """
        random, side = np.random.default_rng(seed), -1.0 if mirrored else 1.0
        moved = side * (self.spread @ random.standard_normal(self.spread.shape[1])).reshape(self.shifts.shape)
        mixed = side * (self.mix_spread @ random.standard_normal(self.mix_spread.shape[1])).reshape(self.mix.shape)
        return replace(self, shifts=self.shifts + moved, mix=self.mix + mixed)

    def save(self, path: Path) -> None:
        """Write the response as an npz file."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in _PARTS})

    @staticmethod
    def load(path: Path) -> "Response":
        """Return the response of ``save``. Raises ModelError when it is none."""
        try:
            with np.load(path) as kept:
                return Response(*(kept[name] for name in _PARTS))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{path}: no response to storefront conditions ({error}); finetune anew.") from error


_PARTS = ("centre", "shifts", "mix", "spread", "mix_spread")


def responding(backend: Backend | Rowwise, vocabulary: Vocabulary, response: Response, shop: Shop) -> Backend | Rowwise:
    """Return a backend that answers to a storefront's conditions, each type as it does."""
    by_outcome = response.at(shop)
    bias = np.zeros((len(by_outcome), len(vocabulary)), np.float32)
    first, end = (bound - vocabulary.offset for bound in vocabulary.ranges["action"])
    bias[:, first:end] = by_outcome[:, OUTCOME_OF_ACTION]
    bias[:, vocabulary.leave - vocabulary.offset] = by_outcome[:, LEAVING]
    first_type = vocabulary.id(f"<{types_of(vocabulary)[0]}>")
    return shifted(backend, lambda tokens: np.asarray(bias[tokens[:, len(FLAG_GROUPS)] - first_type], np.float32))
