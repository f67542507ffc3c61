"""How a worker learns of a newly published codebook while it runs, and which one it begins with."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType

from encoders.serving import Encoder
from streams.codebooks.rows import register_codebook
from streams.codebooks.topic import CodebookReader
from streams.errors import CodebookTopicError, RetryLater
from streams.store.sink import Sink

logger = logging.getLogger(__name__)


class CodebookWatch:
    """Follows ``personas.codebooks`` for one worker; an asynchronous context. ``scratch`` is a folder for encoders.

    A worker follows the topic if the encoder of its settings was ever served from it. One that was given an encoder the
    topic has never seen (newly trained) serves that, whatever is published, until it is published itself.
    """

    def __init__(self, bootstrap: str, scratch: Path) -> None:
        self._reader = CodebookReader(bootstrap)
        self._scratch = scratch
        self._serving = ""
        self._follows = False

    async def __aenter__(self) -> "CodebookWatch":
        """Connect and read what is there. Raises CodebookTopicError when no broker answers."""
        await self._reader.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._reader.__aexit__(kind, error, trace)

    def to_begin_with(self, own: Path, version: str) -> Path:
        """Return the folder of the encoder to serve: the current one, or ``own`` (of this version).

        Raises CodebookTopicError when the current one cannot be served.
        """
        self._serving = version
        return self._next(version) or own

    async def follow(self, arrived: Callable[[Path], Awaitable[None]], fail: Callable[[BaseException], None]) -> None:
        """Call ``arrived`` with the folder of every codebook that becomes current, until cancelled.

        One that cannot be served is logged, and the worker goes on with what it has; any other error goes to ``fail``.
        """
        own = self._serving
        try:
            while True:
                if await self._reader.fetch():
                    await self._arrival(own, arrived)
        except Exception as error:
            fail(error)

    async def _arrival(self, own: str, arrived: Callable[[Path], Awaitable[None]]) -> None:
        try:
            folder = self._next(own)
        except CodebookTopicError as error:
            logger.error("%s This worker goes on with codebook %s.", error, self._serving)
            return
        if folder is not None:
            await arrived(folder)

    def _next(self, own: str) -> Path | None:
        """Return the folder of the current codebook if it is for this worker and not what it serves."""
        shelf = self._reader.shelf
        if shelf.current is None:
            return None
        self._follows = self._follows or own in shelf.current.versions
        if not self._follows:
            logger.warning("Codebook %s was never published; this worker keeps it.", own)
            return None
        version = shelf.current.codebook_version
        if version == self._serving:
            return None
        folder = shelf.unpack(version, self._scratch)
        self._serving = version
        return folder


async def adopt(offer: Callable[[Encoder], None], sink: Sink, store_thread: Executor, folder: Path) -> None:
    """Load a newly published encoder, note its codes in the store, and offer it for the next commit.

    In this order, so that every code in the store has a name. Raises what is not a store that is away.
    """
    loop = asyncio.get_running_loop()
    encoder = await loop.run_in_executor(None, Encoder.load, folder)
    while True:
        try:
            await loop.run_in_executor(store_thread, register_codebook, sink, folder)
            break
        except RetryLater as error:
            logger.warning("%s Trying again in %.1f s.", error, error.retry_after_s)
            await asyncio.sleep(error.retry_after_s)
    offer(encoder)
    logger.info("Codebook %s takes over at the next commit.", encoder.version)
