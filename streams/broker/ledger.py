"""Which chunks of which partition are done: the only thing that decides which offsets may be committed.

Faust's own bookkeeping counts single offsets and treats the inside of a chunk as a gap it may skip, so that an acked
chunk behind an unacked one moves the committed offset past work that was never done. Here a chunk is one entry.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from streams.broker.chunks import TopicPartition


@dataclass(eq=False, slots=True)
class Entry:
    """One delivered chunk: offsets ``first <= o < end``. ``live`` until its partition is revoked or it comes again."""

    source: TopicPartition
    first: int
    end: int
    acked: bool = False
    live: bool = True


@dataclass(slots=True)
class _Lane:
    """One partition: entries in delivery order, and how far the acked prefix and the commits have come."""

    #: Where reading began: the committed offset, or the log's first one.
    began: int
    entries: deque[Entry] = field(default_factory=deque)
    acked_until: int = -1
    committed: int = -1


class OffsetLedger:
    """Delivered chunks of every owned partition; commits only the longest prefix of them that is acked.

    Every fetched chunk must be delivered here, in offset order, before anything else is done with it: one that gets
    lost on its way then stays unacked and holds the commit back, instead of being skipped.
    """

    def __init__(self) -> None:
        self._lanes: dict[TopicPartition, _Lane] = {}
        #: Rises at every revocation; a fetch begun under an older epoch must be thrown away.
        self.epoch = 0

    def deliver(self, source: TopicPartition, first: int, end: int) -> Entry:
        """Enter a chunk with offsets ``first <= o < end`` and return its entry.

        A chunk that begins before the end of earlier ones means that the partition was read again after a seek: the
        earlier entries it overlaps die, and their acks count for nothing.
        """
        lane = self._lanes.get(source)
        if lane is None:
            lane = self._lanes[source] = _Lane(began=first)
        while lane.entries and lane.entries[-1].end > first:
            lane.entries.pop().live = False
        lane.acked_until = min(lane.acked_until, first)
        entry = Entry(source, first, end)
        lane.entries.append(entry)
        return entry

    def ack(self, entry: Entry) -> None:
        """Mark a chunk as done, all its effects durable. A dead entry is ignored."""
        entry.acked = True
        if not entry.live:
            return
        lane = self._lanes[entry.source]
        while lane.entries and lane.entries[0].acked:
            lane.acked_until = lane.entries.popleft().end

    def committable(self) -> dict[TopicPartition, int]:
        """Return the next offset to read per partition whose acked prefix has grown since ``committed``."""
        return {source: lane.acked_until for source, lane in self._lanes.items() if lane.acked_until > lane.committed}

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note offsets the broker has accepted, so that they are not committed again."""
        for source, offset in offsets.items():
            lane = self._lanes.get(source)
            if lane is not None:
                lane.committed = max(lane.committed, offset)

    def reached(self) -> dict[TopicPartition, int]:
        """Return an offset per partition that may be committed at any time and takes no commit further than it is."""
        return {source: lane.committed if lane.committed >= 0 else lane.began for source, lane in self._lanes.items()}

    def revoke(self) -> None:
        """Forget everything: all entries die, and fetches in flight become stale. Called at every rebalance."""
        self.epoch += 1
        for lane in self._lanes.values():
            for entry in lane.entries:
                entry.live = False
        self._lanes.clear()

    @property
    def outstanding(self) -> int:
        """Chunks delivered and not yet part of an acked prefix."""
        return sum(len(lane.entries) for lane in self._lanes.values())

    def standing(self, topics: Collection[str]) -> tuple[bool, int]:
        """Return whether chunks of these topics wait to be done or committed, and how far their commits have come."""
        lanes = [lane for source, lane in self._lanes.items() if source.topic in topics]
        waiting = any(lane.entries or lane.acked_until > lane.committed for lane in lanes)
        return waiting, sum(lane.committed for lane in lanes)
