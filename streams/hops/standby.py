"""Warm copies: the changelog of partitions that another worker owns, followed so that taking them over is quick."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from streams.broker.changelog import Changelog
from streams.broker.chunks import TopicPartition
from streams.broker.record_columns import Records
from streams.sessions.windows import SessionWindows


@dataclass(slots=True)
class Copy:
    """The sessions of one source as of a changelog offset: every record before ``position`` has been applied."""

    windows: SessionWindows
    position: int = 0


class Standby:
    """Follows some sources' changelogs in a task of its own.

    ``new_windows`` makes a source's empty windows; ``restore`` applies records to them, off the event loop.
    """

    def __init__(
        self,
        changelog: Changelog,
        new_windows: Callable[[TopicPartition], SessionWindows],
        restore: Callable[[SessionWindows, Records], Awaitable[None]],
        fail: Callable[[BaseException], None],
    ) -> None:
        """``fail`` is told when following ends with an error."""
        self._changelog = changelog
        self._new_windows = new_windows
        self._restore = restore
        self._fail = fail
        self._copies: dict[TopicPartition, Copy] = {}
        self._ending = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    @property
    def open_sessions(self) -> int:
        """Open sessions in all copies."""
        return sum(copy.windows.open_sessions for copy in self._copies.values())

    async def take(self, source: TopicPartition) -> Copy:
        """Return what is known of a source, an empty copy when it was not followed; ends all following."""
        await self.end()
        return self._copies.pop(source, None) or Copy(self._new_windows(source))

    async def follow(self, sources: AbstractSet[TopicPartition]) -> None:
        """Follow these sources from now on and forget the others."""
        await self.end()
        self._copies = {source: self._copies.get(source) or Copy(self._new_windows(source)) for source in sources}
        if self._copies:
            self._following = asyncio.ensure_future(self._follow())

    async def end(self) -> None:
        """Follow no longer; what is known stays."""
        if self._following is not None:
            self._ending.set()
            await self._following
            self._ending.clear()
            self._following = None

    async def _follow(self) -> None:
        try:
            positions = {source: copy.position for source, copy in self._copies.items()}
            async with self._changelog.reader(positions) as reader:
                ending = asyncio.ensure_future(self._ending.wait())
                while not ending.done():
                    fetching = asyncio.ensure_future(reader.fetch())
                    await asyncio.wait([fetching, ending], return_when=asyncio.FIRST_COMPLETED)
                    if ending.done():
                        # What was fetched is not applied, so the next reader fetches it again.
                        fetching.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await fetching
                        break
                    await reader.apply(fetching.result(), self._apply)
                    for source, position in reader.positions.items():
                        self._copies[source].position = position
        except Exception as error:
            self._fail(error)

    async def _apply(self, source: TopicPartition, records: Records) -> None:
        await self._restore(self._copies[source].windows, records)
