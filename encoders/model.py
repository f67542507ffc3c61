"""The network: a recurrent encoder of sessions, and the decoder and heads that tell it what behaviour is.

Behaviour-aware VQ-VAE after SimPersona (arXiv 2605.14205); the contrast between two sessions of one buyer is
``infonce`` below (van den Oord et al. 2018, arXiv 1807.03748), with negatives of the same merchant only, so that the
latent cannot win by recognising the shop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from encoders.feature_spec import GAP_BOUNDS_S, SUMMARY_WIDTH, TOKEN_FEATURES, TOKEN_WIDTH
from schemas.taxonomy import EVENT_NAMES, STRATA

#: Summaries are clipped to this many standard deviations: one odd session must not leave the trained range.
SUMMARY_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network and its codebook."""

    width: int = 64  # of the recurrent state
    hidden: int = 96  # of the layer that joins state and summary
    type_width: int = 16
    style_width: int = 8
    coarse: int = 20
    fine: int = 4
    reads_summary: bool = True  # else the recurrent state alone makes the latent


class SessionEncoder(nn.Module):
    """Tokens and summary of a session → a latent of two unit-length parts: type and style.

    The recurrent state is taken at each session's own last token, so padding never takes part.
    """

    summary_mean: Tensor
    summary_scale: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.type_width = shape.type_width
        self.register_buffer("summary_mean", torch.zeros(SUMMARY_WIDTH))
        self.register_buffer("summary_scale", torch.ones(SUMMARY_WIDTH))
        self.gru = nn.GRU(TOKEN_WIDTH, shape.width)
        self.join = nn.Linear(shape.width + SUMMARY_WIDTH, shape.hidden)
        self.latent = nn.Linear(shape.hidden, shape.type_width + shape.style_width)
        if not shape.reads_summary:
            # weights that are zero and learn nothing: the network, and its export, stay the same in form
            with torch.no_grad():
                self.join.weight[:, shape.width :] = 0.0
            read = (torch.arange(shape.width + SUMMARY_WIDTH) < shape.width).float()
            self.join.weight.register_hook(lambda gradient: gradient * read.to(gradient.device))  # type: ignore[no-untyped-call]

    def standardise(self, summaries: Tensor) -> Tensor:
        """Return summaries (B, S) in standard deviations from the training mean, clipped."""
        return ((summaries - self.summary_mean) * self.summary_scale).clamp(-SUMMARY_LIMIT, SUMMARY_LIMIT)

    def forward(self, tokens: Tensor, counts: Tensor, summaries: Tensor) -> Tensor:
        """Return latents (B, D1 + D2) from tokens (T, B, F), token counts (B,) int64 and summaries (B, S)."""
        packed = pack_padded_sequence(tokens, counts.cpu(), enforce_sorted=False)
        _, state = self.gru(packed)  # (1, B, W)
        joined = functional.relu(self.join(torch.cat([state[0], self.standardise(summaries)], dim=-1)))
        latents = self.latent(joined)
        return torch.cat(
            [
                functional.normalize(latents[:, : self.type_width], dim=-1),
                functional.normalize(latents[:, self.type_width :], dim=-1),
            ],
            dim=-1,
        )


#: Groups of one-hot token features that the decoder predicts; in each, "none of them" is a class of its own.
TARGET_GROUPS = (
    tuple(f"is_{name}" for name in EVENT_NAMES[1:]),
    tuple(f"gap_bucket_{bucket}" for bucket in range(len(GAP_BOUNDS_S) + 1)),
    ("product_new", "product_same", "product_return"),
    ("category_new", "category_same", "category_return"),
    ("query_new", "query_same", "query_refined"),
    ("price_lowest", "price_highest"),
)
_TARGET_SLICES = tuple(
    slice(TOKEN_FEATURES.index(names[0]), TOKEN_FEATURES.index(names[-1]) + 1) for names in TARGET_GROUPS
)
_GROUP_SIZES = tuple(len(names) + 1 for names in TARGET_GROUPS)


def event_targets(tokens: Tensor) -> Tensor:
    """Return the classes (N, groups) of tokens (N, F); 0 is "none", for the event group also "the session ended"."""
    classes = [(tokens[:, group].argmax(-1) + 1) * (tokens[:, group].amax(-1) > 0) for group in _TARGET_SLICES]
    return torch.stack(classes, dim=-1)


class BehaviourDecoder(nn.Module):
    """Rebuilds a session's events, outcome and summary from its quantised latent.

    The next event is predicted from the code and the event before it alone: whatever a longer memory would know has to
    come through the code.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        latent = shape.type_width + shape.style_width
        self.from_token = nn.Linear(TOKEN_WIDTH, shape.width)
        self.from_code = nn.Linear(latent, shape.width, bias=False)
        self.events = nn.Linear(shape.width, sum(_GROUP_SIZES))
        self.hidden = nn.Linear(latent, shape.width)
        self.stratum = nn.Linear(shape.width, len(STRATA))
        self.conversion = nn.Linear(shape.width, 1)
        self.summary = nn.Linear(shape.width, SUMMARY_WIDTH)

    def event_loss(self, codes: Tensor, previous: Tensor, owner: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy, summed over target groups, of events given the event before.

        codes (B, D); previous tokens (N, F); owner (N,) row of each event's session; targets (N, groups).
        """
        hidden = functional.relu(self.from_token(previous) + self.from_code(codes)[owner])
        parts = self.events(hidden).split(_GROUP_SIZES, dim=-1)
        losses = [functional.cross_entropy(part, targets[:, index]) for index, part in enumerate(parts)]
        return torch.stack(losses).sum()

    def outcome_loss(self, codes: Tensor, stratum: Tensor, converted: Tensor, summaries: Tensor) -> Tensor:
        """Return the loss of the heads: funnel stratum (B,), conversion (B,) and the standardised summary (B, S)."""
        hidden = functional.relu(self.hidden(codes))
        stratum_loss = functional.cross_entropy(self.stratum(hidden), stratum)
        conversion_loss = functional.binary_cross_entropy_with_logits(self.conversion(hidden)[:, 0], converted)
        return stratum_loss + conversion_loss + functional.mse_loss(self.summary(hidden), summaries)


def infonce(kinds: Tensor, session: Tensor, whole: Tensor, merchant: Tensor, temperature: float) -> Tensor:
    """Return how badly each reading of a session finds its buyer's other session among the merchant's, in nats.

    whole (2P, D1): rows ``2p`` and ``2p + 1`` are two sessions of one buyer; merchant (2P,) of each.
    kinds (Q, D1): readings of the sessions ``session`` (Q,), rows of ``whole``. Zero when there is none.
    """
    if len(kinds) == 0:
        return kinds.sum()
    similar = kinds @ whole.T / temperature
    apart = merchant[session][:, None] != merchant[None, :]
    apart[torch.arange(len(session), device=session.device), session] = True
    return functional.cross_entropy(similar.masked_fill(apart, float("-inf")), session ^ 1)
