"""Pictures of browser sessions: one strip a persona, from the first page to the last."""

import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from agent_runtime.browser.play import Pages, play_in_browser
from agent_runtime.browser.shopper import Manners, Walk
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.rollout import Span
from bench.browser_world import START_MS, BrowserWorld
from infra.web.alone import storefront_alone
from infra.web.catalogue import Shops
from infra.web.storefront import PageRules
from schemas.settings import settings

#: Pages of a strip, their width and height in it, the gap between them, and the colours kept.
PAGES, WIDTH, HEIGHT, GAP, COLOURS = 4, 400, 300, 8, 64
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Sitting:
    """Who is pictured: shoppers (agent, code) at one merchant."""

    merchant: str
    crowd: list[tuple[int, int]]
    seed: int


def take_pictures(
    world: BrowserWorld, sitting: Sitting, pages: Pages, folder: Path, say: Callable[[str], None]
) -> dict[Path, Walk]:
    """Walk some shoppers once more, alone, and write a strip of each to ``folder``, named by buyer type.

    Raises as ``play_in_browser``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    simulator, shop = world.simulators[True, True], world.shops[sitting.merchant]
    seen: dict[int, list[bytes]] = defaultdict(list)
    manners = Manners(True, shop.capabilities.flags(), settings().gap_ms, sitting.seed)
    shops = Shops.read(world.catalogue, world.storefronts)
    with storefront_alone(shops, PageRules(sitting.seed)) as address:
        walks = play_in_browser(
            replace(pages, address=address),
            simulator.model(),
            simulator.vocabulary,
            Storefront(shop),
            sitting.crowd,
            Span(START_MS, START_MS + 7 * _DAY_MS),
            manners,
            watch=lambda agent, click, picture: seen[agent].append(picture),
        )
    written = {}
    for walk in walks:
        path = folder / f"session-{walk.session.code_path}.png"
        strip(seen[walk.session.agent]).save(path, optimize=True)
        say(f"{path}: {len(walk.session.clicks)} clicks, {walk.session.outcome}")
        written[path] = walk
    return written


def strip(pictures: list[bytes]) -> Image.Image:
    """Return up to ``PAGES`` of a session's screenshots (PNG) side by side, evenly spread, in few colours."""
    spread = np.linspace(0, len(pictures) - 1, PAGES).round().astype(int)
    chosen: list[int] = sorted(set(spread.tolist())) if pictures else []
    whole = Image.new("RGB", (max(len(chosen), 1) * (WIDTH + GAP) - GAP, HEIGHT), "white")
    for place, number in enumerate(chosen):
        page = Image.open(io.BytesIO(pictures[number])).convert("RGB").resize((WIDTH, HEIGHT))
        whole.paste(page, (place * (WIDTH + GAP), 0))
    return whole.quantize(COLOURS)
