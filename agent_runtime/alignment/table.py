"""Figures of many storefronts as means with intervals, shares of their floors, and differences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Resamples of the merchants for an interval, and its ends.
RESAMPLES, ENDS = 2_000, (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over merchants (or a ratio or difference of two) with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class AlignmentTable:
    """Figures by merchant; every estimate resamples the merchants (Efron 1979), the same ones for both of a pair."""

    def __init__(self, results: Mapping[str, Mapping[str, Mapping[str, float]]], seed: int = 0) -> None:
        self._results = list(results.values())
        self._draws = np.random.default_rng(seed).integers(len(self._results), size=(RESAMPLES, len(self._results)))

    def conditions(self) -> list[str]:
        """Return the conditions in the order they were measured."""
        return list(dict.fromkeys(name for result in self._results for name in result))

    def measures(self, condition: str) -> list[str]:
        """Return the measures of a condition."""
        return list(dict.fromkeys(name for result in self._results for name in result.get(condition, {})))

    def mean(self, condition: str, measure: str) -> Estimate | None:
        """Return the mean over the merchants that have the figure, None without any."""
        values = self._values(condition, measure)
        return self._estimate(lambda rows: np.nanmean(values[rows], axis=-1), np.isfinite(values))

    def share(self, condition: str, floor: str, measure: str) -> Estimate | None:
        """Return the ratio of two conditions' means over the merchants that have both."""
        ours, theirs = self._pair(condition, floor, measure)
        return self._estimate(
            lambda rows: np.nanmean(ours[rows], axis=-1) / np.nanmean(theirs[rows], axis=-1), np.isfinite(ours)
        )

    def above(self, condition: str, other: str, measure: str) -> Estimate | None:
        """Return the difference of two conditions' means over the merchants that have both."""
        ours, theirs = self._pair(condition, other, measure)
        return self._estimate(lambda rows: np.nanmean((ours - theirs)[rows], axis=-1), np.isfinite(ours))

    def _values(self, condition: str, measure: str) -> F64:
        return np.array([result.get(condition, {}).get(measure, np.nan) for result in self._results])

    def _pair(self, condition: str, other: str, measure: str) -> tuple[F64, F64]:
        ours, theirs = self._values(condition, measure), self._values(other, measure)
        both = np.isfinite(ours) & np.isfinite(theirs)
        return np.where(both, ours, np.nan), np.where(both, theirs, np.nan)

    def _estimate(self, of: Callable[[I64], F64], known: npt.NDArray[np.bool_]) -> Estimate | None:
        if not known.any():
            return None
        rows = self._draws[known[self._draws].any(axis=1)]
        low, high = np.percentile(of(rows), ENDS)
        return Estimate(float(of(np.arange(len(known)))), float(low), float(high))
