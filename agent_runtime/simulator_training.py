"""Simulators made from recorded sessions: with persona tokens, without, larger, or of buyers known from before.

What ``finetune`` does from assignments, for those who hold the sessions already: the alignment's comparisons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agent_runtime.capabilities import NO_FLAGS
from agent_runtime.finetune import FinetuneOptions, TinyShape, finetune, shape_of, tiny_model
from agent_runtime.held_out import Recorded
from agent_runtime.markov import fit_markov
from agent_runtime.shop import Shop
from agent_runtime.simulator import write_simulator
from agent_runtime.traces import token_rows
from agent_runtime.vocabulary import Vocabulary

#: About eight times the default's parameters, at the same depth of training.
EIGHTFOLD = shape_of(160, 3)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train. ``typed``: with persona tokens; ``other_session``: of another session of the same buyer;
    ``flags``: told what the storefront can do.
    """

    shape: TinyShape = field(default_factory=TinyShape)
    typed: bool = True
    other_session: bool = False
    flags: bool = True


#: The simulators that an alignment compares.
RECIPES: Mapping[str, Recipe] = {
    "persona": Recipe(),
    "no_persona": Recipe(typed=False),
    "eightfold": Recipe(EIGHTFOLD, typed=False),
    "earlier": Recipe(other_session=True),
}


def train_simulator(
    folder: Path,
    recipe: Recipe,
    training: Recorded,
    shops: Mapping[str, Shop],
    vocabulary: Vocabulary,
    options: FinetuneOptions,
    device: torch.device,
    on_step: Callable[[int, int, float], None] = lambda done, planned, loss: None,
) -> Mapping[str, float]:
    """Train by a recipe, write the simulator's folder and return its figures. Raises as ``finetune``."""
    traces = training.traces
    if recipe.other_session:
        traces = traces.of_other_session(options.seed)
    words = vocabulary
    if not recipe.typed:
        traces, words = traces.untyped(), vocabulary.untyped()
    flags = [shops[merchant].capabilities.flags() if recipe.flags else NO_FLAGS for merchant in traces.merchants]
    model = tiny_model(words, recipe.shape, options.seed)
    trained = finetune(model, words, token_rows(traces, words, flags), options, device, on_step)
    fields = {"figures": trained.figures, "options": trained.options, "sessions": len(traces), "seed": options.seed}
    write_simulator(folder, words, fit_markov(traces, words), list(shops.values()), trained.model.cpu(), fields)
    return trained.figures
