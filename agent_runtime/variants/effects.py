"""What a storefront change does to the same shoppers: differences, shopper by shopper, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent_runtime.storefront.session import PlayedSession
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: What is compared. Depth is clicks a session; revenue is what completed checkouts cost, in minor units a session.
CONVERSION, ADD_TO_CART, DEPTH, REVENUE = "conversion", "add_to_cart", "depth", "revenue"
MEASURES = (CONVERSION, ADD_TO_CART, DEPTH, REVENUE)
#: Share of the sessions that are of a persona.
SHARE = "share"
OVERALL = "all"
RESAMPLES = 1_000
#: Both ends of a 95 % interval.
_ENDS = (2.5, 97.5)
#: Resamples that share a round; a divisor of ``RESAMPLES``.
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Effect:
    """One measure of one persona (or of all): means a session in both storefronts, and the difference with 95 %."""

    persona: str
    measure: str
    sessions: int
    control: float
    variant: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Variant minus control."""
        return self.variant - self.control

    @property
    def relative(self) -> float | None:
        """The difference over the control's mean; None where that is zero."""
        return self.difference / self.control if self.control else None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a change moves shoppers between types, and how unsure that is.

    weights  (n,) what each shopper stands for in the variant, 1 in the control
    drawn    (R, n) or (0, n): weights as they might as well be
    """

    weights: F64
    drawn: F64


def outcomes(sessions: Sequence[PlayedSession]) -> F64:
    """Return ``MEASURES`` of each session, (n, 4)."""
    table = np.zeros((len(sessions), len(MEASURES)))
    for row, session in enumerate(sessions):
        events = {click.event for click in session.clicks}
        paid = sum(click.price_minor or 0 for click in session.clicks if click.event == "checkout_completed")
        table[row] = "checkout_completed" in events, "product_added_to_cart" in events, len(session.clicks), paid
    return table


def effects(
    rounds: Sequence[tuple[F64, F64]], personas: Sequence[str], shift: Shift, seed: int, known: float = math.inf
) -> list[Effect]:
    """Return every measure over all shoppers and by persona, and by persona its share of the sessions.

    rounds    (n, M) ``outcomes`` of the same shoppers in both storefronts, control and variant, one or more times, with
              other numbers drawn and with answers to the change as they might as well be
    personas  their types' names
    known     sessions that the shoppers' mix was counted from

    What is foretold is the mean over all rounds. Intervals are percentiles of resampled shoppers, each with both
    sessions (paired bootstrap), each resample with one round and one draw of the shift. A mix that was counted from
    fewer sessions than there are shoppers is known no better than those say, so that resamples are of so many (m out of
    n; Bickel, Götze and van Zwet 1997). A persona's own figures are means over those who are of it: before, and after.
    """
    control, variant = (np.mean(side, axis=0) for side in zip(*rounds, strict=True))
    names = np.array(personas)
    found = []
    for persona in (OVERALL, *sorted(set(personas))):
        rows = np.flatnonzero(names == persona) if persona != OVERALL else np.arange(len(names))
        old, new = control[rows].mean(axis=0), _mean(variant[rows], shift.weights[rows])
        drawn = shift.drawn[:, rows] if len(shift.drawn) else shift.weights[None, rows]
        chosen = [(before[rows], after[rows]) for before, after in rounds]
        taken = math.ceil(len(rows) * min(1.0, known / len(names)))
        low, high = np.percentile(_resampled(chosen, drawn, taken, seed), _ENDS, axis=0)
        for place, measure in enumerate(MEASURES):
            ends = float(low[place]), float(high[place])
            found.append(Effect(persona, measure, len(rows), float(old[place]), float(new[place]), *ends))
        if persona != OVERALL:
            before = len(rows) / len(names)
            after = shift.weights[rows].sum() / shift.weights.sum()
            shares = drawn.sum(axis=1) / (shift.drawn if len(shift.drawn) else shift.weights[None]).sum(axis=1)
            ends = tuple(np.percentile(shares - before, _ENDS))
            found.append(Effect(persona, SHARE, len(rows), before, float(after), float(ends[0]), float(ends[1])))
    return found


def _mean(values: F64, weights: F64) -> F64:
    return np.asarray(weights @ values / weights.sum())


def _resampled(rounds: Sequence[tuple[F64, F64]], drawn: F64, taken: int, seed: int) -> F64:
    """Return the differences of means in ``RESAMPLES`` resamples of ``taken`` rows, (RESAMPLES, M)."""
    random, (size, measures) = np.random.default_rng(seed), rounds[0][0].shape
    differences = np.empty((RESAMPLES, measures))
    for number, first in enumerate(range(0, RESAMPLES, _CHUNK)):
        control, variant = rounds[number % len(rounds)]
        counts = random.multinomial(taken, np.full(size, 1.0 / size), size=_CHUNK)
        draw: I64 = np.arange(first, first + _CHUNK) % len(drawn)
        weighted = counts * drawn[draw]
        after = weighted @ variant / weighted.sum(axis=1, keepdims=True)
        differences[first : first + _CHUNK] = after - counts @ control / taken
    return differences
