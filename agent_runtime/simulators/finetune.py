"""Teaching a causal language model to click like each buyer type: two stages, first the new words, then all weights.

The order of stages is SimPersona's (arXiv 2605.14205): persona rows are learned against a fixed body before the body
follows. A model made here from nothing goes through the same two stages, which costs it nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from agent_runtime.errors import TraceError
from agent_runtime.models.new_models import USUAL_WIDTH
from agent_runtime.vocabulary import Tokens

#: Passes and learning rate for a model that was pretrained.
PRETRAINED_EPOCHS, PRETRAINED_LEARNING_RATE = 3, 2e-4
#: Learning rate for a fresh model of this width: the wider, the lower, in proportion (Yang et al. 2021, arXiv
#: 2203.03466).
_FRESH_LEARNING_RATE = 4e-3
#: Share of that rate at which a model goes on that has learnt by it.
_GOING_ON_RATE = 0.5
#: Steps that a fresh model takes to learn, and one that goes on (docs/log.md), and the most passes this may mean.
_FRESH_STEPS, _FRESH_PASSES = 1_500, 15
_GOING_ON_STEPS, _GOING_ON_PASSES = 300, 50
_FEWEST_PASSES = 3

_WEIGHT_DECAY = 0.01
_IGNORED = -100


class Words(Protocol):
    """How rows of tokens are to be learnt; the compact words (``Vocabulary``) or text (``TextForm``)."""

    @property
    def pad(self) -> int:
        """Id that fills up shorter rows."""
        ...

    @property
    def offset(self) -> int:
        """First of the rows in the model's tables that are new to it."""
        ...

    @property
    def spoken(self) -> slice:
        """The ids of which the next one is chosen."""
        ...

    def targets(self, ids: Tokens, ignored: int) -> Tokens:
        """Return (B, T): places within ``spoken`` of the ids (B, T) that are learnt, ``ignored`` for the others."""
        ...

    def stand_ins(self, seen: Set[int]) -> Mapping[int, Sequence[int]]:
        """Return the ids that mean nearly what an unseen one does, of those whose like was ``seen`` in training."""
        ...


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """Dials of one training. ``rows_share`` of the steps train the new words' rows alone.

    epochs         passes over the rows; None for as many as a model made here needs: more of few rows
    learning_rate  the highest on the way; None for what suits a model made here, of its width
    goes_on        whether the model has learnt by this before and now reads more: fewer steps, at half the rate
    """

    epochs: int | None = None
    batch_tokens: int = 2_048
    learning_rate: float | None = None
    rows_share: float = 0.1
    warm_up_share: float = 0.05
    held_out_share: float = 0.05
    gradient_limit: float = 5.0
    seed: int = 0
    goes_on: bool = False

    def passes(self, batches: int) -> int:
        """Return the passes over rows that make so many batches."""
        steps, most = (_GOING_ON_STEPS, _GOING_ON_PASSES) if self.goes_on else (_FRESH_STEPS, _FRESH_PASSES)
        return self.epochs or min(max(math.ceil(steps / batches), _FEWEST_PASSES), most)

    def rate(self, width: int) -> float:
        """Return the highest learning rate for a model of this width."""
        share = _GOING_ON_RATE if self.goes_on else 1.0
        return self.learning_rate or share * _FRESH_LEARNING_RATE * USUAL_WIDTH / width


@dataclass(frozen=True, slots=True)
class Finetuned:
    """A trained model and its figures: nats per held-out session, and the numbers of rows and steps."""

    model: Any
    figures: dict[str, float]
    options: dict[str, Any]


def finetune(
    model: Any,
    words: Words,
    rows: Sequence[Tokens],
    options: FinetuneOptions,
    device: torch.device,
    on_step: Callable[[int, int, float], None] = lambda done, planned, loss: None,
    weights: npt.NDArray[np.float64] | None = None,
) -> Finetuned:
    """Train ``model`` in place on token rows (see ``token_rows``) and measure it on a held-out part of them.

    weights  (n,) what each row counts for, 1 on the mean; without them all count alike

    ``on_step(done, planned, loss)`` is called after every batch, loss in nats per token. Equal inputs, seed and thread
    count give equal weights. Of a model with frozen parts (``add_low_rank``) the tables' old rows stay as they are too.
    Raises TraceError when there are too few rows.
    """
    generator = np.random.default_rng(options.seed)
    torch.manual_seed(options.seed)
    order = generator.permutation(len(rows))
    held = max(1, int(len(rows) * options.held_out_share))
    if len(rows) < 2 * held:
        raise TraceError(f"{len(rows)} sessions are too few to learn from; assign a longer event log.")
    training, held_out = [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]
    counts = np.ones(len(training)) if weights is None else weights[order[held:]]
    batches = [padded_batches(training, options.batch_tokens, generator)]
    passes = options.passes(len(batches[0]))
    batches += [padded_batches(training, options.batch_tokens, generator) for _ in range(passes - 1)]
    planned = sum(map(len, batches))
    only_rows = int(planned * options.rows_share)
    adapted = not all(parameter.requires_grad for parameter in model.parameters())
    model.to(device).train()
    rate = options.rate(model.config.hidden_size)
    optimiser = torch.optim.AdamW(_groups(model), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=planned, pct_start=options.warm_up_share
    )
    step = 0
    for epoch in batches:
        for batch in epoch:
            total, tokens = _loss(model, words, [training[i] for i in batch], device, counts[batch])
            # Divided by a constant: a mean per batch would weigh leaving more in batches of short sessions.
            torch.autograd.backward(total / options.batch_tokens)
            if step < only_rows or adapted:
                _keep_rows_only(model, words.offset, step < only_rows)
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.gradient_limit)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            on_step(step, planned, float(total.detach()) / tokens)
    if not options.goes_on:  # else words that were not read now may have been read before
        _lend_rows(model, words.stand_ins(set(np.unique(np.concatenate(training)).tolist())))
    figures = {
        "held_out_nats_per_session": held_out_nats(model, words, held_out, device),
        "training_sessions": float(len(training)),
        "held_out_sessions": float(len(held_out)),
        "steps": float(planned),
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    return Finetuned(model.eval(), figures, asdict(options) | {"epochs": passes, "learning_rate": rate})


@torch.no_grad()
def held_out_nats(model: Any, words: Words, rows: Sequence[Tokens], device: torch.device) -> float:
    """Return the mean negative log-likelihood of a session's own tokens given its prompt, in nats."""
    model.eval()
    total = 0.0
    for batch in padded_batches(rows, 4_096, np.random.default_rng(0)):
        loss, _ = _loss(model, words, [rows[i] for i in batch], device, np.ones(len(batch)))
        total += float(loss)
    return total / len(rows)


def padded_batches(rows: Sequence[Tokens], tokens: int, generator: np.random.Generator) -> list[list[int]]:
    """Return batches of row numbers of about equal length and at most ``tokens`` tokens with padding, shuffled."""
    lengths = np.array([len(row) for row in rows])
    order = np.lexsort((generator.random(len(rows)), lengths))
    batches: list[list[int]] = [[]]
    for row in order:
        if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > tokens:
            batches.append([])
        batches[-1].append(int(row))
    return [batches[i] for i in generator.permutation(len(batches))]


def _loss(
    model: Any, words: Words, rows: Sequence[Tokens], device: torch.device, weights: npt.NDArray[np.float64]
) -> tuple[torch.Tensor, int]:
    """Return the summed loss of what is learnt of the rows, weighed (B,), and the number of those tokens."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), words.pad, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    targets = words.targets(ids, _IGNORED)
    inputs = torch.from_numpy(ids).to(device)  # (B, T)
    wanted = torch.from_numpy(targets[:, 1:].copy()).to(device)
    # Padding stands at the end, where a causal model's earlier positions do not see it: no mask is needed.
    logits = model(input_ids=inputs[:, :-1], use_cache=False).logits[..., words.spoken]  # (B, T - 1, words)
    losses = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1), ignore_index=_IGNORED, reduction="none"
    )
    of_rows = losses.reshape(wanted.shape).sum(dim=1)  # (B,)
    return of_rows @ torch.from_numpy(weights).to(of_rows), int((targets != _IGNORED).sum())


@torch.no_grad()
def _lend_rows(model: Any, lent: Mapping[int, Sequence[int]]) -> None:
    """Give words that were never read the mean of what others mean: their own rows are still what chance made them."""
    table = model.get_input_embeddings().weight
    for word, others in lent.items():
        table[word] = table[list(others)].mean(dim=0)


def _tables(model: Any) -> set[torch.nn.Parameter]:
    """Return the input and output tables, whose rows are words."""
    return {model.get_input_embeddings().weight, model.get_output_embeddings().weight}


def _groups(model: Any) -> list[dict[str, Any]]:
    """Return parameter groups: words do not decay, or those that are never seen would fade away."""
    tables = _tables(model)
    body = [parameter for parameter in model.parameters() if parameter not in tables]
    words = [parameter for parameter in model.parameters() if parameter in tables]
    return [{"params": body, "weight_decay": _WEIGHT_DECAY}, {"params": words, "weight_decay": 0.0}]


def _keep_rows_only(model: Any, offset: int, frozen: bool) -> None:
    """Drop the gradients of all but the new rows in the input and output tables; those of the body if it is frozen."""
    tables = _tables(model)
    for parameter in model.parameters():
        if parameter not in tables:
            parameter.grad = None if frozen else parameter.grad
        elif parameter.grad is not None:
            parameter.grad[:offset] = 0.0
