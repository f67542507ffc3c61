"""Vector quantisation with moving-average codebooks (van den Oord et al. 2017, arXiv 1711.00937, appendix A.1).

What keeps a small codebook alive (k-means++ start, Laplace smoothing, restart of dead codes with a cool-down) follows
common practice after Dhariwal et al. 2020 (arXiv 2005.00341); latents and vectors have unit length (Yu et al. 2021,
arXiv 2110.04627), so squared distance is ``2 - 2 cos``.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

#: Weight of the past in the moving averages.
DECAY = 0.99
#: Added to every count, so that an empty code's vector stays finite.
LAPLACE = 1e-3
#: A code with less than this part of an even share is dead …
DEAD_SHARE = 0.02
#: … and is moved onto a random latent, at most once in this many updates.
COOL_DOWN = 50
#: Restarts of k-means++; the one with the least distance is kept.
KMEANS_STARTS = 4


class EmaCodebook(nn.Module):
    """``groups`` independent codebooks of ``size`` unit vectors each; a latent is only compared within its group."""

    vectors: Tensor  # (G, K, D)
    counts: Tensor  # (G, K), moving average of latents per code and batch
    sums: Tensor  # (G, K, D), moving average of their sums
    rested: Tensor  # (G, K), updates since the last restart

    def __init__(self, groups: int, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(groups, size, width))
        self.register_buffer("counts", torch.ones(groups, size))
        self.register_buffer("sums", torch.zeros(groups, size, width))
        self.register_buffer("rested", torch.zeros(groups, size))

    def nearest(self, latents: Tensor, group: Tensor) -> Tensor:
        """Return the nearest code (B,) of each latent (B, D) within its group (B,)."""
        candidates = self.vectors[group]  # (B, K, D)
        return (candidates - latents[:, None]).square().sum(-1).argmin(-1)

    @torch.no_grad()
    def fit(self, latents: Tensor, group: Tensor, seed: int, keep: bool = False) -> None:
        """Set the vectors by k-means on latents (N, D): from k-means++, or with ``keep`` from where they are.

        A group with fewer latents than codes repeats what it has.
        """
        groups, size, _ = self.vectors.shape
        for index in range(groups):
            own = latents[group == index].double().numpy(force=True)
            if len(own) == 0:
                own = latents[:1].double().numpy(force=True)
            if len(np.unique(own, axis=0)) < size:
                own = np.concatenate([own, own[np.arange(size) % len(own)]])
                centres = own[-size:]
            else:
                start = self.vectors[index].double().numpy(force=True) if keep else "k-means++"
                means = KMeans(size, init=start, n_init=1 if keep else KMEANS_STARTS, random_state=seed).fit(own)
                centres = means.cluster_centers_
            vectors = torch.as_tensor(centres, dtype=torch.float32, device=latents.device)
            self.vectors[index] = functional.normalize(vectors, dim=-1)
        self.counts.fill_(1.0)
        self.sums.copy_(self.vectors)
        self.rested.zero_()

    @torch.no_grad()
    def update(self, latents: Tensor, group: Tensor, codes: Tensor, generator: torch.Generator) -> int:
        """Move the vectors towards the latents (B, D) that chose them; return how many dead codes were restarted."""
        groups, size, width = self.vectors.shape
        flat = group * size + codes
        counts = torch.zeros(groups * size, device=latents.device).index_add_(0, flat, torch.ones_like(latents[:, 0]))
        sums = torch.zeros(groups * size, width, device=latents.device).index_add_(0, flat, latents)
        self.counts.lerp_(counts.view_as(self.counts), 1 - DECAY)
        self.sums.lerp_(sums.view_as(self.sums), 1 - DECAY)
        total = self.counts.sum(-1, keepdim=True)
        smoothed = (self.counts + LAPLACE) / (total + size * LAPLACE) * total
        self.vectors.copy_(functional.normalize(self.sums / smoothed[..., None].clamp_min(1e-8), dim=-1))
        self.rested += 1
        return self._restart(latents, group, total / size, generator)

    def _restart(self, latents: Tensor, group: Tensor, even_share: Tensor, generator: torch.Generator) -> int:
        dead = (self.counts < DEAD_SHARE * even_share) & (self.rested > COOL_DOWN)
        restarted = 0
        for index, code in dead.nonzero().tolist():
            own = (group == index).nonzero()[:, 0]
            if len(own) == 0:
                continue
            pick = own[int(torch.randint(len(own), (1,), generator=generator))]
            self.vectors[index, code] = latents[pick]
            self.counts[index, code] = even_share[index, 0]
            self.sums[index, code] = latents[pick] * even_share[index, 0]
            self.rested[index, code] = 0
            restarted += 1
        return restarted


class Quantiser(nn.Module, ABC):
    """What training asks of a quantiser of latents with a type part and a style part."""

    def __init__(self, type_width: int) -> None:
        super().__init__()
        self.type_width = type_width

    def split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the type part (B, D1) and the style part (B, D2) of latents (B, D1 + D2)."""
        return latents[:, : self.type_width], latents[:, self.type_width :]

    @abstractmethod
    def codes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return coarse (B,) and fine (B,) codes of latents (B, D1 + D2)."""

    @abstractmethod
    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return quantised latents (B, D1 + D2) that pass gradients straight through, commitment, coarse, fine."""

    @abstractmethod
    def fit(self, latents: Tensor, seed: int, keep: bool = False) -> None:
        """Set the codebook by latents (N, D1 + D2): at the start of quantisation, and (``keep``) to settle it."""

    @abstractmethod
    def update(self, latents: Tensor, coarse: Tensor, fine: Tensor, generator: torch.Generator) -> int:
        """Learn from a batch's latents and their codes, without gradients; return how many codes were restarted."""


class TreeQuantiser(Quantiser):
    """A coarse codebook for the type part of a latent, and under each coarse code a fine one for the style part."""

    def __init__(self, coarse: int, fine: int, type_width: int, style_width: int) -> None:
        super().__init__(type_width)
        self.coarse = EmaCodebook(1, coarse, type_width)
        self.fine = EmaCodebook(coarse, fine, style_width)

    def codes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return coarse (B,) and fine (B,) codes of latents (B, D1 + D2)."""
        kind, style = self.split(latents)
        coarse = self.coarse.nearest(kind, torch.zeros(len(kind), dtype=torch.long, device=kind.device))
        return coarse, self.fine.nearest(style, coarse)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return quantised latents (B, D1 + D2) that pass gradients straight through, commitment, coarse, fine."""
        coarse, fine = self.codes(latents)
        vectors = torch.cat([self.coarse.vectors[0, coarse], self.fine.vectors[coarse, fine]], dim=-1)
        commitment = (latents - vectors).square().sum(-1).mean()
        return latents + (vectors - latents).detach(), commitment, coarse, fine

    def fit(self, latents: Tensor, seed: int, keep: bool = False) -> None:
        """Set both levels by k-means on latents (N, D1 + D2); see ``EmaCodebook.fit``."""
        kind, style = self.split(latents)
        zero = torch.zeros(len(kind), dtype=torch.long, device=kind.device)
        self.coarse.fit(kind, zero, seed, keep)
        self.fine.fit(style, self.coarse.nearest(kind, zero), seed, keep)

    def update(self, latents: Tensor, coarse: Tensor, fine: Tensor, generator: torch.Generator) -> int:
        """Move both levels towards the latents that chose them; return how many dead codes were restarted."""
        kind, style = self.split(latents)
        restarted = self.coarse.update(kind, torch.zeros_like(coarse), coarse, generator)
        return restarted + self.fine.update(style, coarse, fine, generator)
