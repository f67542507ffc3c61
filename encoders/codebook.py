"""The codebook: what turns a latent into a buyer type, and how sure one may be of it.

Two levels. The coarse vectors stand for buyer types; each has its own few fine vectors for the way a session of that
type went. A full code counts through both: ``code = coarse * fine_size + fine``. With one fine vector per coarse one
there is a single level. Pure, no torch: training fits it, serving uses it.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numba
import numpy as np
import numpy.typing as npt

from encoders.errors import ArtefactError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]

#: Calibration is fitted apart for sessions of 1, 2, 3, 4, 5, 6, 7–8, 9–11, 12–16 and more events: the first say most.
LENGTH_BOUNDS = (1, 2, 3, 4, 5, 6, 8, 11, 16)


@dataclass(frozen=True, slots=True)
class Codes:
    """Buyer types of ``n`` sessions.

    code        (n,) int32, index into the codebook's paths
    confidence  (n,) float32, calibrated probability that the session will still have this code when it ends
    posterior   (n, K) float32, that probability for every code (rows sum to 1), or None when not asked for
    """

    code: I32
    confidence: F32
    posterior: F32 | None


@dataclass(frozen=True, slots=True)
class Codebook:
    """Vectors and calibration of one encoder.

    coarse       (C, D1) float32, unit length; fine (C, F, D2) float32, unit length
    coarse_scale (L, 2) float32: per length bucket, log-odds per squared distance, and log-odds for being the nearest
    coarse_bias  (L, C) float32: per length bucket, log-odds of a coarse code before any distance is seen
    fine_scale   (L, 2, 2) float32: as ``coarse_scale``, for fine codes under the nearest coarse code and under others
    """

    coarse: F32
    fine: F32
    coarse_scale: F32
    coarse_bias: F32
    fine_scale: F32

    @staticmethod
    def uncalibrated(coarse: F32, fine: F32) -> "Codebook":
        """Return a codebook whose confidences mean nothing yet."""
        buckets = len(LENGTH_BOUNDS) + 1
        return Codebook(
            coarse,
            fine,
            np.tile(np.array([1.0, 0.0], np.float32), (buckets, 1)),
            np.zeros((buckets, len(coarse)), np.float32),
            np.tile(np.array([1.0, 0.0], np.float32), (buckets, 2, 1)),
        )

    @property
    def size(self) -> int:
        """Number of full codes."""
        return int(self.fine.shape[0] * self.fine.shape[1])

    @property
    def latent_width(self) -> int:
        """Width of the latents it takes: a type part followed by a style part."""
        return int(self.coarse.shape[1] + self.fine.shape[2])

    def paths(self) -> list[str]:
        """Return the path of every full code, coarse first: ``c03.f2``, or ``c03`` when there is one level."""
        coarse_digits = max(len(str(len(self.coarse) - 1)), 2)
        coarse = [f"c{index:0{coarse_digits}d}" for index in range(len(self.coarse))]
        if self.fine.shape[1] == 1:
            return coarse
        return [f"{path}.f{index}" for path in coarse for index in range(self.fine.shape[1])]

    def assign(self, latents: F32, lengths: npt.NDArray[np.int64], posterior: bool = False) -> Codes:
        """Return the nearest codes of ``latents`` (n, D1 + D2) of sessions with ``lengths`` (n,) events.

        The nearest coarse vector first, then the nearest of its fine vectors. Each row is computed by itself in a
        fixed order, so it is the same to the last bit in any company.
        """
        code = np.empty(len(latents), np.int32)
        confidence = np.empty(len(latents), np.float32)
        chances = np.empty((len(latents) if posterior else 1, self.size), np.float32)
        _assign(
            latents,
            length_bucket(lengths),
            np.ascontiguousarray(self.coarse.T),
            np.ascontiguousarray(self.fine.swapaxes(1, 2)),
            self.coarse_scale,
            self.coarse_bias,
            self.fine_scale,
            code,
            confidence,
            chances,
            posterior,
        )
        return Codes(code, confidence, chances if posterior else None)

    def save(self, path: Path) -> None:
        """Write the vectors and the calibration as an ``.npz`` file; equal codebooks give equal bytes."""
        np.savez(
            path,
            coarse=self.coarse,
            fine=self.fine,
            coarse_scale=self.coarse_scale,
            coarse_bias=self.coarse_bias,
            fine_scale=self.fine_scale,
        )

    @staticmethod
    def load(path: Path) -> "Codebook":
        """Read what ``save`` wrote. Raises ArtefactError when the file is not a codebook."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Codebook(*(arrays[name] for name in Codebook.__slots__))
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise ArtefactError(f"{path}: not a codebook ({error}); train the encoder anew.") from error


def length_bucket(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each length's calibration bucket, (n,) int64."""
    return np.searchsorted(np.array(LENGTH_BOUNDS), lengths, side="left")


@numba.njit(cache=True, nogil=True)
def _distances(point: F32, vectors: F32, distances: F64) -> None:
    """Write the squared distance of a point (D,) to each of ``K`` vectors (D, K), summed in the order of D."""
    distances[:] = 0.0
    for index in range(len(point)):
        for place in range(len(distances)):
            difference = float(point[index]) - float(vectors[index, place])
            distances[place] += difference * difference


@numba.njit(cache=True, nogil=True)
def _weigh(distances: F64, scale: F32, bias: F32, chances: F64) -> int:
    """Write softmax(bias - scale[0] * distance + scale[1] if nearest) and return the nearest."""
    nearest = 0
    for index in range(1, len(distances)):
        if distances[index] < distances[nearest]:
            nearest = index
    top = -np.inf
    for index in range(len(distances)):
        chances[index] = bias[index] - scale[0] * distances[index] + (scale[1] if index == nearest else 0.0)
        top = max(top, chances[index])
    total = 0.0
    for index in range(len(distances)):
        chances[index] = math.exp(chances[index] - top)
        total += chances[index]
    for index in range(len(distances)):
        chances[index] /= total
    return nearest


@numba.njit(cache=True, nogil=True)
def _assign(
    latents: F32,
    buckets: npt.NDArray[np.int64],
    coarse: F32,  # (D1, C)
    fine: F32,  # (C, D2, F)
    coarse_scale: F32,
    coarse_bias: F32,
    fine_scale: F32,
    code: I32,
    confidence: F32,
    chances: F32,
    want_posterior: bool,
) -> None:
    width, size = coarse.shape
    fine_size = fine.shape[2]
    to_coarse, to_fine = np.empty(size), np.empty(fine_size)
    of_coarse, of_fine = np.empty(size), np.empty(fine_size)
    no_bias = np.zeros(fine_size, np.float32)
    for row in range(len(latents)):
        bucket = buckets[row]
        _distances(latents[row, :width], coarse, to_coarse)
        nearest = _weigh(to_coarse, coarse_scale[bucket], coarse_bias[bucket], of_coarse)
        for index in range(size):
            if index != nearest and not want_posterior:
                continue
            _distances(latents[row, width:], fine[index], to_fine)
            nearest_fine = _weigh(to_fine, fine_scale[bucket, int(index != nearest)], no_bias, of_fine)
            if index == nearest:
                code[row] = nearest * fine_size + nearest_fine
                confidence[row] = of_coarse[index] * of_fine[nearest_fine]
            if want_posterior:
                for place in range(fine_size):
                    chances[row, index * fine_size + place] = of_coarse[index] * of_fine[place]
