"""Sends rejected events back to the topics they came from, once a fix has made them usable."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from schemas.rejections import REASONS
from schemas.slices import Slices
from schemas.topics import click_key
from streams.broker.chunks import TopicPartition
from streams.broker.click_reader import ClickReader, fault_what_is_ahead
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.record_columns import Record
from streams.event_logs.click_records import partition_of
from streams.store.rejected_events import Page, RejectedEvents
from streams.store.sink import ReplayedRow, Sink

#: Events sent back that are noted in one INSERT: one of a page's 500 would make too many small parts.
NOTED_ROWS = 5_000


@dataclass(slots=True)
class Recovered:
    """Counts by the reason for which events were rejected.

    sent       went back to their topic (or would have, in a dry run)
    unusable   would be rejected again, by what would be said about them now: (old reason, new reason)
    foreign    are another merchant's than was asked for
    before     were sent back by an earlier replay
    """

    sent: Counter[str] = field(default_factory=Counter)
    unusable: Counter[tuple[str, str]] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)

    @property
    def looked_at(self) -> int:
        """Rejected events that were read."""
        return sum(counts.total() for counts in (self.sent, self.unusable, self.foreign, self.before))


@dataclass(frozen=True, slots=True)
class Recovery:
    """What to send back.

    merchant   only this merchant's events; None: every merchant's
    again      also those that were sent back before
    """

    merchant: str | None = None
    again: bool = False

    def judge(self, page: Page, reader: ClickReader, counts: Recovered, now_ms: int) -> dict[int, bytes]:
        """Return row → key of the events of a page to send; count all of them. Raises RetryLater without a registry.

        Events are decoded as a worker would decode them at ``now_ms``, and what it would reject again is left where it
        is: sending it would add a second rejection of the same event and help nobody.
        """
        clicks = reader.read(Slices.of(page.payloads)).batch
        fault_what_is_ahead(clicks, page.lane.topic, now_ms)
        chosen: dict[int, bytes] = {}
        for row, reason in enumerate(page.reasons):
            fault = int(clicks.fault[row])
            if page.replayed[row] and not self.again:
                counts.before[reason] += 1
            elif fault:
                # A Watermark record that was rejected once has long been overtaken.
                counts.unusable[reason, REASONS[fault] if fault < len(REASONS) else "a watermark"] += 1
            elif self.merchant not in (None, clicks.merchant(row)):
                counts.foreign[reason] += 1
            else:
                counts.sent[reason] += 1
                chosen[row] = click_key(clicks.merchant(row), clicks.client(row))
        return chosen


async def recover(
    plan: Recovery,
    rejected: RejectedEvents,
    reader: ClickReader,
    sink: Sink,
    emitter: Emitter,
    partitions: Mapping[str, int],
    on_progress: Callable[[int, int], None],
) -> Recovered:
    """Send the chosen events back as they came, in their order, and note in the store that they were.

    ``emitter`` is started; ``partitions`` tells the click topics' numbers. Every event goes to the partition that its
    client's other events go to. ``on_progress(looked at, total)`` is told events. Events are noted after the broker
    has them: a crash in between sends NOTED_ROWS of them again at the next call, which ``event_id`` makes harmless.

    Raises BrokerError, RetryLater and StoreError; what was sent before is sent and noted.
    """
    counts = Recovered()
    try:
        for page, chosen in _judged(plan, rejected, reader, counts, on_progress):
            by_partition: dict[int, list[Record]] = {}
            for row, key in chosen.items():
                partition = partition_of(key, partitions[page.lane.topic])
                by_partition.setdefault(partition, []).append((key, page.payloads[row]))
            now_ms = time.time_ns() // 1_000_000
            for partition, records in by_partition.items():
                await emitter.send({TopicPartition(page.lane.topic, partition): packed(records, now_ms)})
            await emitter.flush()
            sink.replayed([_note(page, row, now_ms) for row in chosen])
            if sink.waiting_rows >= NOTED_ROWS:
                sink.flush()
    finally:
        # Also after an error, or Ctrl-C: what the broker has is not to be sent again.
        sink.flush()
    return counts


def rehearse(
    plan: Recovery, rejected: RejectedEvents, reader: ClickReader, on_progress: Callable[[int, int], None]
) -> Recovered:
    """Count what ``recover`` would do, and change nothing. Raises RetryLater and StoreError."""
    counts = Recovered()
    for _ in _judged(plan, rejected, reader, counts, on_progress):
        pass
    return counts


def _judged(
    plan: Recovery,
    rejected: RejectedEvents,
    reader: ClickReader,
    counts: Recovered,
    on_progress: Callable[[int, int], None],
) -> Iterator[tuple[Page, dict[int, bytes]]]:
    lanes = rejected.lanes()
    total = sum(lane.rejections for lane in lanes)
    for lane in lanes:
        for page in rejected.pages(lane):
            yield page, plan.judge(page, reader, counts, time.time_ns() // 1_000_000)
            on_progress(counts.looked_at, total)


def _note(page: Page, row: int, now_ms: int) -> ReplayedRow:
    return ReplayedRow(page.lane.topic, page.lane.partition, page.offsets[row], page.received_ms[row], now_ms)
