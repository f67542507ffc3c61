"""Several shoppers in one Chromium at once, each in a context of its own that is cleaned before the next."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from agent_runtime.backends import Backend
from agent_runtime.browser.chromium import open_chromium
from agent_runtime.browser.hand import Hand
from agent_runtime.browser.shopper import Manners, Shopper, Walk
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.rollout import Span

if TYPE_CHECKING:
    from playwright.async_api import Browser

#: Shoppers at once: more than this wait for the processor, not for pages, on a machine of two cores.
AT_ONCE = 4
#: Longest wait for a page, a click or the pixel.
PATIENCE_S = 10.0

#: Told of every page of a shopper: its agent, the number of the click, and a screenshot (PNG).
Watch = Callable[[int, int, bytes], None]


@dataclass(frozen=True, slots=True)
class Pages:
    """Where to shop: the storefront's address (``http://127.0.0.1:…/shop``), Chromium's path, and how patiently."""

    address: str
    chromium: str
    at_once: int = AT_ONCE
    patience_s: float = PATIENCE_S


def play_in_browser(
    pages: Pages,
    backend: Backend,
    vocabulary: Vocabulary,
    storefront: Storefront,
    crowd: Sequence[tuple[int, int]],
    span: Span,
    manners: Manners,
    done: Callable[[int], None] = lambda _: None,
    watch: Watch | None = None,
) -> list[Walk]:
    """Return one walk per shopper, in order.

    crowd   agent and buyer type of each shopper
    span    when sessions begin, in event time
    ``done`` is told of shoppers as they finish. Raises BrowserError when Chromium does not start, ModelError when a
    code is not in the vocabulary.
    """

    async def play() -> list[Walk]:
        waiting = deque(enumerate(crowd))
        walks: dict[int, Walk] = {}
        merchant = storefront.shop.merchant_id

        async def seat(browser: "Browser") -> None:
            async with Hand(browser, pages.address, merchant, pages.patience_s) as hand:
                while waiting:
                    place, (agent, code) = waiting.popleft()
                    await hand.welcome(f"{manners.seed}-{agent}")
                    shopper = Shopper(backend, vocabulary, storefront, span, manners, agent, code)
                    begun_s = time.monotonic()
                    walk = await shopper.shop(hand, None if watch is None else partial(watch, agent))
                    walks[place] = replace(walk, seconds=time.monotonic() - begun_s)
                    done(1)

        async with open_chromium(pages.chromium) as browser:
            await asyncio.gather(*(seat(browser) for _ in range(min(pages.at_once, len(crowd)))))
        return [walks[place] for place in range(len(crowd))]

    return asyncio.run(play())
