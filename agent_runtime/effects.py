"""What a storefront change does to the same shoppers: differences, shopper by shopper, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent_runtime.session import PlayedSession

F64 = npt.NDArray[np.float64]

#: What is compared. Depth is clicks a session; revenue is what completed checkouts cost, in minor units a session.
CONVERSION, ADD_TO_CART, DEPTH, REVENUE = "conversion", "add_to_cart", "depth", "revenue"
MEASURES = (CONVERSION, ADD_TO_CART, DEPTH, REVENUE)
OVERALL = "all"
RESAMPLES = 1_000
#: Both ends of a 95 % interval.
_ENDS = (2.5, 97.5)
_CHUNK = 100


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


def outcomes(sessions: Sequence[PlayedSession]) -> F64:
    """Return ``MEASURES`` of each session, (n, 4)."""
    table = np.zeros((len(sessions), len(MEASURES)))
    for row, session in enumerate(sessions):
        events = {click.event for click in session.clicks}
        paid = sum(click.price_minor or 0 for click in session.clicks if click.event == "checkout_completed")
        table[row] = "checkout_completed" in events, "product_added_to_cart" in events, len(session.clicks), paid
    return table


def effects(
    control: F64, variant: F64, personas: Sequence[str], seed: int, model_draws: dict[str, F64] | None = None
) -> list[Effect]:
    """Return every measure over all shoppers and by persona.

    control, variant  (n, M) ``outcomes`` of the same shoppers in both storefronts; personas  their types' names
    model_draws       persona (or ``OVERALL``) -> (R, M) differences by which the simulator might be wrong, mean zero

    Intervals are percentiles of resampled shoppers, each with both sessions (paired bootstrap), with a draw of the
    simulator's own uncertainty added to each resample where it is given.
    """
    names = np.array(personas)
    found = []
    for persona in (OVERALL, *sorted(set(personas))):
        rows = np.flatnonzero(names == persona) if persona != OVERALL else np.arange(len(names))
        ours, theirs = control[rows], variant[rows]
        means = resampled(theirs - ours, seed)
        if model_draws is not None:
            drawn = model_draws[persona]
            means = means + drawn[np.random.default_rng(seed + 1).integers(len(drawn), size=len(means))]
        low, high = np.percentile(means, _ENDS, axis=0)
        for place, measure in enumerate(MEASURES):
            found.append(
                Effect(
                    persona,
                    measure,
                    len(rows),
                    float(ours[:, place].mean()),
                    float(theirs[:, place].mean()),
                    float(low[place]),
                    float(high[place]),
                )
            )
    return found


def resampled(values: F64, seed: int) -> F64:
    """Return the means of ``RESAMPLES`` bootstrap resamples of the rows of ``values`` (n, M), (RESAMPLES, M)."""
    random, size = np.random.default_rng(seed), len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for first in range(0, RESAMPLES, _CHUNK):
        counts = random.multinomial(size, np.full(size, 1.0 / size), size=min(_CHUNK, RESAMPLES - first))
        means[first : first + len(counts)] = counts @ values / size
    return means
