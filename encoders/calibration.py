"""Turning distances into probabilities: how sure may one be that a session will still have this code when it ends?

Beginnings of held-out sessions are encoded and compared with the code of the whole session. Per length bucket a
softmax over scaled distances is fitted by maximum likelihood (temperature scaling, Guo et al. 2017, arXiv 1706.04599,
with a bias per coarse code, since some types are more often what an undecided session becomes).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from encoders.codebook import LENGTH_BOUNDS, Codebook, length_bucket
from schemas.events import I64

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: A bucket with fewer beginnings than this takes the scale of all beginnings together.
LEAST_BEGINNINGS = 100
#: Weight of the squared biases in nats per beginning: it keeps codes that are seldom seen near zero.
BIAS_PENALTY = 1e-3


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Beginnings of sessions: session ``row``'s first ``lengths`` events, one for every length bucket it reaches."""

    row: I64
    lengths: I64


def draw_beginnings(session_lengths: I64, seed: int) -> Beginnings:
    """Return for every session and every length bucket that it reaches one beginning of a random length in it."""
    random = np.random.default_rng(seed)
    rows, lengths = [], []
    least = 1
    for bound in (*LENGTH_BOUNDS, int(session_lengths.max(initial=1))):
        reached = np.flatnonzero(session_lengths >= least)
        if bound >= least and len(reached):
            rows.append(reached)
            lengths.append(random.integers(least, np.minimum(session_lengths[reached], bound) + 1))
        least = bound + 1
    return Beginnings(np.concatenate(rows), np.concatenate(lengths))


def calibrate(codebook: Codebook, latents: F32, lengths: I64, final_code: npt.NDArray[np.int32]) -> Codebook:
    """Return the codebook with calibration fitted to beginnings.

    latents (n, D1 + D2) and lengths (n,) of the beginnings; final_code (n,) of the whole session each belongs to.
    """
    width, fine_size = codebook.coarse.shape[1], codebook.fine.shape[1]
    coarse, fine = final_code // fine_size, final_code % fine_size
    to_coarse = _squared(latents[:, None, :width], codebook.coarse[None])
    to_fine = _squared(latents[:, None, width:], codebook.fine[coarse])
    bucket = length_bucket(lengths)
    shared = _fit(to_coarse, coarse), _fit(to_fine, fine)
    coarse_sharpness, fine_sharpness, bias = [], [], []
    for index in range(len(LENGTH_BOUNDS) + 1):
        own = bucket == index
        if own.sum() < LEAST_BEGINNINGS:
            fitted = shared
        else:
            fitted = _fit(to_coarse[own], coarse[own]), _fit(to_fine[own], fine[own])
        coarse_sharpness.append(fitted[0][0])
        bias.append(fitted[0][1])
        fine_sharpness.append(fitted[1][0])
    return replace(
        codebook,
        coarse_sharpness=np.array(coarse_sharpness, np.float32),
        fine_sharpness=np.array(fine_sharpness, np.float32),
        coarse_bias=np.array(bias, np.float32),
    )


def _squared(one: F32, other: F32) -> F64:
    difference: F64 = np.subtract(one, other, dtype=np.float64)
    return np.asarray(np.square(difference).sum(-1), np.float64)


def _fit(distances: F64, target: npt.NDArray[np.int32]) -> tuple[float, F64]:
    """Return sharpness and bias (K,) of the likeliest softmax(bias - sharpness * distance) for targets (n,)."""
    count, size = distances.shape
    rows = np.arange(count)

    def loss(parameters: F64) -> tuple[float, F64]:
        sharpness, bias = np.exp(parameters[0]), parameters[1:]
        logits = bias - sharpness * distances
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        penalty = BIAS_PENALTY * np.square(bias).sum()
        value = -np.log(np.maximum(chances[rows, target], 1e-300)).mean() + penalty
        chances[rows, target] -= 1.0
        slope = -(chances * distances).sum() / count * sharpness
        return float(value), np.concatenate([[slope], chances.mean(axis=0) + 2 * BIAS_PENALTY * bias])

    fitted = minimize(loss, np.zeros(size + 1), jac=True, method="L-BFGS-B").x
    return float(np.exp(fitted[0])), fitted[1:]
