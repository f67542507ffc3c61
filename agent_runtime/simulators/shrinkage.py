"""Noisy coefficients drawn towards zero, group by group, as far as noise explains them: empirical Bayes. Pure.

A few hundred storefronts differ by much that nobody told of, so that of hundreds of coefficients most are noise. How
large a group's really are is estimated from all of them together, by their marginal likelihood (Efron and Morris 1973);
then each is weighed against its own noise. A group that noise explains altogether is all but zero.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular

from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviations that a group's coefficients may have, in equal ratios and equally likely before the estimates are
#: seen. Equally likely in equal steps (Gelman 2006) would leave effects their size, but noise as well (docs/log.md).
_SIZES = np.geomspace(0.01, 2.0, 12)
#: Keeps covariances of fewer directions than coefficients invertible.
_JITTER = 1e-8


class Group(NamedTuple):
    """Coefficients that are alike: their places ``rows`` (g,), and what their covariance is a mixture of, each (g, g).

    The identity lets each coefficient be what it is, a matrix of ones lets all be the same.
    """

    rows: I64
    parts: tuple[F64, ...]


def shrink(estimate: F64, noise: F64, groups: Sequence[Group], loose: float) -> tuple[F64, F64]:
    """Return ``n`` coefficients (n,) and a root (n, n) of what they are unsure by, root @ root.T.

    estimate  (n,) unbiased estimates; noise (n, N) a root of their covariance
    loose     standard deviation of the coefficients that are in no group, because nothing is known of them: these are 0

    Groups are weighed one by one, for the covariance of many hundred estimates is seldom known well enough to be
    inverted; what they are unsure by together is exact for any such weights (Joseph's form of a Kalman update).
    """
    gain, prior = np.zeros((len(estimate), len(estimate))), loose**2 * np.eye(len(estimate))
    for rows, parts in groups:
        square = np.ix_(rows, rows)
        covariance = noise[rows] @ noise[rows].T + _JITTER * np.eye(len(rows))
        gain[square], prior[square] = _weighed(estimate[rows], covariance, parts)
    off, heard = np.eye(len(estimate)) - gain, gain @ noise
    return gain @ estimate, _root(off @ prior @ off.T + heard @ heard.T)


def _weighed(estimate: F64, covariance: F64, parts: Sequence[F64]) -> tuple[F64, F64]:
    """Return a group's gain and prior covariance, means over all sizes of its parts, likelier ones counting for more.

    The likeliest size alone would be zero wherever noise could explain everything, and zero would be taken for certain.
    """
    gains, priors, scores = [], [], []
    for sizes in product(_SIZES, repeat=len(parts)):
        prior = np.asarray(sum(size**2 * part for size, part in zip(sizes, parts, strict=True)))
        root = np.linalg.cholesky(covariance + prior)
        off = solve_triangular(root, estimate, lower=True)
        gains.append(cho_solve((root, True), prior).T)
        priors.append(prior)
        scores.append(-0.5 * off @ off - np.log(np.diag(root)).sum())
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    return np.einsum("w,wij->ij", weights, gains), np.einsum("w,wij->ij", weights, priors)


def _root(covariance: F64) -> F64:
    values, directions = np.linalg.eigh(covariance)
    return np.asarray(directions * np.sqrt(np.maximum(values, 0.0)))
