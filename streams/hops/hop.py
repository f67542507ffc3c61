"""The seam between Faust and what the stream does: a hop takes chunks in and makes their effects durable."""

from collections.abc import Awaitable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from streams.broker.chunks import Chunk, TopicPartition


class Hop(Protocol):
    """One step of the way of an event. The shell calls the methods one at a time, never two at once.

    Heavy work belongs in the shell's single executor thread (given to the hop's constructor), so that heartbeats stay
    on time. An exception from any method stops the worker without acknowledging anything, and a restart reads the same
    chunks again; only ``RetryLater`` is answered by calling the same method again after its ``retry_after_s``.
    """

    @property
    def topics(self) -> Sequence[str]:
        """Topics this hop reads."""

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Restore the state of newly owned partitions of ``topics``; called before their first chunk."""

    async def stand_by(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Prepare for taking over partitions of ``topics`` that another worker owns; called after every assignment.

        Where there is nothing to prepare, does nothing.
        """

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        """Drop the state of partitions that are no longer ours, or whose last commit before a rebalance failed."""

    async def process(self, chunks: Sequence[Chunk]) -> None:
        """Apply chunks, one or more, to memory and queue their outputs; the next ``commit`` acknowledges them.

        They are of different partitions of ``topics``. May raise ``RetryLater`` only as long as nothing of them has
        been applied; then they come again.
        """

    async def commit(self) -> Awaitable[None] | None:
        """Begin to make the effects of every processed chunk durable: outputs first, then the changelog.

        Called every ``commit_interval_ms`` when there is something to commit, and before a revocation and a stop.
        Returns what remains to be awaited, None when nothing does. The hop goes on with other chunks in the meantime;
        only partitions do not change, and no other commit begins. When it is over the shell acknowledges the chunks
        processed before the call and commits their offsets. May be called again after ``RetryLater``, whichever of the
        two parts raised it; then it carries on where it stopped.
        """

    async def tick(self, now_ms: int) -> None:
        """Do what is due by the clock: idle watermarks, provisional emissions, early inserts.

        May raise ``RetryLater``; what it could not do then waits for the next commit.
        """
