"""The first hop: clicks in, session assignments and rejections out, open sessions kept in the changelog."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from schemas.settings import Settings
from schemas.topics import CLICKS_REJECTED, SESSIONS_ASSIGNED, SOURCE_OF_TOPIC
from streams.changelog import Changelog
from streams.chunks import Chunk, TopicPartition
from streams.click_work import ClickWork, Outputs
from streams.emit import Emitter
from streams.errors import RetryLater
from streams.metrics import Metrics
from streams.sessions import SessionWindows

T = TypeVar("T")

#: Time after which a worker that lost its partitions looks again; by then the rebalance has usually come.
FENCED_RETRY_S = 1.0


@dataclass(slots=True)
class Lane:
    """One source partition: its sessions, and how long it has been idle by the clock."""

    windows: SessionWindows
    ticked_ms: int
    #: Event-time watermark when the last events came, and clock time since then with nothing left to fetch.
    reached_ms: int
    idle_ms: int = 0
    lag: int = 0
    changed: bool = False


@dataclass(frozen=True)
class Shell:
    """What the hop asks of the Faust shell.

    caught_up  the broker has just confirmed that it holds nothing of the partition that we lack
    committed  next offset to read by the last commit of a partition, None while unknown
    fence      whether this worker is still a member of its group, asked of the broker
    clock_ms   the wall clock
    """

    caught_up: Callable[[TopicPartition], bool]
    committed: Callable[[TopicPartition], int | None]
    fence: Callable[[], Awaitable[bool]]
    clock_ms: Callable[[], int]


class ClickHop:
    """Implements ``streams.hop.Hop`` for the click topics. All computing happens in ``executor`` (one thread)."""

    topics: Sequence[str] = tuple(SOURCE_OF_TOPIC)

    def __init__(
        self,
        work: ClickWork,
        emitter: Emitter,
        changelog: Changelog,
        executor: Executor,
        settings: Settings,
        shell: Shell,
        metrics: Metrics,
    ) -> None:
        self._work = work
        self._emitter = emitter
        self._changelog = changelog
        self._executor = executor
        self._settings = settings
        self._shell = shell
        self._metrics = metrics
        self._lanes: dict[TopicPartition, Lane] = {}
        self._emitted_ms = 0

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Read the open sessions of newly owned partitions back from the changelog."""
        now_ms = self._shell.clock_ms()
        for source in partitions:
            windows = SessionWindows(self._work.rules)
            self._lanes[source] = Lane(windows, ticked_ms=now_ms, reached_ms=windows.watermark_ms)

        async def apply(source: TopicPartition, records: list[tuple[bytes, bytes | None]]) -> None:
            await self._run(_restore, self._lanes[source].windows, records)

        restored = await self._changelog.restore(partitions, apply)
        self._metrics.restored_records.inc(restored)
        for source in partitions:
            self._lanes[source].reached_ms = self._lanes[source].windows.watermark_ms

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Drop the sessions of partitions that are no longer ours, and what was not acknowledged."""
        self._emitter.forget()
        for source in partitions:
            self._lanes.pop(source, None)
            self._metrics.lag.labels(*source).set(0)

    async def process(self, chunk: Chunk) -> None:
        """Put a chunk's clicks into their sessions and send what that closes."""
        lane = self._lanes[chunk.source]
        outputs = await self._run(self._work.take, lane.windows, chunk)
        lane.idle_ms, lane.ticked_ms, lane.lag, lane.changed = 0, self._shell.clock_ms(), chunk.lag, True
        lane.reached_ms = lane.windows.watermark_ms
        self._metrics.lag.labels(*chunk.source).set(chunk.lag)
        await self._send(chunk.source, outputs)

    async def commit(self) -> None:
        """Wait until all outputs are acknowledged, then until the changed sessions are in the changelog."""
        await self._emitter.flush()
        changed = {source: lane for source, lane in self._lanes.items() if lane.changed}
        if not changed:
            return
        if not await self._shell.fence():
            # Another worker owns the partitions by now: an older state must not be written over its own.
            raise RetryLater("This worker was given up by its group and waits for new partitions.", FENCED_RETRY_S)
        now_ms = self._shell.clock_ms()
        for source, lane in changed.items():
            batches = await self._run(self._snapshot, source, lane, now_ms)
            await self._changelog.write(source, batches)
            # A closed session's tombstone may be written only after the commit that closes it, so another one follows.
            lane.changed = bool(batches)
        await self._emitter.flush()

    def _snapshot(self, source: TopicPartition, lane: Lane, now_ms: int) -> list[object]:
        committed = self._shell.committed(source)
        records = lane.windows.snapshot(committed_offset=-1 if committed is None else committed - 1)
        return self._changelog.pack(source, records, now_ms)

    async def tick(self, now_ms: int) -> None:
        """Let idle partitions' time go on, and send open sessions now and then while there is no backlog."""
        behind = any(lane.lag >= self._settings.chunk_records for lane in self._lanes.values())
        provisional = not behind and now_ms - self._emitted_ms >= self._settings.provisional_interval_ms
        if provisional:
            self._emitted_ms = now_ms
        for source, lane in self._lanes.items():
            moved = self._let_time_pass(source, lane, now_ms)
            if provisional or moved:
                outputs = await self._run(self._work.emit, lane.windows, source, provisional)
                lane.changed |= bool(outputs.emitted) or moved
                await self._send(source, outputs)
        self._measure(now_ms)

    def _let_time_pass(self, source: TopicPartition, lane: Lane, now_ms: int) -> bool:
        """Advance an idle partition's watermark; only time in which the broker had nothing for us counts as idle.

        So neither an outage, nor a suspended machine, nor a replay of old events makes the clock overtake events that
        are still to come.
        """
        passed_ms, lane.ticked_ms = max(0, now_ms - lane.ticked_ms), now_ms
        if not lane.windows.open_events or not self._shell.caught_up(source):
            return False
        lane.idle_ms += passed_ms
        if lane.idle_ms <= self._settings.idle_after_ms:
            return False
        before_ms = lane.windows.watermark_ms
        lane.windows.advance(lane.reached_ms + lane.idle_ms)
        return lane.windows.watermark_ms > before_ms

    async def _send(self, source: TopicPartition, outputs: Outputs) -> None:
        for partition, batches in outputs.assigned.items():
            await self._emitter.send(SESSIONS_ASSIGNED, partition, batches)
        if outputs.rejected:
            partitions = await self._emitter.partitions(CLICKS_REJECTED)
            await self._emitter.send(CLICKS_REJECTED, source.partition % partitions, outputs.rejected)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _measure(self, now_ms: int) -> None:
        windows = [lane.windows for lane in self._lanes.values()]
        self._metrics.open_sessions.set(sum(one.open_sessions for one in windows))
        self._metrics.open_events.set(sum(one.open_events for one in windows))
        self._metrics.state_bytes.set(sum(one.memory_bytes for one in windows))
        for source, lane in self._lanes.items():
            if lane.windows.watermark_ms > 0:
                delay_s = (now_ms - lane.windows.watermark_ms) / 1000
                self._metrics.watermark_delay.labels(*source).set(delay_s)


def _restore(windows: SessionWindows, records: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in records:
        windows.restore(key, value)
