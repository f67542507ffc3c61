"""Simulators made from recorded sessions: with persona tokens, without, larger, or of buyers known from before.

What ``finetune`` does from assignments, for those who hold the sessions already: the alignment's comparisons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agent_runtime.models.markov import fit_markov
from agent_runtime.models.new_models import TinyShape, shape_of, tiny_model
from agent_runtime.models.replay import repertoire
from agent_runtime.population.prior import prior_of
from agent_runtime.simulators.finetune import FinetuneOptions, finetune
from agent_runtime.simulators.response_fit import learn_response
from agent_runtime.simulators.simulator import Simulator, write_simulator
from agent_runtime.storefront.capabilities import NO_FLAGS
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.held_out import Recorded
from agent_runtime.traces.traces import Traces, token_rows
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
    answers: Traces | None = None,
    base: Simulator | None = None,
) -> Mapping[str, float]:
    """Train by a recipe, write the simulator's folder and return its figures. Raises as ``finetune``.

    base  of the same recipe: its model goes on to learn (``options.goes_on``), instead of one made from nothing

    Where the shops' conditions are told and differ, answers to them are learnt too: from ``answers``, sessions of more
    storefronts than the model is trained on, where they are given.
    """
    traces = training.traces
    if recipe.other_session:
        traces = traces.of_other_session(options.seed)
    words = vocabulary
    if not recipe.typed:
        traces, words = traces.untyped(), vocabulary.untyped()
    flags = [shops[merchant].capabilities.flags() if recipe.flags else NO_FLAGS for merchant in traces.merchants]
    model, words = base.to_go_on(words) if base else (tiny_model(words, recipe.shape, options.seed), words)
    rows = token_rows(traces, words, flags)
    trained = finetune(model, words, rows, options, device, on_step, traces.weights())
    fields = {"figures": trained.figures, "options": trained.options, "sessions": len(traces), "seed": options.seed}
    again = repertoire(rows, traces.code, words, options.seed)
    differ = len({shop.conditions for shop in shops.values()}) > 1
    told = traces if answers is None else answers
    kept = base.response() if base else None
    response = learn_response(trained.model, words, told, shops, device) if differ else kept
    chain = fit_markov(traces, words)
    known = base.shops_and(shops.values()) if base else list(shops.values())
    prior = prior_of(traces, words) or (base.prior() if base else None)
    write_simulator(folder, words, chain, known, trained.model.cpu(), fields, again, response, prior=prior)
    return trained.figures
