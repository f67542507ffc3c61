"""Chromium as simulated shoppers use it: the one installed on this machine, without a window, on loopback only."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent_runtime.errors import BrowserError

if TYPE_CHECKING:
    from playwright.async_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Nothing but the pages asked for: no sandbox (containers lack it), no GPU, no calls home, no host but loopback.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_chromium(named: str = "") -> str:
    """Return the path of Chromium: ``named``, or the first in PATH. Raises BrowserError saying what to install."""
    if find_spec("playwright") is None:
        raise BrowserError("Playwright is not installed; run `pip install 'simpersona-stream[browser]'`.")
    found = next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)
    if found is None:
        looked = f"at {named} (SIMPERSONA_CHROMIUM)" if named else "in PATH"
        raise BrowserError(f"No Chromium {looked}; install it (apt-get install chromium) or set SIMPERSONA_CHROMIUM.")
    return found


@asynccontextmanager
async def open_chromium(path: str) -> "AsyncIterator[Browser]":
    """Run Chromium with a fresh profile and close it at the end. Raises BrowserError when it does not start."""
    from playwright.async_api import Error, async_playwright

    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=path, headless=True, args=list(ARGUMENTS))
        except Error as error:
            reason = error.message.strip().splitlines()[0]
            raise BrowserError(f"Chromium at {path} does not start ({reason}); try it by hand.") from error
        try:
            yield browser
        finally:
            await browser.close()
