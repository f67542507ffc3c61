"""The first hop: clicks in, session assignments and rejections out, open sessions kept in the changelog."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from schemas.settings import Settings
from schemas.topics import SOURCE_OF_TOPIC
from streams.broker.changelog import Changelog
from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.emit import Emitter
from streams.broker.record_columns import Records
from streams.hops.click_work import ClickWork
from streams.hops.standby import Standby
from streams.metrics import Metrics
from streams.sessions.windows import SessionWindows

T = TypeVar("T")

#: How often gauges are set; scrapes are seconds apart.
MEASURE_INTERVAL_MS = 1_000


@dataclass(slots=True)
class Lane:
    """One source partition: its sessions, and how long it has been idle by the clock."""

    windows: SessionWindows
    ticked_ms: int
    #: Event-time watermark when the last events came, and clock time since then with nothing left to fetch.
    reached_ms: int
    idle_ms: int = 0
    lag: int = 0
    #: Whether there may be something to write to the changelog, and something that was not sent yet.
    changed: bool = False
    fresh: bool = True


@dataclass(frozen=True)
class Shell:
    """What the hop asks of the Faust shell.

    caught_up  the broker has just confirmed that it holds nothing of the partition that we lack
    committed  next offset to read by the last commit of a partition, None while unknown
    fail       makes the worker stop with an error
    clock_ms   the wall clock
    """

    caught_up: Callable[[TopicPartition], bool]
    committed: Callable[[TopicPartition], int | None]
    fail: Callable[[BaseException], None]
    clock_ms: Callable[[], int]


class ClickHop:
    """Implements ``streams.hops.hop.Hop`` for the click topics. All computing happens in ``executor`` (one thread)."""

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
        self._measured_ms = 0
        self._standby = Standby(changelog, self._windows_of, self._copy, shell.fail)

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Read the open sessions of newly owned partitions back from the changelog, or what a warm copy lacks."""
        # First of all, so that no earlier owner can write behind what is read here.
        await self._changelog.open(partitions)
        copies = {source: await self._standby.take(source) for source in partitions}
        async with self._changelog.reader({source: copy.position for source, copy in copies.items()}) as reader:
            restored = await reader.to_end(lambda source, records: self._restore(copies[source].windows, records))
        for copy in copies.values():
            await self._run(copy.windows.finish_restore)
        self._metrics.restored_records.inc(restored)
        now_ms = self._shell.clock_ms()
        for source, copy in copies.items():
            self._lanes[source] = Lane(copy.windows, ticked_ms=now_ms, reached_ms=copy.windows.watermark_ms)

    async def stand_by(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Keep warm copies of these partitions' sessions."""
        await self._standby.follow(partitions)

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Drop the sessions of partitions that are no longer ours, and what was not acknowledged."""
        self._emitter.forget()
        await self._standby.end()
        await self._changelog.close(partitions)
        for source in partitions:
            self._lanes.pop(source, None)

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Put the chunks' clicks into their sessions; ``tick`` sends what that closes, of many chunks at once."""
        windows = {chunk.source: self._lanes[chunk.source].windows for chunk in chunks}
        rejected = await self._run(self._work.take, windows, chunks)
        now_ms = self._shell.clock_ms()
        for chunk in chunks:
            lane = self._lanes[chunk.source]
            lane.idle_ms, lane.ticked_ms, lane.lag = 0, now_ms, chunk.lag
            lane.changed = lane.fresh = True
            lane.reached_ms = lane.windows.watermark_ms
        await self._emitter.send(rejected)

    async def commit(self) -> Awaitable[None]:
        """Take down which sessions changed; what is returned writes them, once all outputs so far are acknowledged.

        Sessions that closed are sent first: whoever sees a click's offset committed finds the rows of what it closed.
        """
        await self._send_fresh(provisional=False)
        sent = self._emitter.flushed()
        changed = {source: lane for source, lane in self._lanes.items() if lane.changed}
        snapshots = await self._run(self._snapshots, changed, self._shell.clock_ms())
        for source, lane in changed.items():
            # A closed session's tombstone may be written only after the commit that closes it: another one follows.
            lane.changed = bool(snapshots[source])
        self._work.turn_over()
        return self._write(sent, snapshots)

    async def _write(self, sent: Awaitable[None], snapshots: Mapping[TopicPartition, Sequence[object]]) -> None:
        await sent
        writing = (self._changelog.write(source, batches) for source, batches in snapshots.items())
        # All of them end before an error is raised: none may go on behind a revocation.
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _snapshots(self, lanes: Mapping[TopicPartition, Lane], now_ms: int) -> dict[TopicPartition, Sequence[object]]:
        snapshots: dict[TopicPartition, Sequence[object]] = {}
        for source, lane in lanes.items():
            committed = self._shell.committed(source)
            records = lane.windows.snapshot(committed_offset=-1 if committed is None else committed - 1)
            self._metrics.changelog_records.inc(len(records))
            snapshots[source] = self._changelog.pack(source, records, now_ms)
        return snapshots

    async def tick(self, now_ms: int) -> None:
        """Let idle partitions' time go on; send closed sessions and, while there is no backlog, open ones."""
        behind = any(lane.lag >= self._settings.chunk_records for lane in self._lanes.values())
        due = now_ms - self._emitted_ms >= self._settings.provisional_interval_ms
        for source, lane in self._lanes.items():
            if self._let_time_pass(source, lane, now_ms):
                lane.fresh = True
        if due or behind:
            self._emitted_ms = now_ms
            await self._send_fresh(provisional=not behind)
        if now_ms - self._measured_ms >= MEASURE_INTERVAL_MS:
            self._measured_ms = now_ms
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

    async def _send_fresh(self, provisional: bool) -> None:
        """Send the sessions of partitions in which something happened, in rounds: only one's rows are in memory."""
        windows = {source: lane.windows for source, lane in self._lanes.items() if lane.fresh}
        more = bool(windows)
        while more:
            outputs = await self._run(self._work.emit, windows, provisional)
            await self._emitter.send(outputs.batches)
            more = outputs.more
            if more:
                await self._emitter.flush()
        for source in windows:
            self._lanes[source].changed = True
            # What was not given out provisionally while there was a backlog waits for its end.
            self._lanes[source].fresh = not provisional

    def _windows_of(self, source: TopicPartition) -> SessionWindows:
        origin = SOURCE_OF_TOPIC[source.topic]
        return SessionWindows(self._work.rules, state_dir=self._settings.state_dir, source=origin)

    async def _restore(self, windows: SessionWindows, records: Records) -> None:
        await self._run(windows.restore, records)

    async def _copy(self, windows: SessionWindows, records: Records) -> None:
        await self._restore(windows, records)
        self._metrics.standby_records.inc(len(records))

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _measure(self, now_ms: int) -> None:
        windows = [lane.windows for lane in self._lanes.values()]
        self._metrics.open_sessions.set(sum(one.open_sessions for one in windows))
        self._metrics.open_events.set(sum(one.open_events for one in windows))
        self._metrics.state_bytes.set(sum(one.memory_bytes for one in windows))
        # Of what another worker owns by now nothing is to stay behind.
        self._metrics.watermark_delay.clear()
        for source, lane in self._lanes.items():
            if lane.windows.watermark_ms > 0:
                delay_s = (now_ms - lane.windows.watermark_ms) / 1000
                self._metrics.watermark_delay.labels(*source).set(delay_s)
