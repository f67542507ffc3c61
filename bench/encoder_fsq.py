"""Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505) in place of the moving-average codebooks.

The bound is symmetric about zero: with that of the paper two levels hardly part (its authors advise five or more).

Each part of the latent is projected to a few bounded numbers, which are rounded to a few levels; the code is their
mixed-radix number. There is no codebook to fit: the projections learn to give the latent back, by gradient.
"""

import torch
from torch import Tensor, nn

from encoders.model import Shape
from encoders.quantiser import Quantiser

#: Least standard deviation of a principal axis that is stretched to one.
_LEAST_SPREAD = 1e-3


def levels_of(size: int) -> tuple[int, ...]:
    """Return the levels per number whose product is ``size``, as even as its prime factors allow: 16 → (4, 4)."""
    levels = [1, 1]
    factor, rest = 2, size
    factors = []
    while rest > 1:
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
        factor += 1
    for prime in reversed(factors):
        levels[levels.index(min(levels))] *= prime
    return tuple(level for level in levels if level > 1) or (1,)


class ScalarQuantiser(nn.Module):
    """One part of the latent (B, D) → as many rounded numbers as there are levels → the part again."""

    levels: Tensor
    place: Tensor

    def __init__(self, levels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
        place = torch.cumprod(torch.tensor((1, *levels[:-1]), dtype=torch.long), 0)
        self.register_buffer("place", place)
        self.down = nn.Linear(width, len(levels))
        self.up = nn.Linear(len(levels), width)

    def forward(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part given back (B, D), gradients passing straight through, and its code (B,) int64."""
        rounded = self._rounded(part)
        return self.up(rounded), (rounded.detach().round().long() * self.place).sum(-1)

    def _rounded(self, part: Tensor) -> Tensor:
        """Return levels (B, d), from 0 up, of parts (B, D), gradients passing straight through the rounding."""
        bounded = (torch.tanh(self.down(part)) + 1) / 2 * (self.levels - 1)
        return torch.as_tensor(bounded + (bounded.round() - bounded).detach())

    @torch.no_grad()
    def start(self, part: Tensor) -> None:
        """Project onto the principal axes of parts (N, D), spread over all levels, and back by least squares.

        Left at random, the projections of unit vectors are so short that all of them round to the middle.
        """
        mean = part.mean(0)
        _, spread, axes = torch.linalg.svd(part - mean, full_matrices=False)
        count = len(self.levels)
        down = axes[:count] / (spread[:count, None] / len(part) ** 0.5).clamp_min(_LEAST_SPREAD)
        self.down.weight.copy_(down)
        self.down.bias.copy_(-down @ mean)
        rounded = torch.cat([self._rounded(part), torch.ones(len(part), 1)], dim=-1)
        back = torch.linalg.lstsq(rounded, part).solution
        self.up.weight.copy_(back[:-1].T)
        self.up.bias.copy_(back[-1])


class FsqQuantiser(Quantiser):
    """Coarse and fine codes by rounding; the fine code's levels are the same under every coarse code."""

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__(shape.type_width)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.coarse = ScalarQuantiser(levels_of(shape.coarse), shape.type_width)
            self.fine = ScalarQuantiser(levels_of(shape.fine), shape.style_width)

    def codes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return coarse and fine codes, see ``Quantiser``."""
        _, _, coarse, fine = self(latents)
        return coarse, fine

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return quantised latents, how far they are from the latents, coarse and fine codes, see ``Quantiser``."""
        kind, style = self.split(latents)
        given_kind, coarse = self.coarse(kind)
        given_style, fine = self.fine(style)
        given = torch.cat([given_kind, given_style], dim=-1)
        return given, (latents - given).square().sum(-1).mean(), coarse, fine

    def fit(self, latents: Tensor, seed: int, keep: bool = False) -> None:
        """Start the projections from the latents, see ``ScalarQuantiser.start``; ``keep`` does nothing."""
        if not keep:
            for part, quantiser in zip(self.split(latents), (self.coarse, self.fine), strict=True):
                quantiser.start(part)

    def update(self, latents: Tensor, coarse: Tensor, fine: Tensor, generator: torch.Generator) -> int:
        """Do nothing: gradients do it all."""
        return 0
