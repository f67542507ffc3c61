"""Cost of an event in the session windows alone, with few and with a million sessions open, in turns."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.state_traffic import START_MS, Rows, event_batch, traffic
from streams.sessions.rules import SessionRules
from streams.sessions.windows import SessionWindows

RULES = SessionRules(1_800_000, 300_000, 86_400_000, 512)
#: How long a made-up session is open on average: its events, the gap and the allowed lateness.
OPEN_S = 2_235
#: Event time after which as many sessions end as begin.
STEADY_MS = 2_700_000
CHUNK = 10_000
#: Chunks of one measurement, and those between two commits.
_CHUNKS, _COMMIT_EVERY = 50, 10


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the repeats, in microseconds: taking in and giving out an event, and one record of a snapshot."""

    add_us: float
    emit_us: float
    record_us: float

    @property
    def event_us(self) -> float:
        """Cost of an event without the changelog."""
        return self.add_us + self.emit_us


class Partition:
    """A partition in the steady state: about ``open_sessions`` sessions open, beginning and ending all the time."""

    def __init__(self, open_sessions: int, seed: int) -> None:
        self.windows = SessionWindows(RULES)
        self._chunks = _chunks(traffic(open_sessions / OPEN_S, seed))
        self._offset = 0
        taken = 0
        while self.windows.watermark_ms < START_MS + STEADY_MS:
            self._take(next(self._chunks))
            taken += 1
            if taken % _COMMIT_EVERY == 0:
                self.windows.snapshot(self._offset)

    def _take(self, rows: Rows) -> tuple[float, float]:
        batch = event_batch(rows)
        offsets = np.arange(self._offset, self._offset + len(rows), dtype=np.int64)
        self._offset += len(rows)
        begun_s = time.thread_time()
        self.windows.add(batch, offsets)
        added_s = time.thread_time()
        self.windows.emit(provisional=False)
        return added_s - begun_s, time.thread_time() - added_s

    def measure(self) -> Cost:
        """Return the costs over the next half a million events."""
        adding = emitting = writing = 0.0
        records = 0
        for number in range(1, _CHUNKS + 1):
            add_s, emit_s = self._take(next(self._chunks))
            adding, emitting = adding + add_s, emitting + emit_s
            if number % _COMMIT_EVERY == 0:
                begun_s = time.thread_time()
                records += len(self.windows.snapshot(self._offset))
                writing += time.thread_time() - begun_s
        events = _CHUNKS * CHUNK
        return Cost(1e6 * adding / events, 1e6 * emitting / events, 1e6 * writing / max(records, 1))


def _chunks(slices: Iterator[Rows]) -> Iterator[Rows]:
    """Cut traffic into chunks of CHUNK events."""
    waiting: list[Rows] = []
    for rows in slices:
        waiting.append(rows)
        if sum(map(len, waiting)) < CHUNK:
            continue
        joined = Rows.joined(waiting)
        while len(joined) >= CHUNK:
            yield joined.take(slice(0, CHUNK))
            joined = joined.take(slice(CHUNK, None))
        waiting = [joined]


def costs(open_sessions: list[int], repeats: int, seed: int) -> list[Cost]:
    """Return the cost with each number of open sessions; repeats are interleaved, so that all meet the same machine."""
    partitions = [Partition(count, seed) for count in open_sessions]
    measured: list[list[Cost]] = [[] for _ in partitions]
    for _ in range(repeats):
        for partition, found in zip(partitions, measured, strict=True):
            found.append(partition.measure())
    return [
        Cost(
            add_us=statistics.median(one.add_us for one in found),
            emit_us=statistics.median(one.emit_us for one in found),
            record_us=statistics.median(one.record_us for one in found),
        )
        for found in measured
    ]
