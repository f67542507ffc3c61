"""The shopper's eyes and hand on one page of Chromium: look, do a move, and hear the storefront's pixel tell of it.

What the pixel would post to the gateway is told to the hand instead: simulated clicks belong to a topic and to times of
their own, see ``agent_runtime.crowds.publish``.
"""

import asyncio
import json
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from agent_runtime.browser.moves import Move
from agent_runtime.browser.observation import Element, Observation, observe
from agent_runtime.errors import AgentError
from agent_runtime.storefront.address import segment_of
from agent_runtime.storefront.click import Click

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, Locator, Page, ViewportSize

#: Size of a shopper's window.
VIEWPORT: "ViewportSize" = {"width": 800, "height": 600}
#: Dialogs closed before a page is looked at; one more than that and it is not going away.
_MOST_DIALOGS = 3
#: In the page: what is posted to the gateway goes to the hand. (Routing requests would cost far more, and the cache.)
_INSTEAD_OF_GATEWAY = """
const fetched = window.fetch;
window.fetch = (address, options) => {
  if (address !== "/collect") return fetched(address, options);
  window.simulatedClick(options.body);
  return Promise.resolve(Response.json({ accepted: 1, rejected: [] }, { status: 202 }));
};
"""
_COLUMNS = ("product_id", "category", "price_minor", "quantity", "query")


class MissedError(AgentError):
    """A move came to nothing: the page did not answer in time, or the element could not be reached."""


class Hand:
    """One page of Chromium at one merchant, for one shopper after another; use it as an asynchronous context manager.

    patience_s  longest wait for a page, a click or the pixel
    """

    def __init__(self, browser: "Browser", storefront: str, merchant: str, patience_s: float) -> None:
        self._browser, self._storefront, self._merchant = browser, storefront.rstrip("/"), merchant
        self._origin = self._storefront.removesuffix("/shop")
        self._patience_s = patience_s
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.dialogs = 0
        self.page: Page
        self._context: BrowserContext
        self._tools: CDPSession

    async def __aenter__(self) -> "Hand":
        self._context = await self._browser.new_context(viewport=VIEWPORT, locale="en-GB")
        self._context.set_default_timeout(self._patience_s * 1000)
        await self._context.expose_binding("simulatedClick", self._hear)
        await self._context.add_init_script(_INSTEAD_OF_GATEWAY)
        self.page = await self._context.new_page()
        self._tools = await self._context.new_cdp_session(self.page)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._context.close()

    async def welcome(self, client: str) -> None:
        """Make way for the next shopper, whom the storefront will know as ``client``: nothing is left of the last one.

        A fresh context for each would do the same and cost two seconds of processor time.
        """
        await self.page.goto("about:blank")
        kept = {"origin": self._origin, "storageTypes": "cookies,local_storage"}
        await self._tools.send("Storage.clearDataForOrigin", kept)
        await self._context.clear_cookies()
        await self._context.add_cookies([{"name": "client", "value": client, "url": self._origin}])
        self._told = asyncio.Queue()
        self.dialogs = 0

    async def look(self) -> Observation:
        """Close dialogs and return what the page shows. Raises MissedError when it does not answer."""
        for _ in range(_MOST_DIALOGS):
            seen = await self._look()
            if seen.dialog is None:
                return seen
            await self._within(self._find(seen.dialog).click())
            self.dialogs += 1
        raise MissedError("a dialog does not close")

    async def arrive(self, click: Click) -> Click:
        """Open the page that a session begins on, as if by a link from elsewhere, and return the click that was told.

        Raises MissedError.
        """
        return await self._do(self.page.goto(self._address(click), wait_until="commit"))

    async def do(self, move: Move) -> Click:
        """Do a move and return the click that the storefront's pixel told of. Raises MissedError."""
        element = self._find(move.element)
        if move.quantity is not None:
            choice, quantity = move.quantity
            await self._within(self._find(choice).select_option(str(quantity)))
        if move.text is None:
            return await self._do(element.click(no_wait_after=True))
        await self._within(element.fill(move.text))
        return await self._do(element.press("Enter", no_wait_after=True))

    async def give_up(self) -> None:
        """Stop whatever is still loading, so that a late answer is not taken for that of the next move."""
        await self._within(self._tools.send("Page.stopLoading"))
        while not self._told.empty():
            self._told.get_nowait()

    async def picture(self) -> bytes:
        """Return a screenshot (PNG)."""
        return await self.page.screenshot()

    async def _do(self, doing: Any) -> Click:
        await self._within(doing)
        try:
            told = await asyncio.wait_for(self._told.get(), self._patience_s)
        except TimeoutError as error:
            raise MissedError("the page did not answer in time") from error
        columns = {name: told.get(name) for name in _COLUMNS}
        return Click(event=told["event_name"], url_path=told["url_path"], **columns)

    async def _look(self) -> Observation:
        snapshot = await self._within(self.page.aria_snapshot(mode="ai"))
        return observe(snapshot, self.page.url)

    async def _within(self, doing: Any) -> Any:
        try:
            return await doing
        except PlaywrightError as error:
            raise MissedError(_reason(error)) from error

    def _find(self, element: Element) -> "Locator":
        return self.page.locator(f"aria-ref={element.ref}")

    def _address(self, click: Click) -> str:
        base = f"{self._storefront}/{segment_of(self._merchant)}"
        match click.event:
            case "collection_viewed":
                return f"{base}/collection/{quote(click.category or 'all')}"
            case "search_submitted":
                return f"{base}/search?{urlencode({'q': click.query or ''})}"
            case "product_viewed":
                return f"{base}/product/{quote(click.url_path.removeprefix('/products/'))}"
            case "cart_viewed":
                return f"{base}/cart"
        return base

    def _hear(self, source: object, body: str) -> None:
        self._told.put_nowait(json.loads(body))


def _reason(error: PlaywrightError) -> str:
    if isinstance(error, PlaywrightTimeoutError):
        return "the page did not answer in time"
    return str(error.message).strip().splitlines()[0]
