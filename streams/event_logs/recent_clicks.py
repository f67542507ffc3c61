"""The clicks of the last hours, read back from ``clicks.raw``: recent traffic without an event log."""

from collections.abc import AsyncIterator, Callable

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as KafkaPartition

from encoders.errors import TrainingDataError
from encoders.sessionise import SessionLog, sessions_of
from schemas.events import EventBatch
from schemas.slices import Slices
from schemas.topics import CLICKS_RAW
from streams.broker.click_reader import ClickReader, FindSchema
from streams.errors import StreamError

#: Records taken from the broker at a time.
_RECORDS, _TIMEOUT_MS = 20_000, 1_000


class RecentClicksError(StreamError):
    """Clicks cannot be read back from the broker."""


async def recent_sessions(
    bootstrap: str,
    since_ms: int,
    gap_ms: int,
    max_events: int,
    find_schema: FindSchema | None = None,
    progress: Callable[[int], None] = lambda records: None,
    until_ms: int | None = None,
) -> SessionLog:
    """Return the sessions of all clicks that came to the broker since then, cut by the plain rule of training.

    With ``until_ms`` only of those that came before it.

    Reads up to the present ends, without a group. Records that cannot be used are left out; sessions that are still
    open come as far as they have got. ``progress`` is told the records of every fetch. Raises RecentClicksError without
    a broker or topic, TrainingDataError when there is no usable click, RetryLater as ``find_schema`` does.
    """
    batches = [batch async for batch in _batches(bootstrap, since_ms, until_ms, ClickReader(find_schema), progress)]
    if not any((batch.fault == 0).any() for batch in batches):
        raise TrainingDataError(f"{CLICKS_RAW} at {bootstrap} holds no usable click of that time; reach further back.")
    return sessions_of(batches, gap_ms, max_events)


async def _batches(
    bootstrap: str, since_ms: int, until_ms: int | None, reader: ClickReader, progress: Callable[[int], None]
) -> AsyncIterator[EventBatch]:
    end_ms = float("inf") if until_ms is None else until_ms
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        # Asked of the broker, so that the consumer has run before it is stopped: aiokafka's does not end well else.
        if CLICKS_RAW not in await consumer.topics():
            raise RecentClicksError(f"The broker at {bootstrap} has no topic {CLICKS_RAW}; run `simpersona migrate`.")
        numbers = consumer.partitions_for_topic(CLICKS_RAW) or set()
        partitions = [KafkaPartition(CLICKS_RAW, number) for number in sorted(numbers)]
        # Before anything is fetched: behind a fetch that waits for records, the broker would let these wait.
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        consumer.assign(partitions)
        for partition in partitions:
            found = starts.get(partition)
            consumer.seek(partition, ends[partition] if found is None else found.offset)
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=_TIMEOUT_MS, max_records=_RECORDS)).values():
                progress(len(records))
                # Seeking by time is a hint: the embedded broker answers with the beginning.
                values = [record.value or b"" for record in records if since_ms <= record.timestamp < end_ms]
                if values:
                    yield reader.read(Slices.of(values)).batch
    except KafkaError as error:
        raise RecentClicksError(
            f"Clicks cannot be read at {bootstrap} ({error!r}); start the broker or correct SIMPERSONA_KAFKA."
        ) from error
    finally:
        await consumer.stop()
