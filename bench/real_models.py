"""Chances of an outcome from features, learnt on other merchants and corrected on a merchant's own earlier half."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Strengths of the pull towards what was learnt elsewhere (or nothing) that cross-validation chooses from.
PULLS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
FOLDS = 5
_ROUNDS, _ENOUGH = 50, 1e-7


@dataclass(frozen=True, slots=True)
class Logit:
    """A logistic model: weights (D,) and intercept."""

    weights: F64
    intercept: float

    def chances(self, features: F64) -> F64:
        """Return the chances (n,) of the outcome."""
        return _sigmoid(features @ self.weights + self.intercept)


def fit_logit(
    features: F64, outcome: Flags, pull: float, towards: F64 | None = None, groups: F64 | None = None
) -> Logit:
    """Fit weights by maximum a posteriori: normal around ``towards`` (D,) (0 by default), precision ``pull``.

    Intercepts are free: one, or one per column of the indicator matrix ``groups`` (n, G); the first is returned.
    Newton's method; features should be of the order of one.
    """
    groups = np.ones((len(features), 1)) if groups is None else groups
    design = np.concatenate([features, groups], axis=1)
    mean = np.zeros(design.shape[1])
    if towards is not None:
        mean[: len(towards)] = towards
    # A trace of precision keeps the intercept of a fold without any outcome finite.
    precision = np.concatenate([np.full(features.shape[1], pull), np.full(groups.shape[1], 1e-3)])
    weights = mean.copy()
    for _ in range(_ROUNDS):
        chance = _sigmoid(design @ weights)
        slope = design.T @ (outcome - chance) - precision * (weights - mean)
        curve = (design.T * (chance * (1.0 - chance))) @ design + np.diag(precision)
        step = np.linalg.solve(curve, slope)
        # Newton may leap where all chances are near 0: no step longer than a few log-odds.
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        weights += step
        if float(np.abs(step).max()) < _ENOUGH:
            break
    return Logit(weights[: features.shape[1]], float(weights[features.shape[1]]))


def adapt_logit(features: F64, outcome: Flags, learnt: F64, seed: int) -> Logit:
    """Return a model for one merchant: what was learnt elsewhere, corrected as far as cross-validation bears it out."""
    fold = np.random.default_rng(seed).permutation(len(outcome)) % FOLDS
    best, least = (PULLS[-1], learnt), np.inf
    for towards in (learnt, np.zeros_like(learnt)):
        for pull in PULLS:
            loss = 0.0
            for number in range(FOLDS):
                own = fold != number
                model = fit_logit(features[own], outcome[own], pull, towards)
                loss += float(log_loss(model.chances(features[~own]), outcome[~own]).sum())
            if loss < least:
                best, least = (pull, towards), loss
    return fit_logit(features, outcome, *best)


def log_loss(chances: F64, outcome: Flags) -> F64:
    """Return the log loss of each prediction in nats, (n,)."""
    chances = np.clip(chances, 1e-6, 1.0 - 1e-6)
    return np.asarray(-np.log(np.where(outcome, chances, 1.0 - chances)))


def _sigmoid(x: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -35.0, 35.0))))
