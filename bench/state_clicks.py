"""Made-up traffic onto the topic of clicks, as fast as the broker takes it."""

import asyncio
import time
from collections.abc import Iterable, Iterator

import numpy as np
from kafka import TopicPartition

from bench.state_traffic import Rows, click_rows
from schemas.click_codec import encode_watermark
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.event_logs.click_records import ClickWriter

_ROWS = 65_536


def produce(settings: Settings, partitions: int, slices: Iterable[Rows]) -> None:
    """Write rows as clicks, and return when the broker has them all."""

    async def run() -> None:
        writer, emitter = ClickWriter(partitions), Emitter(settings.kafka)
        await emitter.start()
        try:
            for rows in _gathered(slices):
                records = writer.records(click_rows(rows))
                await emitter.flush()
                for partition in range(partitions):
                    at = np.flatnonzero(records.partition == partition).tolist()
                    queue = [(records.keys[row], records.values[row]) for row in at]
                    batches = packed(queue, time.time_ns() // 1_000_000)
                    await emitter.send({TopicPartition(CLICKS_RAW, partition): batches})
            await emitter.flush()
        finally:
            await emitter.stop()

    asyncio.run(run())


def _gathered(slices: Iterable[Rows]) -> Iterator[Rows]:
    waiting: list[Rows] = []
    for rows in slices:
        waiting.append(rows)
        if sum(map(len, waiting)) >= _ROWS:
            yield Rows.joined(waiting)
            waiting = []
    if waiting:
        yield Rows.joined(waiting)


def close_all(settings: Settings, partitions: int, reached_ms: int) -> None:
    """Write a watermark to every partition, by which all that was open at ``reached_ms`` is final."""

    async def run() -> None:
        emitter = Emitter(settings.kafka)
        await emitter.start()
        try:
            value = encode_watermark(reached_ms + settings.session_max_ms)
            for partition in range(partitions):
                batches = packed([(None, value)], time.time_ns() // 1_000_000)
                await emitter.send({TopicPartition(CLICKS_RAW, partition): batches})
            await emitter.flush()
        finally:
            await emitter.stop()

    asyncio.run(run())
