"""The second hop: assignments become stored rows, mixes per merchant, drift alarms and the latest mix on a topic."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from typing import Protocol, TypeVar

import numpy as np

from schemas import topics
from schemas.assignment_codec import AssignmentDecoder
from schemas.assignments import AssignmentBatch
from schemas.events import I64
from schemas.rejected_codec import Rejection, decode_rejection
from schemas.slices import Slices
from streams.broker.chunks import Chunk, TopicPartition
from streams.drift.detectors import DriftRules
from streams.drift.watch import WATCHED_SOURCE
from streams.errors import StreamError
from streams.hops.partition_mixes import PartitionMixes
from streams.mixes.decay import DecayRule, Mix
from streams.mixes.distribution import DECAYED, countable
from streams.mixes.rows import MixKey
from streams.store.buyer_refresh import BuyerRefresh
from streams.store.history import History
from streams.store.sink import Sink

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Announcer(Protocol):
    """Announces mixes for the partitions it was opened for; see ``streams.mixes.topic.MixTopic``."""

    async def open(self, partitions: AbstractSet[int]) -> None:
        """Become the one that announces for these partitions."""

    async def close(self, partitions: AbstractSet[int]) -> None:
        """Give partitions up."""

    async def announce(self, partition: int, mixes: Mapping[str, bytes]) -> None:
        """Return when the broker has these mixes (merchant → message)."""


#: Least time between two inserts ahead of the commit, of many session rows and of fewer (an insert makes one part, see
#: ClickHouse's advice on batches).
MANY_ROWS, MANY_INTERVAL_MS = 1_000, 250
FEW_INTERVAL_MS = 500
#: A day's counts that nobody touched for this long (time of processing) leave memory; hydration brings them back.
DAY_IDLE_MS = 15 * 60_000


class AssignedHop:
    """Reads ``sessions.assigned`` and ``clicks.rejected``; satisfies ``streams.hops.hop.Hop``.

    ``process`` only decodes. ``commit`` does, in this order: hydrate what memory lacks, count, insert session rows,
    insert the windows they changed and the alarms they rang, publish the latest mixes. ``tick`` inserts session rows
    ahead of it, when many wait. Offsets are committed after ``commit``, so a crash at any point leads to the same rows
    again: stored sessions are recognised, their windows written anew. ``clock_ms`` is the wall clock, used for times of
    emission and eviction only. Blocking work runs in ``executor``.
    """

    def __init__(
        self,
        sink: Sink,
        history: History,
        executor: Executor,
        announcer: Announcer,
        clock_ms: Callable[[], int],
        decay_half_life_ms: int,
        drift_rules: DriftRules | None = None,
    ) -> None:
        self._sink = sink
        self._history = history
        self._executor = executor
        self._announcer = announcer
        self._clock_ms = clock_ms
        self._decay = DecayRule(decay_half_life_ms)
        self._drift_rules = drift_rules if drift_rules is not None else DriftRules()
        self._decoder = AssignmentDecoder()
        self._partitions: dict[int, PartitionMixes] = {}
        #: Decoded rows, and which partition each came from.
        self._waiting: list[tuple[AssignmentBatch, I64]] = []
        self._rejections: list[Rejection] = []
        self._inserted_ms = 0
        self._unpublished: dict[tuple[int, MixKey], tuple[str, Mix]] = {}
        self._refreshes_buyers = False
        self._buyers = BuyerRefresh(sink, history)

    @property
    def topics(self) -> Sequence[str]:
        """Topics this hop reads."""
        return (topics.SESSIONS_ASSIGNED, topics.CLICKS_REJECTED)

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Begin with empty state; it is hydrated merchant by merchant as they appear."""
        numbers = _of_sessions(partitions)
        # First of all, so that no earlier owner can announce anything behind what is announced from here on.
        await self._announcer.open(numbers)
        for number in numbers:
            self._partitions[number] = PartitionMixes(self._decay, self._drift_rules)
        # One worker of the group does what concerns all partitions: the owner of the first.
        self._refreshes_buyers = 0 in self._partitions

    async def stand_by(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Prepare nothing: what a partition needs is read back from the store merchant by merchant."""

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Drop the state of partitions, and what of theirs was not committed: their next owner reads it again."""
        numbers = _of_sessions(partitions)
        await self._announcer.close(numbers)
        for number in numbers:
            self._partitions.pop(number, None)
        if len(numbers) < len(partitions):
            self._rejections.clear()
        self._waiting = [self._ours(batch, partitions) for batch, partitions in self._waiting]
        self._unpublished = {key: mix for key, mix in self._unpublished.items() if key[0] in self._partitions}
        self._refreshes_buyers = 0 in self._partitions

    def _ours(self, batch: AssignmentBatch, partitions: I64) -> tuple[AssignmentBatch, I64]:
        rows = np.isin(partitions, list(self._partitions))
        return batch.at(rows), partitions[rows]

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Decode chunks. Raises AssignmentError or StreamError on records that no worker wrote."""
        await self._heavy(lambda: self._decode(chunks))

    def _decode(self, chunks: Sequence[Chunk]) -> None:
        assigned = [chunk for chunk in chunks if chunk.topic == topics.SESSIONS_ASSIGNED]
        rejected = [chunk.values for chunk in chunks if chunk.topic == topics.CLICKS_REJECTED]
        numbers = np.array([chunk.partition for chunk in assigned], np.int64)
        partitions = np.repeat(numbers, [len(chunk) for chunk in assigned])
        groups = self._decoder.decode(Slices.joined([chunk.values for chunk in assigned])) if assigned else []
        self._rejections += [_rejection(value or b"") for values in rejected for value in values.tolist()]
        self._waiting += [(batch, partitions[rows]) for rows, batch in groups]

    async def commit(self) -> None:
        """Count, store and publish everything processed so far. Raises RetryLater while the store is away."""
        await self._heavy(self._store_everything)
        self._inserted_ms = self._clock_ms()
        mixes: dict[int, dict[str, bytes]] = {}
        for (partition, key), (version, mix) in self._unpublished.items():
            mixes.setdefault(partition, {})[key.merchant_id] = self._message(partition, key, version, mix)
        announcing = (self._announcer.announce(partition, messages) for partition, messages in mixes.items())
        # All of them end before an error is raised: none may go on behind a revocation.
        outcomes = await asyncio.gather(*announcing, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        self._unpublished.clear()

    async def tick(self, now_ms: int) -> None:
        """Insert rows that have waited, look for drift in sessions that have waited, refresh buyers' types if due.

        Raises RetryLater while the store is away; what was not inserted waits for the commit.
        """
        waiting = sum(len(batch) for batch, _ in self._waiting)
        interval_ms = MANY_INTERVAL_MS if waiting >= MANY_ROWS else FEW_INTERVAL_MS
        if waiting and now_ms - self._inserted_ms >= interval_ms:
            self._inserted_ms = now_ms
            await self._heavy(self._store_sessions)
        if any(state.rings_due(now_ms) for state in self._partitions.values()):
            await self._heavy(lambda: self._tell_drift_at_once(now_ms))
        if self._refreshes_buyers:
            self._buyers.tick(now_ms)

    async def settled(self) -> None:
        """Wait for a refresh of buyers that is under way; for a stopping worker and for tests."""
        await self._buyers.wait()

    async def _heavy(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _count_waiting(self, now_ms: int) -> None:
        """Hydrate what memory lacks, count what waits, hand its rows to the sink. After RetryLater all still waits."""
        counted = [_counted(batch, partitions) for batch, partitions in self._waiting]
        for partition in {partition for parts in counted for partition, _, _ in parts}:
            finals = [some for parts in counted for number, _, some in parts if number == partition]
            self._partitions[partition].hydrate(finals, self._history, now_ms)
        for (batch, _), parts in zip(self._waiting, counted, strict=True):
            standing = np.ones(len(batch), dtype=np.bool_)
            for partition, rows, some in parts:
                standing[rows] = self._partitions[partition].count(some, now_ms)
            self._sink.assignments(batch, standing)
        self._waiting.clear()

    def _store_sessions(self) -> None:
        self._count_waiting(self._clock_ms())
        self._sink.flush_sessions()

    def _store_everything(self) -> None:
        """Count and write; after RetryLater a second call goes on from where it stopped."""
        now_ms = self._clock_ms()
        self._count_waiting(now_ms)
        self._sink.rejected(self._rejections)
        self._rejections.clear()
        for partition, state in self._partitions.items():
            changes = state.take_changes()
            self._sink.distributions(changes.rows, now_ms)
            for key, latest in changes.decayed.items():
                if key.source == WATCHED_SOURCE:
                    self._unpublished[partition, key] = latest
        self._tell_drift(now_ms)
        self._sink.flush()
        for state in self._partitions.values():
            state.evict(now_ms - DAY_IDLE_MS)

    def _tell_drift(self, now_ms: int) -> None:
        for state in self._partitions.values():
            for ring in state.take_rings(now_ms):
                logger.info("Drift at merchant %s: %.3f nats.", ring.merchant_id, ring.alarm.statistic)
                self._sink.drift(ring.merchant_id, ring.codebook_version, ring.alarm, now_ms)

    def _tell_drift_at_once(self, now_ms: int) -> None:
        self._tell_drift(now_ms)
        self._sink.flush()

    def _message(self, partition: int, key: MixKey, version: str, mix: Mix) -> bytes:
        """Return the value of a record on ``personas.distribution``."""
        paths = self._partitions[partition].code_paths(version)
        message = {
            "merchant_id": key.merchant_id,
            "codebook_version": version,
            "window": DECAYED,
            "emitted_at": self._clock_ms(),
            "n_effective": mix.n_effective,
            "sessions": mix.total,
            "weights": dict(zip(mix.codes, mix.weights, strict=True)),
            "code_paths": {code: paths[code] for code in mix.codes},
        }
        return json.dumps(message, separators=(",", ":")).encode()


def _of_sessions(partitions: AbstractSet[TopicPartition]) -> set[int]:
    return {one.partition for one in partitions if one.topic == topics.SESSIONS_ASSIGNED}


def _counted(batch: AssignmentBatch, partitions: I64) -> list[tuple[int, I64, AssignmentBatch]]:
    """Return the rows that count, partition by partition: its number, their places in the batch, the rows."""
    rows = countable(batch)
    by_partition = [(int(one), rows[partitions[rows] == one]) for one in np.unique(partitions[rows])]
    return [(partition, some, batch.at(some)) for partition, some in by_partition]


def _rejection(value: bytes) -> Rejection:
    try:
        return decode_rejection(value)
    # fastavro answers strange bytes with whatever its parser stumbles over.
    except Exception as error:
        raise StreamError(
            f"Topic {topics.CLICKS_REJECTED} holds a record that is not a RejectedEvent ({error}); find who else "
            "writes to it and remove that record."
        ) from error
