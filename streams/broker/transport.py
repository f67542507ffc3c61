"""Faust's Kafka transport, with a consumer that hands over whole fetches and commits by the offset ledger.

One message per fetched list of records instead of one per record is what makes Faust quick enough; the price is that
its offset bookkeeping no longer fits, so everything about offsets is done here: fetching, acknowledging, committing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import IllegalStateError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from yarl import URL

from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.emit import RETRY_BACKOFF_MS
from streams.broker.fetched import Fetched, next_columns
from streams.broker.ledger import Entry, OffsetLedger

#: When the broker answers a fetch: once it has so many bytes, or after so many milliseconds. While there is traffic it
#: gathers, so that chunks hold hundreds of records, not five: what a chunk costs beside its records would else be the
#: larger part. A worker that is behind never waits, and what comes after a silence is answered at once.
GATHER, QUIET = (512 * 1024, 350), (1, 1_500)
#: While fetched records wait to be taken for less than this, no further fetch is begun. aiokafka's own tenth of a
#: second is over too soon: the fetch that it then begins leaves out the partitions whose records wait, and there is
#: only one at a time.
PREFETCH_BACKOFF_S = 1.0
#: A partition counts as caught up only if the broker said so this recently, not before a pause or an outage.
FRESH_MS = 5_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What travels through Faust as one message: all that one fetch brought of one hop's topics.

    ``parts`` are chunks, one per partition, each with its entry in the ledger.
    """

    parts: Sequence[tuple[Chunk, Entry]]

    def __len__(self) -> int:
        """Records."""
        return sum(len(chunk) for chunk, _ in self.parts)


def chunk_of(topic: str, partition: int, fetched: Fetched, highwater: int) -> Chunk:
    """Return what was fetched of a partition (at least one record) as a chunk."""
    return Chunk(topic, partition, fetched.records, fetched.offsets, fetched.timestamps_ms, highwater)


class ChunkThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's fetching thread, without an object per record: what was fetched is handed over in columns."""

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        fetch, fetcher = super()._fetch_records, consumer._fetcher
        fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
        fetched = await next_columns(
            fetcher, lambda: fetch(consumer, active_partitions, timeout=0, max_records=max_records), timeout
        )
        # Read by the next request, which is made once the event loop goes on.
        fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = GATHER if fetched else QUIET
        return fetched

    def _create_consumer(self, loop: Any) -> Any:
        consumer = super()._create_consumer(loop)
        # Read by what is made when it starts.
        consumer._retry_backoff_ms = RETRY_BACKOFF_MS
        return consumer

    async def _commit(self, offsets: Any) -> bool:
        # Of somebody who is no member an empty group takes any offset, also one behind what another worker had done.
        if self._ensure_consumer()._coordinator.generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
            return False
        return bool(await super()._commit(offsets))


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's aiokafka consumer, delivering ``Delivery`` messages and committing what the ledger allows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: One commit of offsets at a time: one that is tried again must not come behind a later one.
        self._offsets_lock = asyncio.Lock()

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, ConsumerMessage]]:
        """Fetch once and yield one message per hop, round after round called by ``_drain_messages``."""
        ledger: OffsetLedger = self.transport.ledger
        epoch = ledger.epoch
        fetched, _ = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        if not self.flow_active or ledger.epoch != epoch:
            # Fetched before a rebalance, or during one: whoever owns the partitions begins at their committed offsets.
            await self._read_again(fetched)
            return
        parts: dict[str, list[tuple[Chunk, Entry]]] = {}
        for tp, records in fetched.items():
            source = TopicPartition(tp.topic, tp.partition)
            highwater = self.highwater(tp)
            chunk = chunk_of(*source, records, -1 if highwater is None else highwater)
            entry = ledger.deliver(source, int(chunk.offsets[0]), int(chunk.offsets[-1]) + 1)
            parts.setdefault(self.transport.hop_of[tp.topic], []).append((chunk, entry))
        del fetched, records
        for of_hop in parts.values():
            message = self._message_of(Delivery(of_hop))
            yield message.tp, message

    async def _read_again(self, partitions: Collection[KafkaPartition]) -> None:
        """Go back to the committed offsets, and to the beginning of those of some partitions that have none.

        Faust's `perform_seek` leaves the latter where they are: behind the records that are thrown away. Called for a
        fetch that a rebalance overtook; another rebalance in the middle of it makes it needless.
        """
        try:
            await self.perform_seek()
            await self._thread.call_thread(self._rewind, partitions)
        except (IllegalStateError, AssertionError) as error:
            self.log.info("Partitions were given to another worker while they were sought (%r).", error)

    async def _rewind(self, partitions: Collection[KafkaPartition]) -> None:
        """Runs in the consumer's own thread."""
        consumer = self._thread._ensure_consumer()
        fresh = [tp for tp in partitions if tp in consumer.assignment() and not await consumer.committed(tp)]
        for tp, offset in (await consumer.beginning_offsets(fresh)).items() if fresh else ():
            consumer.seek(tp, offset)

    def _message_of(self, delivery: Delivery) -> ConsumerMessage:
        """Return a message that Faust takes to the hop: it looks like one record of the first chunk's partition."""
        chunk, _ = delivery.parts[0]
        return ConsumerMessage(
            topic=chunk.topic,
            partition=chunk.partition,
            offset=int(chunk.offsets[0]),
            timestamp=float(chunk.timestamps_ms[0]) / 1000,
            timestamp_type=0,
            headers=(),
            key=None,
            value=delivery,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=TP(*chunk.source),
            generation_id=self.app.consumer_generation_id,
        )

    async def _drain_messages(self, fetcher: Any) -> None:
        """Deliver fetches to the agents until stopped. Faust's own version also keeps read offsets, one per record."""
        while not (self.should_stop or fetcher.should_stop):
            async for _, message in self.getmany(timeout=1.0):
                # A suspended flow means a rebalance: the message is dropped, its entry stays unacked until revoked.
                await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def ack(self, message: Any) -> bool:
        """Ignore Faust's acknowledgement, which comes even for an agent that raised; the ledger has its own."""
        return False

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Checkpoint every hop, then commit the offsets that the ledger allows.

        Returns whether the broker took them. Only then do they count as committed: Faust itself would also believe in
        what was refused because the group has moved on, and tombstones would be written of sessions whose clicks come
        again.
        """
        await self.transport.checkpoint()
        ledger: OffsetLedger = self.transport.ledger
        async with self._offsets_lock:
            owned = self.assignment()
            offsets = {source: offset for source, offset in ledger.committable().items() if source in owned}
            if not offsets or not await self._commit(offsets):
                return False
            self._committed_offset.update(offsets)
            ledger.committed(offsets)
            return True

    async def is_member(self) -> bool:
        """Ask the broker whether this worker still owns its partitions, by committing again what is committed."""
        async with self._offsets_lock:
            offsets = self.transport.ledger.reached()
            return not offsets or bool(await self._commit(offsets))

    def committed_offset(self, source: TopicPartition) -> int | None:
        """Return the next offset to read by the last commit of an owned partition, None while there is none."""
        offset: int | None = self._committed_offset.get(source)
        return offset

    def caught_up(self, source: TopicPartition, now_ms: int) -> bool:
        """Say whether the broker has, within the last seconds, had nothing of this partition that we lack."""
        state = self._partition_state(source)
        if state is None or state.highwater is None or not state.timestamp or not state.has_valid_position:
            return False
        return bool(state.position >= state.highwater and now_ms - state.timestamp < FRESH_MS)

    def lag(self, source: TopicPartition) -> int:
        """Return how many records of a partition the broker holds beyond the last one fetched; 0 while unknown."""
        state = self._partition_state(source)
        if state is None or state.highwater is None or not state.has_valid_position:
            return 0
        return max(0, int(state.highwater) - int(state.position))

    def _partition_state(self, source: TopicPartition) -> Any:
        """aiokafka's own state of an assigned partition (its public ``highwater`` lacks the time it was learnt)."""
        consumer = self._thread._consumer
        subscription = consumer and consumer._subscription.subscription
        assignment = subscription and subscription.assignment
        partition = KafkaPartition(*source)
        return assignment.state_value(partition) if assignment and partition in assignment.tps else None


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """The transport a stream app uses; made by ``streams.app``."""

    Consumer = ChunkConsumer

    def __init__(
        self,
        url: list[URL],
        app: Any,
        ledger: OffsetLedger,
        checkpoint: Callable[[], Awaitable[None]],
        hop_of: Mapping[str, str],
    ) -> None:
        """``hop_of`` names the hop that reads a topic: what is fetched for one hop travels together."""
        super().__init__(url, app)
        self.ledger = ledger
        self.checkpoint = checkpoint
        self.hop_of = hop_of
