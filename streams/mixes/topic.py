"""The topic ``personas.distribution``: the latest mix of every merchant, announced by the owner of its sessions."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from schemas.topics import PERSONAS_DISTRIBUTION, SESSIONS_ASSIGNED
from streams.broker.chunks import TopicPartition
from streams.broker.emit import Emitter
from streams.broker.owner_writer import OwnerWriter
from streams.broker.record_columns import Record


class MixTopic:
    """Satisfies ``streams.hops.assigned_hop.Announcer``; ``partitions`` is how many the topic has."""

    def __init__(self, writer: OwnerWriter, emitter: Emitter, partitions: int, clock_ms: Callable[[], int]) -> None:
        self._writer = writer
        self._emitter = emitter
        self._partitions = partitions
        self._clock_ms = clock_ms

    async def open(self, partitions: AbstractSet[int]) -> None:
        """Become the one that announces for these partitions of ``sessions.assigned``. Raises BrokerError."""
        await self._writer.open({_source(number) for number in partitions})

    async def close(self, partitions: AbstractSet[int]) -> None:
        """Give partitions up."""
        await self._writer.close({_source(number) for number in partitions})

    async def announce(self, partition: int, mixes: Mapping[str, bytes]) -> None:
        """Write mixes (merchant → message) of one partition's sessions; raises as ``OwnerWriter.write``."""
        records: dict[TopicPartition, list[Record]] = {}
        for merchant_id, message in mixes.items():
            key = merchant_id.encode()
            target = TopicPartition(PERSONAS_DISTRIBUTION, self._emitter.partition(key, self._partitions))
            records.setdefault(target, []).append((key, message))
        now_ms = self._clock_ms()
        source = _source(partition)
        await self._writer.write(source, {target: self._writer.pack(some, now_ms) for target, some in records.items()})


def _source(partition: int) -> TopicPartition:
    return TopicPartition(SESSIONS_ASSIGNED, partition)
