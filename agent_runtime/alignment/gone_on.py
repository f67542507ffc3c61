"""Simulators that go on to learn from the past halves of the storefronts they are judged on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from agent_runtime.alignment.pool import Casting
from agent_runtime.alignment.run import AlignmentPlan
from agent_runtime.simulators.finetune import FinetuneOptions
from agent_runtime.simulators.simulator import MANIFEST_FILE, load_simulator
from agent_runtime.simulators.training import Recipe, train_simulator
from agent_runtime.storefront.shop import observe_shops
from agent_runtime.traces.held_out import record
from agent_runtime.vocabulary import Vocabulary
from encoders.serving import Encoder
from encoders.sessionise import read_sessions

_PERSONA, _EARLIER = "persona", "earlier"
#: Fewer sessions teach a model themselves and nothing else.
_LEAST_SESSIONS = 50


def gone_on(
    casting: Casting, past: Path, folder: Path, plan: AlignmentPlan, say: Callable[[str], None] = lambda _: None
) -> Casting:
    """Let every simulator of a cast go on with the past sessions of all held-out merchants; return the new cast.

    past    event log of the past halves, as ``read_held_out`` leaves it
    folder  where the simulators are kept; those that are there are not trained again

    One simulator learns from all merchants together, each by the root of its sessions. One for whom there are too few
    sessions stays as it is: that of buyers who came before, where nobody did. Raises ModelError when one has no
    language model of the compact form.
    """
    encoder = Encoder.load(casting.encoder)
    recorded = record(read_sessions([past], plan.gap_ms, casting.max_events), encoder)
    shops = {shop.merchant_id: shop for shop in observe_shops([past], plan.gap_ms)}
    words = Vocabulary(encoder.version, tuple(encoder.code_paths))
    options = FinetuneOptions(seed=plan.seed, goes_on=True)

    def learnt(name: str, source: Path, recipe: Recipe) -> Path:
        target = folder / name
        traces = recorded.traces.of_other_session(plan.seed) if recipe.other_session else recorded.traces
        if len(traces) < _LEAST_SESSIONS:
            return source
        if not (target / MANIFEST_FILE).is_file():
            say(f"{name.replace('_', ' ')} goes on")
            base = load_simulator(source)
            train_simulator(target, recipe, recorded, shops, words, options, torch.device("cpu"), base=base)
        return target

    return replace(
        casting,
        persona=learnt(_PERSONA, casting.persona, Recipe()),
        others={name: learnt(name, source, Recipe(typed=False)) for name, source in casting.others.items()},
        earlier=None if casting.earlier is None else learnt(_EARLIER, casting.earlier, Recipe(other_session=True)),
    )
