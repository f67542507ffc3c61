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
from schemas.events import I64, U64

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: A bucket with fewer beginnings than this is fitted on all beginnings together.
LEAST_BEGINNINGS = 100
#: Weight of the squared parameters in nats per beginning: it keeps those of codes that are seldom seen near zero.
PENALTY = 1e-4


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Beginnings of sessions: session ``row``'s first ``lengths`` events, one for every length bucket it reaches."""

    row: I64
    lengths: I64


def fits_calibration(key: U64) -> npt.NDArray[np.bool_]:
    """Return which buyers (n,) fit the calibration; the others tell how good it is."""
    return np.asarray((key & np.uint64(1)) == 0, bool)


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
    astray = (to_coarse.argmin(axis=1) != coarse).astype(np.int64)  # 0: under the nearest coarse code, 1: under another
    bucket = length_bucket(lengths)
    everywhere = np.ones(len(lengths), bool)
    coarse_scale: list[F64] = []
    coarse_bias: list[F64] = []
    fine_scale: list[list[F64]] = []
    for index in range(len(LENGTH_BOUNDS) + 1):
        own = _enough(bucket == index, everywhere)
        scale, bias = _fit(to_coarse[own], coarse[own], biased=True)
        coarse_scale.append(scale)
        coarse_bias.append(bias)
        fine_scale.append([])
        for place in (0, 1):
            rows = _enough(own & (astray == place), _enough(astray == place, everywhere))
            fine_scale[-1].append(_fit(to_fine[rows], fine[rows], biased=False)[0])
    return replace(
        codebook,
        coarse_scale=np.array(coarse_scale, np.float32),
        coarse_bias=np.array(coarse_bias, np.float32),
        fine_scale=np.array(fine_scale, np.float32),
    )


def _enough(rows: npt.NDArray[np.bool_], otherwise: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return rows if rows.sum() >= LEAST_BEGINNINGS else otherwise


def _squared(one: F32, other: F32) -> F64:
    difference: F64 = np.subtract(one, other, dtype=np.float64)
    return np.asarray(np.square(difference).sum(-1), np.float64)


def _fit(distances: F64, target: npt.NDArray[np.int32], biased: bool) -> tuple[F64, F64]:
    """Return the scale (2,) and bias (K,) that make the targets (n,) likeliest; see ``Codebook`` for the softmax.

    Because being the nearest has a parameter of its own, the mean confidence in the nearest code equals its hit rate.
    """
    count, size = distances.shape
    rows = np.arange(count)
    nearest = np.zeros((count, size))
    nearest[rows, distances.argmin(axis=1)] = 1.0

    def loss(parameters: F64) -> tuple[float, F64]:
        sharpness, bonus, bias = np.exp(parameters[0]), parameters[1], parameters[2:]
        logits = bonus * nearest - sharpness * distances
        if biased:
            logits += bias
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        value = -np.log(np.maximum(chances[rows, target], 1e-300)).mean() + PENALTY * np.square(parameters).sum()
        chances[rows, target] -= 1.0
        slopes = np.zeros_like(parameters)
        slopes[0] = -(chances * distances).sum() / count * sharpness
        slopes[1] = (chances * nearest).sum() / count
        if biased:
            slopes[2:] = chances.mean(axis=0)
        return float(value), slopes + 2 * PENALTY * parameters

    fitted = minimize(loss, np.zeros(size + 2), jac=True, method="L-BFGS-B").x
    return np.array([np.exp(fitted[0]), fitted[1]]), fitted[2:]
