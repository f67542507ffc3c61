"""One worker: checks what it needs, joins the group, runs both hops until told to stop."""

import asyncio
import gc
import logging
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from encoders.serving import Encoder
from schemas.packaged import Schema
from schemas.settings import Settings
from schemas.topics import PERSONAS_DISTRIBUTION
from streams.app import StreamApp, build_app, wall_clock_ms
from streams.broker.changelog import Changelog
from streams.broker.emit import Emitter
from streams.broker.owner_writer import owner_writer
from streams.broker.topology import ensure_topics
from streams.codebooks.rows import register_codebook
from streams.codebooks.watch import CodebookWatch, adopt
from streams.errors import StreamError
from streams.health import HealthPage
from streams.hops.assigned_hop import AssignedHop
from streams.hops.click_hop import ClickHop, Shell
from streams.hops.click_work import ClickWork
from streams.metrics import Metrics
from streams.mixes.topic import MixTopic
from streams.sessions.settings import session_rules
from streams.store.connection import Store
from streams.store.history import History
from streams.store.sink import Sink
from streams.warm_up import warm_up

logger = logging.getLogger(__name__)

#: How long a write waits for the store before the hop is paused; short, so that a rebalance need not wait for it.
STORE_PATIENCE_S = 2.0
#: Objects made before a young collection runs. A chunk makes tens of thousands that die with it, none in cycles.
YOUNG_OBJECTS = 100_000


class PortError(StreamError):
    """The health page's port is taken."""


def run(settings: Settings, ready: Callable[[int], None]) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then commit and leave the group.

    ``ready`` is called with the health page's port once everything needed has answered, before the group is joined.
    Raises a SimpersonaError when encoder, broker, store or port are not as needed, or when a hop fails for a reason
    that can be mended; anything else that a hop raises comes out as it is.
    """
    asyncio.run(_run(settings, ready))


async def _run(settings: Settings, ready: Callable[[int], None]) -> None:
    async with AsyncExitStack() as resources:
        encoder = Encoder.load(settings.encoder)
        rules = session_rules(settings)
        partitions = await ensure_topics(settings.kafka, settings.partitions, settings.replication)
        store = Store(settings.clickhouse, patience_s=STORE_PATIENCE_S)
        resources.callback(store.close)
        metrics = Metrics()
        sink = Sink(store, metrics.inserted)
        scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="simpersona-worker-")))
        watch = await resources.enter_async_context(CodebookWatch(settings.kafka, scratch / "codebooks"))
        folder = watch.to_begin_with(settings.encoder, encoder.version)
        if folder != settings.encoder:
            encoder = Encoder.load(folder)
        register_codebook(sink, folder)
        emitter = Emitter(settings.kafka)
        await emitter.start()
        resources.push_async_callback(emitter.stop)
        warm_up(encoder, rules)

        # One thread per hop: clicks must not wait for an insert to be sorted into sessions.
        sessions_thread = resources.enter_context(ThreadPoolExecutor(1, "sessions"))
        store_thread = resources.enter_context(ThreadPoolExecutor(1, "store"))
        shell = Shell(
            caught_up=lambda source: app.caught_up(source),
            committed=lambda source: app.committed(source),
            fail=lambda reason: app.fail(reason),
            clock_ms=wall_clock_ms,
        )
        work = ClickWork(
            encoder,
            rules,
            emitter,
            partitions,
            metrics,
            wall_clock_ms,
            _find_schema(settings, resources),
        )
        writer = await owner_writer(settings.kafka, settings.group, emitter, lambda: app.is_member())
        changelog = Changelog(settings.kafka, writer)
        clicks = ClickHop(work, emitter, changelog, sessions_thread, settings, shell, metrics)
        mixes = MixTopic(writer, emitter, partitions[PERSONAS_DISTRIBUTION], wall_clock_ms)
        assigned = AssignedHop(sink, History(store), store_thread, mixes, wall_clock_ms, settings.decay_half_life_ms)
        # Closing the store under a refresh of buyers would make it fail for nothing.
        resources.push_async_callback(assigned.settled)
        app = build_app(settings, [clicks, assigned], metrics, scratch)

        page = HealthPage(app.condition, metrics)
        try:
            port = await page.start(settings.health_port)
        except OSError as error:
            raise PortError(
                f"Port {settings.health_port} for the health page is taken; free it or set SIMPERSONA_HEALTH_PORT."
            ) from error
        resources.push_async_callback(page.stop)
        # Faust warns whenever a tick or commit takes longer than its interval, which under load is as it should be.
        logging.getLogger("mode.timers").setLevel(logging.ERROR)
        following = asyncio.ensure_future(
            watch.follow(partial(adopt, work.offer, Sink(store), store_thread), lambda reason: app.fail(reason))
        )
        resources.callback(following.cancel)
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        ready(port)
        await _serve(app)


def _find_schema(settings: Settings, resources: AsyncExitStack) -> Callable[[int], Schema | None] | None:
    if not settings.schema_registry:
        return None
    from streams.broker.registry import SchemaRegistry  # only here: its HTTP client takes a while to load

    registry = SchemaRegistry(settings.schema_registry)
    resources.callback(registry.close)
    return registry.schema


async def _start(app: StreamApp) -> None:
    try:
        await app.start()
    except Exception as error:
        app.fail(error)


async def _serve(app: StreamApp) -> None:
    """Run the app until a signal or a failure; raise the failure."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    ends = [asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(app.failed.wait())]
    # Starting waits for the group, which a signal must be able to interrupt.
    starting = asyncio.ensure_future(_start(app))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in (starting, *ends):
        task.cancel()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)  # a second Ctrl-C ends a stop that hangs
    logger.info("Stopping: committing what is done and leaving the group.")
    await app.drain()
    await app.stop()
    for driver in app.drivers:
        await driver.end()
    if app.failure is not None:
        raise app.failure
