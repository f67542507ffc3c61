"""The Faust app: consumer group, hand-over to the hops, checkpoints and rebalances. The only module that knows it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import faust

from schemas.settings import Settings
from streams.broker.assignor import sticky_assignor
from streams.broker.chunks import TopicPartition
from streams.broker.ledger import OffsetLedger
from streams.broker.transport import ChunkTransport
from streams.health import Condition, Progress
from streams.hops.driver import HopDriver
from streams.hops.hop import Hop
from streams.idle_memory import give_back
from streams.metrics import Metrics

logger = logging.getLogger(__name__)

#: How often hops are asked what is due by the clock; well under the shortest interval a setting allows to matter.
TICK_S = 0.05
#: The same once nothing has come for so long: closing by the clock can wait a second, and an idle worker should sleep.
QUIET_TICK_S = 1.0
QUIET_AFTER_S = 5.0
#: Heartbeats per session timeout, or per rebalance timeout where that is shorter: a rebalance is told in the answer to
#: one, and goes on without whoever asks too late. They come from the consumer's own thread.
HEARTBEATS = 4
#: A worker whose store is away reads nothing but keeps its partitions; being stuck is what the health page tells.
MAX_POLL_INTERVAL_S = 3_600.0
#: Most bytes of one partition in one fetch: some 15 000 clicks, so that chunks are cut by ``chunk_records``.
FETCH_BYTES = 4 * 1024 * 1024
#: Deliveries waiting between fetch and hop. Faust stops fetching at 4/5 of it.
BUFFERED_DELIVERIES = 10


def wall_clock_ms() -> int:
    """Return the time in milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class ChunkSchema(faust.Schema):  # type: ignore[misc]
    """Hands a message's value on as it is: it was never bytes but a ``Delivery``."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """Return the delivery."""
        return message.value


class StreamApp(faust.App):  # type: ignore[misc]
    """A Faust app over chunks; made by ``build_app``."""

    def __init__(self, settings: Settings, hops: Sequence[Hop], metrics: Metrics, scratch: Path) -> None:
        self.ledger = OffsetLedger()
        self.metrics = metrics
        #: Set with ``failure`` when a hop or Faust itself cannot go on; the worker then stops the app.
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self.drivers = [HopDriver(hop, self.ledger, metrics, wall_clock_ms, self.fail) for hop in hops]
        self.owned: frozenset[TopicPartition] = frozenset()
        self._adoption: asyncio.Task[None] | None = None
        self._stirred = asyncio.Event()
        self._generation = -1
        self._standby_replicas = settings.standby_replicas
        self._commit_when_quiet_s = settings.commit_when_quiet_ms / 1000
        self._checkpoints: dict[str, asyncio.Task[None]] = {}
        self._ticks: dict[str, asyncio.Task[None]] = {}
        #: Also what a hop has for its last commit at a rebalance, before the group goes on without this worker.
        self._patience_s = settings.rebalance_timeout_ms / 2000
        self._progress = Progress()
        self._stuck_after_ms = settings.stuck_after_ms
        heartbeat_s = min(settings.session_timeout_ms, settings.rebalance_timeout_ms) / 1000 / HEARTBEATS
        super().__init__(
            settings.group,
            broker=[f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            topic_partitions=settings.partitions,
            store="memory://",
            # There are no Faust tables; more than 0 makes Faust use its own assignor, see `assignor`.
            table_standby_replicas=1,
            # Faust makes this folder whether or not a table needs it.
            datadir=scratch,
            stream_wait_empty=False,
            stream_buffer_maxsize=BUFFERED_DELIVERIES,
            broker_max_poll_records=settings.chunk_records,
            broker_max_poll_interval=MAX_POLL_INTERVAL_S,
            broker_commit_interval=settings.commit_interval_ms / 1000,
            broker_session_timeout=settings.session_timeout_ms / 1000,
            broker_heartbeat_interval=heartbeat_s,
            broker_rebalance_timeout=settings.rebalance_timeout_ms / 1000,
            consumer_max_fetch_size=FETCH_BYTES,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=settings.worker_id or None,
        )

    def fail(self, reason: BaseException) -> None:
        """Note why the worker cannot go on. The first reason stays."""
        self.failure = self.failure or reason
        self.failed.set()

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self.fail(reason)

    @cached_property
    def assignor(self) -> Any:
        """Deals the partitions when this worker leads its group."""
        return sticky_assignor(self, self._standby_replicas)

    def _new_transport(self) -> ChunkTransport:
        hop_of = {topic: driver.name for driver in self.drivers for topic in driver.hop.topics}
        return ChunkTransport(self.conf.broker_consumer, self, self.ledger, self._checkpoint, hop_of)

    async def _checkpoint(self) -> None:
        """Commit every hop; the consumer then commits the offsets this acknowledged.

        A hop whose store is slow does not hold the others back: its commit goes on and is acknowledged next time.
        """
        running = [self._checkpoints.get(driver.name) for driver in self.drivers]
        for driver, task in zip(self.drivers, running, strict=True):
            if task is None or task.done():
                self._checkpoints[driver.name] = asyncio.ensure_future(driver.checkpoint())
        await asyncio.wait(self._checkpoints.values(), timeout=self._patience_s)
        self.metrics.uncommitted_chunks.set(self.ledger.outstanding)
        self._note_progress()

    def stir(self) -> None:
        """Note that a chunk came in: ticks are frequent for a while."""
        self._stirred.set()

    async def keep_ticking(self) -> None:
        """Tick every hop until the app stops, not during a rebalance; commit and tidy up when it turns quiet."""
        stirred_s, settled, tidy = time.monotonic(), True, True
        while not self.should_stop:
            if self._stirred.is_set():
                self._stirred.clear()
                stirred_s, settled, tidy = time.monotonic(), False, False
            if time.monotonic() - stirred_s < QUIET_AFTER_S:
                await asyncio.sleep(TICK_S)
            else:
                if not tidy:
                    tidy = True
                    await asyncio.get_running_loop().run_in_executor(None, give_back)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), QUIET_TICK_S)
            if not self.rebalancing:
                self._tick()
                if not settled and time.monotonic() - stirred_s >= self._commit_when_quiet_s:
                    settled = True
                    self.add_future(self.consumer.commit())

    def _tick(self) -> None:
        """Have every hop tick whose last tick is over: one that waits for its store does not hold the others back."""
        for driver in self.drivers:
            ticking = self._ticks.get(driver.name)
            if ticking is None or ticking.done():
                self._ticks[driver.name] = asyncio.ensure_future(driver.tick())

    async def _on_partitions_revoked(self, revoked: Any) -> None:
        await super()._on_partitions_revoked(revoked)
        if not self.should_stop:
            await self._release()

    async def _on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        if not self.should_stop:
            self.metrics.rebalances.inc()
            # A worker that took part in the generation before knows that nobody else owned its partitions since.
            keep, self._generation = generation_id == self._generation + 1, generation_id
            owned = frozenset(TopicPartition(tp.topic, tp.partition) for tp in assigned)
            standbys = frozenset(TopicPartition(tp.topic, tp.partition) for tp in self.assignor.assigned_standbys())
            # A task of its own: no heartbeats are sent while this callback runs, and a large state takes its time.
            self._adoption = asyncio.ensure_future(self._adopt(owned, standbys, keep))
        await super()._on_partitions_assigned(assigned, generation_id)

    async def _release(self) -> None:
        """Commit what is done and let nothing more in: partitions may belong to another worker from now on."""
        if self._adoption is not None:
            self._adoption.cancel()
            await asyncio.wait([self._adoption])
            self._adoption = None
        await self.drain()
        self.ledger.revoke()
        self.owned = frozenset()
        for driver in self.drivers:
            await driver.suspend()

    async def drain(self) -> None:
        """Take no more chunks in, finish those in hand and commit them; before a rebalance and a stop."""
        await asyncio.gather(*(driver.hold() for driver in self.drivers))
        # A checkpoint under way began before the last chunks were finished: what it acknowledges is not all.
        under_way = [task for task in self._checkpoints.values() if not task.done()]
        if under_way:
            await asyncio.wait(under_way, timeout=self._patience_s)
        if self.owned:
            await self.consumer.force_commit()

    async def _adopt(self, owned: frozenset[TopicPartition], standbys: frozenset[TopicPartition], keep: bool) -> None:
        """Restore the state of assigned partitions."""
        try:
            for driver in self.drivers:
                await driver.assign(owned, standbys, keep)
        except Exception as error:
            self.fail(error)
            return
        self.owned = owned
        logger.info("Owning %d partitions, standing by for %d.", len(owned), len(standbys))

    def caught_up(self, source: TopicPartition) -> bool:
        """Say whether the broker has just confirmed that it holds nothing of this partition that we lack."""
        return bool(self.consumer.caught_up(source, wall_clock_ms()))

    def committed(self, source: TopicPartition) -> int | None:
        """Return the next offset to read by the last commit of an owned partition, None while there is none."""
        offset: int | None = self.consumer.committed_offset(source)
        return offset

    async def is_member(self) -> bool:
        """Ask the broker whether this worker still owns its partitions."""
        return bool(await self.consumer.is_member())

    def _note_progress(self) -> None:
        now_ms = wall_clock_ms()
        for driver in self.drivers:
            waiting, reach = self.ledger.standing(driver.hop.topics)
            behind = any(self.consumer.lag(source) for source in self.owned if source.topic in driver.hop.topics)
            self._progress.note(driver.name, waiting or behind, reach, now_ms)

    def condition(self) -> Condition:
        """Say how the worker is."""
        self._note_progress()
        return Condition(
            joined=self._adoption is not None and self._adoption.done(),
            outstanding=self.ledger.outstanding,
            lags={source: self.consumer.lag(source) for source in self.owned},
            quiet_ms=self._progress.quiet_ms(wall_clock_ms()),
            store_away=any(driver.waiting_for_store for driver in self.drivers),
            stuck_after_ms=self._stuck_after_ms,
        )


def build_app(settings: Settings, hops: Sequence[Hop], metrics: Metrics, scratch: Path) -> StreamApp:
    """Return an app that feeds every hop from its topics, not yet started. ``scratch`` is a folder Faust may use."""
    app = StreamApp(settings, hops, metrics, scratch)
    for driver in app.drivers:
        _add_agent(app, driver)
    app.task(app.keep_ticking)
    return app


def _add_agent(app: StreamApp, driver: HopDriver) -> None:
    topic = app.topic(*driver.hop.topics, schema=ChunkSchema())

    async def feed(stream: Any) -> None:
        # noack: acknowledging is the ledger's business, after the hop's commit.
        async for event in stream.noack().events():
            await driver.process(event.value)
            app.stir()

    app.agent(topic, name=driver.name)(feed)
