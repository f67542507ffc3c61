"""How far two mixes of buyer types lie apart beyond what chance alone shows: bias-corrected Jensen–Shannon. Pure."""

from dataclasses import dataclass
from math import exp, lgamma, log, sqrt
from statistics import NormalDist

import numba as nb
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

#: An even grid of log draws, fine enough to be read without interpolation.
_LOG_LEAST, _LOG_STEP = log(1e-3), 0.05


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two samples of codes lie apart. ``n_effective`` is the harmonic size that sets their noise.

    divergence  Jensen–Shannon divergence in nats less its expectation for two samples of one mix
    chance      that expectation, in nats
    spread      standard deviation of the divergence for two samples of one mix, in nats
    """

    divergence: float
    chance: float
    spread: float
    n_effective: float

    @property
    def deviation(self) -> float:
        """The divergence in standard deviations."""
        return self.divergence / self.spread

    def least(self, chance_of_more: float) -> float:
        """Return the divergence in nats that two samples of one mix exceed with this chance only.

        Divergence and expectation together are taken to be gamma distributed with the known mean and variance; its
        quantile is the cube of Wilson and Hilferty (1931).
        """
        if self.chance <= 0.0:
            return 0.0
        third = self.spread / self.chance / 3.0
        return self.chance * ((1.0 - third * third + third * NormalDist().inv_cdf(1.0 - chance_of_more)) ** 3 - 1.0)


def shift(p: F64, m: float, q: F64, n: float) -> Shift:
    """Return how far two mixes (K,), found in m and n sessions, lie apart, beyond what chance alone would show.

    For sessions of one mix, 8·JS / (1/m + 1/n) is about chi-square with K − 1 degrees of freedom (second-order
    expansion of JS; for m → ∞ its mean gives (K − 1) / (8n)). That holds for codes drawn often; what a rarer code adds
    in mean and variance is taken from ``_chance``. Codes that occur in neither mix add nothing.
    """
    n_effective = m * n / (m + n)
    mean, variance = _without_change(p, m, q, n, _CHANCE)
    chance, spread = max(mean - 1.0, 0.0), sqrt(variance)
    scale = 8.0 * n_effective
    return Shift(js_divergence(p, q) - chance / scale, chance / scale, spread / scale, n_effective)


@nb.njit(cache=True)
def js_divergence(p: F64, q: F64) -> float:
    """Return the Jensen–Shannon divergence of two (K,) mixes in nats, between 0 and ln 2 (Lin 1991)."""
    twice = 0.0
    for k in range(len(p)):
        both = p[k] + q[k]
        if p[k] > 0.0:
            twice += p[k] * log(2.0 * p[k] / both)
        if q[k] > 0.0:
            twice += q[k] * log(2.0 * q[k] / both)
    return 0.5 * twice


@nb.njit(cache=True)
def _without_change(p: F64, m: float, q: F64, n: float, chance: F64) -> tuple[float, float]:
    """Return mean and variance of 8·n·JS for two samples of one mix, the mix of both together; see ``_chance``."""
    mean = variance = 0.0
    for k in range(len(p)):
        drawn = m * n * (m * p[k] + n * q[k]) / (m + n) ** 2
        if drawn > 0.0:
            nearest = min(max((log(drawn) - _LOG_LEAST) / _LOG_STEP + 0.5, 0.0), len(chance) - 1.0)
            mean += chance[int(nearest), 0]
            variance += chance[int(nearest), 1]
    return mean, variance


def _chance(draws: float) -> tuple[float, float]:
    """Return mean and variance of what a code expected to be drawn so often adds to 8·n·JS without any change.

    The number drawn is Poisson; against its own expectation it adds 4·draws·(u·ln(2u / (1 + u)) + ln(2 / (1 + u))) with
    u = drawn / draws. For many draws that is chi-square with one degree of freedom: mean 1, variance 2.
    """
    drawn = np.arange(int(draws + 12 * sqrt(draws) + 20), dtype=np.float64)
    chances = np.exp(drawn * log(draws) - draws - np.array([lgamma(k + 1) for k in drawn]))
    u = drawn / draws
    own = np.where(drawn > 0, u * np.log(np.where(drawn > 0, 2 * u / (1 + u), 1.0)), 0.0)
    adds = 4 * draws * (own + np.log(2 / (1 + u)))
    mean = float((chances * adds).sum())
    return mean, float((chances * adds * adds).sum()) - mean * mean


#: Mean and variance of ``_chance`` on the grid.
_CHANCE = np.array([_chance(exp(_LOG_LEAST + _LOG_STEP * i)) for i in range(int(log(1e6) / _LOG_STEP) + 1)])
