"""Figures that say how good a codebook is. Pure functions of codes."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import normalized_mutual_info_score

from schemas.events import I64

Ints = npt.NDArray[np.integer]

CONFIDENCE_BINS = 15


def perplexity(codes: Ints, size: int) -> float:
    """Return exp(entropy) of how often each of ``size`` codes is used: ``size`` when evenly, 1 when one takes all."""
    shares = np.bincount(codes, minlength=size) / max(len(codes), 1)
    used = shares[shares > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def nmi(codes: Ints, types: Ints) -> float:
    """Return normalised mutual information (arithmetic mean of the entropies) of codes and types, 0 to 1."""
    return float(normalized_mutual_info_score(types, codes))


def explained(codes: Ints, outcome: npt.NDArray[np.bool_]) -> float:
    """Return the share of a binary outcome's log loss that knowing the code saves, 0 to 1; NaN for a sure outcome.

    Rates are smoothed with half an outcome each way (Krichevsky and Trofimov 1981), so that rare codes gain nothing.
    """
    if not outcome.any() or outcome.all():
        return float("nan")
    shown, hit = np.bincount(codes), np.bincount(codes, weights=outcome)
    chance = ((hit + 0.5) / (shown + 1.0))[codes]
    loss = -np.log(np.where(outcome, chance, 1.0 - chance)).mean()
    base = outcome.mean()
    return float(1.0 + loss / (base * np.log(base) + (1.0 - base) * np.log(1.0 - base)))


def calibration_error(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: mean gap of confidence and hit rate over bins of equal count.

    Naeini et al. 2015, with equal-count bins so that no bin is empty. NaN of no codes.
    """
    if not len(confidence):
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(CONFIDENCE_BINS, len(order)))
    gaps = [len(rows) * abs(float(confidence[rows].mean()) - float(right[rows].mean())) for rows in bins]
    return sum(gaps) / len(order)


def same_buyer_agreement(codes: Ints, key: npt.NDArray[np.uint64], merchant: Ints) -> tuple[float, float]:
    """Return how often two successive sessions of one buyer share a code, and how often chance would make them.

    Sessions are ordered by (key, start). Chance: two independent draws from the merchant's own mix. NaN without pairs.
    """
    pair = np.flatnonzero(key[1:] == key[:-1])
    if not len(pair):
        return float("nan"), float("nan")
    size = int(codes.max()) + 1
    mixes = np.bincount(merchant.astype(np.int64) * size + codes, minlength=(int(merchant.max()) + 1) * size)
    shares = mixes.reshape(-1, size) / np.maximum(mixes.reshape(-1, size).sum(1, keepdims=True), 1)
    agree = float((codes[pair] == codes[pair + 1]).mean())
    return agree, float(np.square(shares).sum(1)[merchant[pair]].mean())


def agreement_by_length(
    early: Ints, final: Ints, lengths: I64, bounds: tuple[int, ...]
) -> dict[int, tuple[float, int]]:
    """Return for each bound the share of beginnings of just that many events whose code is the final one, and n."""
    return {
        bound: (float((early[lengths == bound] == final[lengths == bound]).mean()), int((lengths == bound).sum()))
        for bound in bounds
        if (lengths == bound).any()
    }
