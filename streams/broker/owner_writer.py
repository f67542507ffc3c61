"""Records of compacted topics, which only the owner of a source may write: whole or not at all.

A worker that was paused (a stopped virtual machine, a long collection) wakes up without knowing that its partitions
have a new owner. Its rows are harmless, because revisions are functions of the state; its snapshots and mixes are not:
they would lie *behind* the new owner's, and in a compacted topic the last one wins. Kafka's transactions close this
door: whoever opens a source's writer first makes the broker refuse all earlier writers of the same name.
Source: KIP-98, https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced, UnknownError

from streams.broker.chunks import TopicPartition
from streams.broker.emit import (
    PATIENCE_S,
    RETRY_BACKOFF_MS,
    BrokerError,
    Emitter,
    Outgoing,
    broker_away,
    patiently,
    send_batches,
)
from streams.broker.record_batch import BATCH_BYTES, RecordBatch, packed
from streams.broker.record_columns import Record, Records
from streams.errors import RetryLater, StreamError

logger = logging.getLogger(__name__)

#: Time after which a worker that lost its partitions looks again; by then the rebalance has usually come.
FENCED_RETRY_S = 1.0
#: Longer than a broker may be away: a transaction must not run out while its owner still waits for the broker.
_TRANSACTION_TIMEOUT_MS = 2 * PATIENCE_S * 1000


class OwnerWriter(Protocol):
    """Writes for source partitions; opened before their state is read, closed when they are given up."""

    async def open(self, sources: AbstractSet[TopicPartition]) -> None:
        """Become the writer of these sources, shutting earlier ones out. Raises BrokerError."""

    async def close(self, sources: AbstractSet[TopicPartition]) -> None:
        """Stop writing for these sources."""

    def pack(self, records: Records | Iterable[Record], timestamp_ms: int, prefix: bytes = b"") -> list[RecordBatch]:
        """Return batches of records, every key behind ``prefix``; may run in any one thread."""

    async def write(self, source: TopicPartition, outgoing: Outgoing) -> None:
        """Write batches that belong together; durable on return.

        Raises RetryLater when this worker is no longer the source's writer (a rebalance is on its way), BrokerError
        when the broker does not take the records.
        """


async def owner_writer(
    bootstrap: str, group: str, emitter: Emitter, is_member: Callable[[], Awaitable[bool]]
) -> OwnerWriter:
    """Return a fenced writer, or one that only asks for its membership where the broker has no transactions.

    Asks the broker once, by opening a transactional producer. Raises BrokerError when no broker answers.
    """
    probe = _producer(bootstrap, f"{group}-probe")
    try:
        await probe.start()
    except UnknownError:
        logger.warning("The broker has no transactions: a worker that hangs is kept out by its membership alone.")
        return MemberWriter(emitter, is_member)
    except KafkaError as error:
        raise broker_away(bootstrap, error) from error
    finally:
        await probe.stop()
    return FencedWriter(bootstrap, group, is_member)


class FencedWriter:
    """One transactional producer per source: each write is a transaction, and a later owner shuts this one out."""

    def __init__(self, bootstrap: str, group: str, is_member: Callable[[], Awaitable[bool]]) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._is_member = is_member
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}
        #: Sources whose producer was shut out: it is of no use any more.
        self._lost: set[TopicPartition] = set()

    async def open(self, sources: AbstractSet[TopicPartition]) -> None:
        """Open a producer per source; the broker ends what an earlier one left unfinished."""
        for source in sources:
            name = f"{self._group}-{source.topic}-{source.partition}"
            self._producers[source] = _producer(self._bootstrap, name)
        try:
            starts = [self._producers[source].start for source in sources]
            await asyncio.gather(*(patiently(self._bootstrap, start) for start in starts))
        except KafkaError as error:
            raise broker_away(self._bootstrap, error) from error

    async def close(self, sources: AbstractSet[TopicPartition]) -> None:
        """Disconnect the producers of these sources."""
        self._lost -= sources
        closing = [self._producers.pop(source) for source in sources if source in self._producers]
        # A producer that was shut out has nothing to send and complains about it when it is stopped.
        for outcome in await asyncio.gather(*(producer.stop() for producer in closing), return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, KafkaError):
                raise outcome

    def pack(self, records: Records | Iterable[Record], timestamp_ms: int, prefix: bytes = b"") -> list[RecordBatch]:
        """Return batches that are marked as transactional."""
        return packed(records, timestamp_ms, transactional=True, prefix=prefix)

    async def write(self, source: TopicPartition, outgoing: Outgoing) -> None:
        """Write the batches in one transaction."""
        producer = self._producers[source]
        if source in self._lost:
            raise await self._shut_out(source)
        try:
            await producer.begin_transaction()
            await asyncio.gather(*await send_batches(producer, outgoing))
            await producer.commit_transaction()
        except ProducerFenced as error:
            self._lost.add(source)
            raise await self._shut_out(source) from error
        except KafkaError as error:
            raise broker_away(self._bootstrap, error) from error

    async def _shut_out(self, source: TopicPartition) -> StreamError:
        where = f"{source.topic}-{source.partition}"
        if await self._is_member():
            return BrokerError(
                f"The broker gave up the transactions of {where} although this worker still owns it; start the worker "
                "again, it goes on from what is committed."
            )
        return RetryLater(f"Another worker took {where} over; waiting for new partitions.", FENCED_RETRY_S)


class MemberWriter:
    """Writes without transactions, for the embedded broker, which has none: asks for its membership before each write.

    A worker paused between the answer and the write can still overwrite newer state.
    """

    def __init__(self, emitter: Emitter, is_member: Callable[[], Awaitable[bool]]) -> None:
        self._emitter = emitter
        self._is_member = is_member

    async def open(self, sources: AbstractSet[TopicPartition]) -> None:
        """Do nothing: membership is asked for at each write."""

    async def close(self, sources: AbstractSet[TopicPartition]) -> None:
        """Do nothing."""

    def pack(self, records: Records | Iterable[Record], timestamp_ms: int, prefix: bytes = b"") -> list[RecordBatch]:
        """Return batches."""
        return packed(records, timestamp_ms, prefix=prefix)

    async def write(self, source: TopicPartition, outgoing: Outgoing) -> None:
        """Write the batches if this worker is still a member of its group."""
        if not await self._is_member():
            raise RetryLater("This worker was given up by its group and waits for new partitions.", FENCED_RETRY_S)
        await self._emitter.send_and_wait(outgoing)


def _producer(bootstrap: str, name: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=name,
        transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
        request_timeout_ms=PATIENCE_S * 1000,
        retry_backoff_ms=RETRY_BACKOFF_MS,
    )
