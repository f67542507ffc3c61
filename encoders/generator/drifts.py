"""Planted changes of a shop's traffic: drifts of the mix of buyer types, and promotions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Kind = Literal["sudden", "slow", "seasonal"]

#: What the shops of a run plant, in turn: two of five stay as they are, so that false alarms can be counted.
SCHEDULE: tuple[Kind | None, ...] = (None, "sudden", "slow", None, "seasonal")
#: Total variation that a planted change must reach at least; smaller ones could not be told from noise.
LEAST_CHANGE = 0.45
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Drift:
    """One planted change from the shop's own mix to ``to_mix``.

    sudden    all of it at ``at_ms``
    slow      linearly from ``at_ms`` to ``until_ms``
    seasonal  to and fro as a cosine of period ``period_ms`` that leaves the shop's own mix at ``at_ms``
    """

    kind: Kind
    at_ms: int
    until_ms: int
    period_ms: int
    to_mix: Floats

    def share(self, t_ms: npt.NDArray[np.int64]) -> Floats:
        """Return how much of the change has happened at each time: 0 = the shop's own mix, 1 = ``to_mix``."""
        after = (t_ms >= self.at_ms).astype(np.float64)
        if self.kind == "sudden":
            return after
        if self.kind == "slow":
            return np.clip((t_ms - self.at_ms) / max(self.until_ms - self.at_ms, 1), 0.0, 1.0)
        return np.asarray(after * (0.5 - 0.5 * np.cos(2.0 * np.pi * (t_ms - self.at_ms) / self.period_ms)))


@dataclass(frozen=True, slots=True)
class Promotion:
    """A price cut on one category (index into ``vocabulary.CATEGORY_NAMES``) for a while."""

    promotion_id: str
    start_ms: int
    end_ms: int
    category: int
    discount: float


def plant_drift(rng: np.random.Generator, kind: Kind, mix: Floats, start_ms: int, end_ms: int) -> Drift:
    """Return a drift of the given kind within [start_ms, end_ms) towards a clearly different mix."""
    span_ms = end_ms - start_ms
    to_mix = draw_mix(rng, len(mix))
    while 0.5 * np.abs(to_mix - mix).sum() < LEAST_CHANGE:
        to_mix = draw_mix(rng, len(mix))
    # A day's season when the run is long enough to show it twice, else two seasons a run.
    period_ms = 24 * HOUR_MS if span_ms >= 48 * HOUR_MS else span_ms // 2
    if kind == "sudden":
        at_ms = start_ms + int(span_ms * rng.uniform(0.5, 0.65))
        return Drift(kind, at_ms, at_ms, period_ms, to_mix)
    if kind == "slow":
        at_ms = start_ms + int(span_ms * rng.uniform(0.3, 0.4))
        return Drift(kind, at_ms, start_ms + int(span_ms * rng.uniform(0.75, 0.9)), period_ms, to_mix)
    return Drift(kind, start_ms, end_ms, period_ms, to_mix)


def plant_promotions(
    rng: np.random.Generator, shop: str, categories: npt.NDArray[np.int32], start_ms: int, end_ms: int
) -> tuple[Promotion, ...]:
    """Return up to two promotions of a shop, each on one of its categories, lasting 5 to 15 % of the run."""
    span_ms = end_ms - start_ms
    promotions = []
    for number in range(int(rng.integers(0, 3))):
        begin_ms = start_ms + int(span_ms * rng.uniform(0.05, 0.8))
        promotions.append(
            Promotion(
                promotion_id=f"{shop}-promo-{number + 1}",
                start_ms=begin_ms,
                end_ms=begin_ms + int(span_ms * rng.uniform(0.05, 0.15)),
                category=int(rng.choice(categories)),
                discount=round(float(rng.uniform(0.15, 0.4)), 2),
            )
        )
    return tuple(promotions)


def draw_mix(rng: np.random.Generator, types: int) -> Floats:
    """Return a shop's mix of buyer types: a few types dominate, every type keeps half a percent."""
    return 0.005 + (1.0 - 0.005 * types) * rng.dirichlet(np.full(types, 0.6))
