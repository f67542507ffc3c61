"""Produces event logs to a click topic, in order and at a chosen speed, malformed payloads and all."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.event_log import TIMESTAMP, count_rows, read_batches
from encoders.generator.malformed import Malformed, malformed_path, read_malformed
from schemas.click_codec import encode_watermark
from schemas.events import I64
from streams.broker.chunks import TopicPartition
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.record_columns import Record
from streams.errors import StreamError
from streams.event_logs.arrival import Order, Pace, by_received, shifted, times_ms
from streams.event_logs.click_records import ClickWriter, partition_of

#: Paced events are sent in steps of this length: short beside any latency of interest, long enough to make batches.
_STEP_S = 0.05
#: Rows encoded at once.
_ROWS = 32_768


class ReplayError(StreamError):
    """A replay was asked for something it cannot do, or a sidecar of malformed payloads is broken."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay and how.

    paths      event logs, merged in event-time order
    topic      a click topic
    speed      event time per wall time; None = as fast as the broker takes it
    order      "occurred" or "received" (how live traffic arrives: late events come late)
    shift      move all times so that the last event happens at the moment it is sent
    close_ms   at the end promise every partition that event time has passed the last event by this much, so that
               sessions close; None leaves them open
    """

    paths: Sequence[Path]
    topic: str
    speed: float | None = None
    order: Order = "occurred"
    shift: bool = False
    close_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """Counts of a replay; ``shift_ms`` was added to the events' times, ``last_ms`` is the last event's shifted time."""

    events: int
    malformed: int
    watermarks: int
    shift_ms: int
    last_ms: int
    seconds: float


async def replay(
    plan: Replay, bootstrap: str, partitions: int, now_ms: int, on_progress: Callable[[int, int], None]
) -> Replayed:
    """Send the events of all logs to ``plan.topic``, which has ``partitions`` partitions, and return the counts.

    Runs until everything is acknowledged. ``now_ms`` is the wall clock at the start, used when times are shifted.
    ``on_progress(sent, total)`` is told events. When cancelled, what was sent before is still flushed.

    Raises EventLogError or EmptyLogError when a log is absent, damaged or empty, ReplayError on a broken sidecar and
    BrokerError when the broker does not take the records.
    """
    total = count_rows(plan.paths)
    batches = read_batches(plan.paths, rows=_ROWS)
    first_ms, last_ms = _time_span(plan.paths)
    shift_ms = 0
    if plan.shift:
        duration_ms = 0 if plan.speed is None else round((last_ms - first_ms) / plan.speed)
        shift_ms = now_ms + duration_ms - last_ms
    broken = _Malformed(plan.paths, shift_ms)
    pace = Pace(plan.speed, first_ms + shift_ms, time.monotonic())
    line = _Line(plan.topic, partitions, Emitter(bootstrap))
    await line.emitter.start()
    sent = 0
    try:
        for batch in by_received(batches) if plan.order == "received" else batches:
            moved = shifted(batch, shift_ms)
            t_ms = times_ms(moved, plan.order)
            due_s = np.maximum.accumulate(pace.due_s(t_ms))
            start = 0
            while start < len(t_ms):
                await asyncio.sleep(max(0.0, float(due_s[start]) - time.monotonic()))
                end = int(np.searchsorted(due_s, max(time.monotonic() + _STEP_S, due_s[start]), side="right"))
                await line.send(moved.slice(start, end - start), t_ms[start:end], broken.until(int(t_ms[end - 1])))
                sent += end - start
                start = end
                on_progress(sent, total)
        await line.send_broken(broken.until(None))
        if plan.close_ms is not None:
            await line.send_watermark(last_ms + shift_ms + plan.close_ms)
    finally:
        await line.end()
    return Replayed(
        events=sent,
        malformed=broken.taken,
        watermarks=0 if plan.close_ms is None else partitions,
        shift_ms=shift_ms,
        last_ms=last_ms + shift_ms,
        seconds=time.monotonic() - pace.start_s,
    )


class _Line:
    """The way to one topic: rows in, batches per partition out, what was sent before acknowledged first."""

    def __init__(self, topic: str, partitions: int, emitter: Emitter) -> None:
        self.emitter = emitter
        self._topic = topic
        self._partitions = partitions
        self._writer = ClickWriter(partitions)

    async def send(self, rows: pa.RecordBatch, t_ms: I64, broken: Sequence[Malformed]) -> None:
        """Send rows (with their times, sorted) and the malformed payloads among them."""
        records = self._writer.records(rows)
        # Before a malformed payload come the rows ordered before it.
        places = np.searchsorted(t_ms, [record.received_ms for record in broken], side="right")
        # At most one step is under way: memory stays bounded, and a broker that refuses is noticed at once.
        await self.emitter.flush()
        for partition in range(self._partitions):
            at = np.flatnonzero(records.partition == partition)
            queue: list[Record] = [(records.keys[row], records.values[row]) for row in at.tolist()]
            for place, record in sorted(zip(places.tolist(), broken, strict=True), key=lambda pair: -pair[0]):
                if partition_of(record.key, self._partitions) == partition:
                    queue.insert(int(np.searchsorted(at, place)), (record.key, record.value))
            await self._put(partition, queue)

    async def send_broken(self, broken: Sequence[Malformed]) -> None:
        """Send malformed payloads that come after the last event."""
        for record in broken:
            await self._put(partition_of(record.key, self._partitions), [(record.key, record.value)])

    async def send_watermark(self, watermark_ms: int) -> None:
        """Promise every partition that event time has come this far."""
        for partition in range(self._partitions):
            await self._put(partition, [(None, encode_watermark(watermark_ms))])

    async def end(self) -> None:
        """Have everything acknowledged and disconnect, also after an error or Ctrl-C."""
        try:
            await self.emitter.flush()
        finally:
            await self.emitter.stop()

    async def _put(self, partition: int, queue: list[Record]) -> None:
        if queue:
            # Records carry the time of sending: brokers drop by age, and the logs may be years old.
            batches = packed(queue, time.time_ns() // 1_000_000)
            await self.emitter.send({TopicPartition(self._topic, partition): batches})


class _Malformed:
    """The malformed payloads that lie beside the logs, by time; read at once, for they are few."""

    def __init__(self, paths: Sequence[Path], shift_ms: int) -> None:
        records = [record for path in paths for record in _read_sidecar(malformed_path(path))]
        moved = [replace(record, received_ms=record.received_ms + shift_ms) for record in records]
        self._records = sorted(moved, key=lambda record: record.received_ms)
        self.taken = 0

    def until(self, t_ms: int | None) -> list[Malformed]:
        """Take the payloads due up to a time, or all that are left."""
        first = self.taken
        while self.taken < len(self._records) and (t_ms is None or self._records[self.taken].received_ms <= t_ms):
            self.taken += 1
        return self._records[first : self.taken]


def _read_sidecar(path: Path) -> list[Malformed]:
    if not path.exists():
        return []
    try:
        with path.open() as lines:
            return list(read_malformed(lines))
    except (ValueError, KeyError) as error:
        raise ReplayError(
            f"{path}: not a file of malformed payloads ({error}); generate it anew or remove it."
        ) from error


def _time_span(paths: Sequence[Path]) -> tuple[int, int]:
    """Return the first and last ``occurred_at`` of sorted logs, from their outer row groups alone."""
    firsts, lasts = [], []
    for path in paths:
        with pq.ParquetFile(path) as file:
            groups = [group for group in range(file.num_row_groups) if file.metadata.row_group(group).num_rows]
            if groups:
                firsts.append(_occurred_ms(file, groups[0])[0])
                lasts.append(_occurred_ms(file, groups[-1])[-1])
    return min(firsts), max(lasts)


def _occurred_ms(file: pq.ParquetFile, group: int) -> list[int]:
    column = file.read_row_group(group, columns=["occurred_at"]).column(0)
    times: list[int] = column.cast(TIMESTAMP).cast(pa.int64()).to_pylist()
    return times
