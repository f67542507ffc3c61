"""The hop driver: acknowledgement only after a commit, pauses, and what a failure or a rebalance leaves undone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

import pytest

from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.ledger import OffsetLedger
from streams.broker.transport import Delivery
from streams.errors import RetryLater
from streams.hops.driver import MAX_UNCOMMITTED, HopDriver
from streams.metrics import Metrics

pytestmark = pytest.mark.fast

SOURCE, OTHER = TopicPartition("clicks.raw", 0), TopicPartition("clicks.raw", 1)
NONE: frozenset[TopicPartition] = frozenset()


class Recorder:
    """A hop that writes down what is done with it and fails when told to."""

    topics: Sequence[str] = ("clicks.raw",)

    def __init__(self) -> None:
        self.done: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self.hold, self.durable = asyncio.Event(), asyncio.Event()
        self.hold.set()
        self.durable.set()

    async def _do(self, what: str) -> None:
        await self.hold.wait()
        error = self.errors.pop(what.split()[0], None)
        if error is not None:
            raise error
        self.done.append(what)

    async def assigned(self, partitions: AbstractSet[TopicPartition]) -> None:
        await self._do(f"assigned {len(partitions)}")

    async def stand_by(self, partitions: AbstractSet[TopicPartition]) -> None:
        if partitions:
            await self._do(f"stand_by {len(partitions)}")

    async def revoked(self, partitions: AbstractSet[TopicPartition]) -> None:
        await self._do(f"revoked {len(partitions)}")

    async def process(self, chunks: Sequence[Chunk]) -> None:
        await self._do(" ".join(["process", *(str(chunk.offsets[0]) for chunk in chunks)]))

    async def commit(self) -> Awaitable[None]:
        await self._do("commit")
        return self._write()

    async def _write(self) -> None:
        await self.durable.wait()
        error = self.errors.pop("write", None)
        if error is not None:
            raise error

    async def tick(self, now_ms: int) -> None:
        await self._do(f"tick {now_ms}")


class Stage:
    """A driver with its hop, ledger and a clock moved by hand."""

    def __init__(self) -> None:
        self.hop = Recorder()
        self.ledger = OffsetLedger()
        self.now_ms = 0
        self.failures: list[BaseException] = []
        self.driver = HopDriver(self.hop, self.ledger, Metrics(), lambda: self.now_ms, self.failures.append)

    def delivery(self, first: int, records: int = 10) -> Delivery:
        chunk = Chunk.of(*SOURCE, [b"a"] * records, first)
        return Delivery([(chunk, self.ledger.deliver(SOURCE, first, first + records))])


def played(scene: Callable[[Stage], Awaitable[None]]) -> Stage:
    async def play() -> Stage:
        stage = Stage()
        await stage.driver.assign({SOURCE, TopicPartition("elsewhere", 0)}, NONE, keep=False)
        await asyncio.wait_for(scene(stage), timeout=20)
        return stage

    return asyncio.run(play())


def test_a_chunk_is_acknowledged_by_the_commit_after_it_and_not_before() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.process(stage.delivery(0))
        assert stage.ledger.committable() == {}
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {SOURCE: 10}

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit"]


def test_a_hop_goes_on_while_its_commit_becomes_durable_and_leaves_that_to_the_next() -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.durable.clear()
        await stage.driver.process(stage.delivery(0))
        committing = asyncio.ensure_future(stage.driver.checkpoint())
        while "commit" not in stage.hop.done:
            await asyncio.sleep(0)
        await stage.driver.process(stage.delivery(10))
        assert stage.ledger.committable() == {}
        stage.hop.durable.set()
        await committing
        assert stage.ledger.committable() == {SOURCE: 10}
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {SOURCE: 20}

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit", "process 10", "commit"]


def test_partitions_change_only_when_the_commit_under_way_is_over() -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.durable.clear()
        await stage.driver.process(stage.delivery(0))
        committing = asyncio.ensure_future(stage.driver.checkpoint())
        while "commit" not in stage.hop.done:
            await asyncio.sleep(0)
        moving = asyncio.ensure_future(stage.driver.assign({OTHER}, NONE, keep=False))
        await asyncio.sleep(0)
        assert not moving.done()
        stage.hop.durable.set()
        await asyncio.gather(committing, moving)
        assert stage.ledger.committable() == {SOURCE: 10}

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit", "revoked 1", "assigned 1"]


def test_what_a_commit_could_not_write_is_acknowledged_by_the_one_that_can() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.process(stage.delivery(0))
        stage.hop.errors["write"] = RetryLater("The broker has no leader.", retry_after_s=2.0)
        await stage.driver.checkpoint()
        assert stage.driver.waiting_for_store
        assert stage.ledger.committable() == {}
        stage.now_ms = 2_000
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {SOURCE: 10}

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit", "commit"]


def test_chunks_wait_until_the_state_is_restored() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.suspend()
        waiting = asyncio.ensure_future(stage.driver.process(stage.delivery(0)))
        await stage.driver.checkpoint()
        await stage.driver.tick()
        await stage.driver.assign({SOURCE}, NONE, keep=False)
        await waiting

    assert played(scene).hop.done == ["assigned 1", "revoked 1", "assigned 1", "process 0"]


def test_a_store_that_is_away_pauses_the_hop_and_loses_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.process(stage.delivery(0))
        stage.hop.errors["commit"] = RetryLater("The store is away.", retry_after_s=2.0)
        await stage.driver.checkpoint()
        assert stage.driver.waiting_for_store
        waiting = asyncio.ensure_future(stage.driver.process(stage.delivery(10)))
        stage.now_ms = 1_999
        await stage.driver.checkpoint()
        await stage.driver.tick()
        assert stage.ledger.committable() == {}
        stage.now_ms = 2_000
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {SOURCE: 10}
        await waiting
        assert not stage.driver.waiting_for_store

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit", "process 10"]


def test_a_chunk_that_must_be_retried_is_given_again() -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.errors["process"] = RetryLater("The registry is away.", retry_after_s=0.01)
        await stage.driver.process(stage.delivery(0))

    stage = played(scene)
    assert stage.hop.done == ["assigned 1", "process 0"]
    assert not stage.failures


@pytest.mark.parametrize("where", ["process", "commit", "tick"])
def test_after_a_failure_nothing_more_is_done_with_the_hop(where: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.errors[where] = ValueError("a bug")
        await stage.driver.process(stage.delivery(0))
        await stage.driver.checkpoint()
        await stage.driver.tick()
        await stage.driver.process(stage.delivery(10))
        await stage.driver.checkpoint()

    stage = played(scene)
    assert [str(failure) for failure in stage.failures] == ["a bug"]
    assert stage.ledger.committable() in ({}, {SOURCE: 10})
    assert "process 10" not in stage.hop.done
    assert stage.hop.done.count("commit") <= (where == "tick")


def test_partitions_that_stay_keep_their_state_if_nobody_else_can_have_owned_them() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE, OTHER}, NONE, keep=True)
        await stage.driver.suspend()
        await stage.driver.assign({OTHER}, {SOURCE}, keep=True)

    assert played(scene).hop.done == ["assigned 1", "assigned 1", "revoked 1", "stand_by 1"]


def test_a_worker_that_missed_a_generation_restores_all_its_state() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE}, NONE, keep=False)

    assert played(scene).hop.done == ["assigned 1", "revoked 1", "assigned 1"]


def test_state_whose_last_commit_failed_is_dropped_at_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.process(stage.delivery(0))
        stage.hop.errors["commit"] = RetryLater("The store is away.", retry_after_s=2.0)
        await stage.driver.checkpoint()
        stage.ledger.revoke()
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE}, NONE, keep=True)
        await stage.driver.process(stage.delivery(0))

    assert played(scene).hop.done == ["assigned 1", "process 0", "revoked 1", "assigned 1", "process 0"]


def test_a_held_hop_finishes_the_chunk_in_hand_and_takes_no_other_until_it_is_assigned_again() -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.hold.clear()
        in_hand = asyncio.ensure_future(stage.driver.process(stage.delivery(0)))
        while not stage.driver.busy:
            await asyncio.sleep(0)
        holding = asyncio.ensure_future(stage.driver.hold())
        waiting = asyncio.ensure_future(stage.driver.process(stage.delivery(10)))
        stage.hop.hold.set()
        await asyncio.gather(in_hand, holding)
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {SOURCE: 10}
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE}, NONE, keep=True)
        await waiting

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit", "process 10"]


def test_a_chunk_delivered_before_a_rebalance_is_not_processed_after_it() -> None:
    async def scene(stage: Stage) -> None:
        stale = stage.delivery(0)
        stage.ledger.revoke()
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE}, NONE, keep=False)
        await stage.driver.process(stale)

    assert played(scene).hop.done == ["assigned 1", "revoked 1", "assigned 1"]


def test_what_was_processed_before_a_rebalance_is_not_acknowledged_after_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.driver.process(stage.delivery(0))
        stage.ledger.revoke()
        await stage.driver.suspend()
        await stage.driver.assign({SOURCE}, NONE, keep=False)
        stage.delivery(0)
        await stage.driver.checkpoint()
        assert stage.ledger.committable() == {}

    played(scene)


def test_a_cancelled_caller_leaves_no_chunk_half_applied() -> None:
    async def scene(stage: Stage) -> None:
        stage.hop.hold.clear()
        agent = asyncio.ensure_future(stage.driver.process(stage.delivery(0)))
        while not stage.driver.busy:
            await asyncio.sleep(0)
        agent.cancel()
        checkpoint = asyncio.ensure_future(stage.driver.checkpoint())
        await asyncio.sleep(0)
        stage.hop.hold.set()
        await checkpoint
        assert stage.ledger.committable() == {SOURCE: 10}

    assert played(scene).hop.done == ["assigned 1", "process 0", "commit"]


def test_memory_is_bounded_by_a_commit_between_timers() -> None:
    async def scene(stage: Stage) -> None:
        first = 0
        for records in (MAX_UNCOMMITTED - 1, 1, 1):
            await stage.driver.process(stage.delivery(first, records))
            first += records
        assert stage.ledger.committable() == {SOURCE: MAX_UNCOMMITTED}

    assert played(scene).hop.done.count("commit") == 1
