"""A simulated crowd on real web pages: the storefront served here, walked through in Chromium."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runtime.backends import Backend, Rowwise
    from agent_runtime.browser.shopper import Walk
    from agent_runtime.crowds.simulation import Plan
    from agent_runtime.storefront.shop import Shop
    from agent_runtime.vocabulary import Vocabulary


def walk_pages(
    plan: "Plan", vocabulary: "Vocabulary", backend: "Backend | Rowwise", shop: "Shop", done: Callable[[int], None]
) -> "list[Walk]":
    """Play a plan's crowd in Chromium on pages made of the shop, and return the walks.

    Raises as ``agent_runtime.crowds.simulation.simulate``, BrowserError without Chromium or Playwright, and ModelError
    for a backend that knows only whole crowds.
    """
    from agent_runtime.backends import Backend
    from agent_runtime.browser.chromium import find_chromium
    from agent_runtime.browser.play import Pages, play_in_browser
    from agent_runtime.browser.shopper import Manners
    from agent_runtime.crowds.simulation import check_codebooks
    from agent_runtime.errors import ModelError
    from agent_runtime.population.population import quotas
    from agent_runtime.storefront.storefront import Storefront
    from agent_runtime.walk.rollout import Span
    from infra.web.alone import storefront_alone
    from infra.web.catalogue import Shops
    from infra.web.storefront import PageRules
    from schemas.settings import settings

    if not isinstance(backend, Backend):
        raise ModelError(f"--browser cannot walk with --backend {plan.backend.removesuffix('-browser')}; choose local.")
    chromium = find_chromium(settings().chromium)
    check_codebooks(vocabulary, plan.mix)
    crowd = list(enumerate(map(int, quotas(plan.mix, plan.buyers, plan.seed))))
    span = Span(plan.start_ms, plan.start_ms + plan.span_ms)
    manners = Manners(True, shop.capabilities.flags(), plan.gap_ms, plan.seed)
    with storefront_alone(Shops.observed([shop]), PageRules(plan.seed)) as address:
        pages = Pages(address, chromium)
        return play_in_browser(pages, backend, vocabulary, Storefront(shop), crowd, span, manners, done)


def figures(walks: "list[Walk]") -> dict[str, Any]:
    """Return how the walks went, for the command's result."""
    return {
        "crashed": sum(walk.session.crashed for walk in walks),
        "invalid_actions": sum(len(walk.invalid) for walk in walks),
        "dialogs_closed": sum(walk.dialogs for walk in walks),
    }


def write_steps(path: Path, walks: "list[Walk]") -> None:
    """Write what every shopper saw and did, one JSON object a step: agent, step, state, action, outcome."""
    with path.open("w") as file:
        for walk in walks:
            for number, step in enumerate(walk.steps):
                row = {"agent": walk.session.agent, "type": walk.session.code_path, "step": number, **step}
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
