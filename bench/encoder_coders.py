"""Everything that turns a session into a coarse and a full code, behind one seam: our encoder and its peers.

k-means++ and the Gaussian mixture see the summary that the encoder sees, standardised in the same way; a
recurrent part they have none.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from encoders.feature_spec import SUMMARY_WIDTH
from encoders.features import described_features
from encoders.model import SUMMARY_LIMIT, SessionEncoder, Shape
from encoders.quantiser import KMEANS_STARTS, Quantiser
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from encoders.training import CODEBOOK_SESSIONS, torch_latents
from schemas.events import I64

F32 = npt.NDArray[np.float32]

#: Rounds of expectation maximisation at most, and what is added to each variance.
MIXTURE_ROUNDS, MIXTURE_FLOOR = 50, 1e-3


class Coder(Protocol):
    """Latents of sessions, and codes of latents; the mean latent of a buyer's sessions has a code as well."""

    def latents(self, log: SessionLog, lengths: I64, still_open: bool = False) -> F32:
        """Return the latents (n, D) of the first ``lengths`` (n,) events of each session, over or ``still_open``."""
        ...

    def codes(self, latents: F32) -> tuple[I64, I64]:
        """Return coarse and full codes, (n,) each, of latents (n, D)."""
        ...


@dataclass(frozen=True, slots=True)
class ServedCoder:
    """The encoder as it is served: ONNX Runtime, and the codebook's compiled search."""

    encoder: Encoder

    def latents(self, log: SessionLog, lengths: I64, still_open: bool = False) -> F32:
        """Return latents (n, D), see ``Coder``."""
        return self.encoder.latents(log.events, log.starts, lengths, still_open)

    def codes(self, latents: F32) -> tuple[I64, I64]:
        """Return coarse and full codes, see ``Coder``."""
        full = self.encoder.codebook.assign(latents, np.ones(len(latents), np.int64)).code.astype(np.int64)
        return full // self.encoder.codebook.fine.shape[1], full


@dataclass(frozen=True, slots=True)
class TrainedCoder:
    """A network and its quantiser as training leaves them, run by torch."""

    encoder: SessionEncoder
    quantiser: Quantiser
    fine: int

    def latents(self, log: SessionLog, lengths: I64, still_open: bool = False) -> F32:
        """Return latents (n, D), see ``Coder``."""
        begun = SessionLog(log.events, log.starts, lengths, log.key, log.merchant, log.merchants)
        return np.asarray(torch_latents(self.encoder, begun, still_open=still_open).numpy(), np.float32)

    @torch.no_grad()
    def codes(self, latents: F32) -> tuple[I64, I64]:
        """Return coarse and full codes, see ``Coder``."""
        coarse, fine = self.quantiser.codes(torch.from_numpy(latents))
        return coarse.numpy(), (coarse * self.fine + fine).numpy()


@dataclass(frozen=True, slots=True)
class ClusterCoder:
    """Clusters of the standardised summaries: as many as there are coarse codes, and as many as there are full ones."""

    mean: F32
    scale: F32
    coarse: KMeans | GaussianMixture
    full: KMeans | GaussianMixture

    def latents(self, log: SessionLog, lengths: I64, still_open: bool = False) -> F32:
        """Return standardised summaries (n, S), see ``Coder``."""
        return standardised(log, lengths, self.mean, self.scale)

    def codes(self, latents: F32) -> tuple[I64, I64]:
        """Return coarse and full codes, see ``Coder``."""
        return self.coarse.predict(latents).astype(np.int64), self.full.predict(latents).astype(np.int64)


def standardised(log: SessionLog, lengths: I64, mean: F32, scale: F32) -> F32:
    """Return summaries (n, S) in standard deviations from ``mean``, clipped as the encoder clips them."""
    summaries = described_features(log.events, log.starts, lengths)[:, :SUMMARY_WIDTH]
    return np.asarray(np.clip((summaries - mean) * scale, -SUMMARY_LIMIT, SUMMARY_LIMIT), np.float32)


def fit_kmeans(log: SessionLog, shape: Shape, seed: int) -> ClusterCoder:
    """Return k-means from k-means++, with as many starts as the encoder's codebook gets."""
    mean, scale, sample = _sample(log, seed)
    coarse, full = (
        KMeans(size, n_init=KMEANS_STARTS, random_state=seed).fit(sample)
        for size in (shape.coarse, shape.coarse * shape.fine)
    )
    return ClusterCoder(mean, scale, coarse, full)


def fit_mixture(log: SessionLog, shape: Shape, seed: int) -> ClusterCoder:
    """Return Gaussian mixtures with a full covariance matrix per component, begun by k-means."""
    mean, scale, sample = _sample(log, seed)
    coarse, full = (
        GaussianMixture(size, max_iter=MIXTURE_ROUNDS, reg_covar=MIXTURE_FLOOR, random_state=seed).fit(sample)
        for size in (shape.coarse, shape.coarse * shape.fine)
    )
    return ClusterCoder(mean, scale, coarse, full)


def _sample(log: SessionLog, seed: int) -> tuple[F32, F32, F32]:
    rows = np.sort(np.random.default_rng(seed).permutation(len(log))[:CODEBOOK_SESSIONS])
    chosen = log.select(rows)
    summaries = described_features(chosen.events, chosen.starts, chosen.lengths)[:, :SUMMARY_WIDTH]
    mean, scale = summaries.mean(0), 1.0 / np.maximum(summaries.std(0), 1e-2)
    return mean, scale, standardised(chosen, chosen.lengths, mean, scale)
