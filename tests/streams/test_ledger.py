"""The offset ledger: what may be committed, whatever order chunks are acked, redelivered or revoked in."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.broker.chunks import TopicPartition
from streams.broker.ledger import Entry, OffsetLedger

pytestmark = pytest.mark.fast

SOURCE = TopicPartition("clicks.raw", 0)
OTHER = TopicPartition("clicks.raw", 1)


def test_nothing_is_committable_before_an_ack() -> None:
    ledger = OffsetLedger()
    ledger.deliver(SOURCE, 0, 10)
    assert ledger.committable() == {}


def test_an_unacked_chunk_holds_back_the_acked_ones_behind_it() -> None:
    ledger = OffsetLedger()
    first, second, third = (ledger.deliver(SOURCE, start, start + 10) for start in (0, 10, 20))
    ledger.ack(first)
    ledger.ack(third)
    assert ledger.committable() == {SOURCE: 10}
    ledger.ack(second)
    assert ledger.committable() == {SOURCE: 30}


def test_several_acked_chunks_are_committed_at_once() -> None:
    ledger = OffsetLedger()
    for entry in [ledger.deliver(SOURCE, start, start + 7) for start in (0, 7, 14, 21, 28)]:
        ledger.ack(entry)
    assert ledger.committable() == {SOURCE: 35}
    assert ledger.outstanding == 0


def test_gaps_left_by_compaction_do_not_hold_a_commit_back() -> None:
    ledger = OffsetLedger()
    for entry in (ledger.deliver(SOURCE, 3, 10), ledger.deliver(SOURCE, 25, 40)):
        ledger.ack(entry)
    assert ledger.committable() == {SOURCE: 40}


def test_what_the_broker_has_accepted_is_not_committed_again() -> None:
    ledger = OffsetLedger()
    ledger.ack(ledger.deliver(SOURCE, 0, 10))
    ledger.committed(ledger.committable())
    assert ledger.committable() == {}


def test_a_commit_that_failed_is_offered_again() -> None:
    ledger = OffsetLedger()
    ledger.ack(ledger.deliver(SOURCE, 0, 10))
    assert ledger.committable() == ledger.committable() == {SOURCE: 10}


def test_a_chunk_read_again_after_a_seek_replaces_the_ones_it_overlaps() -> None:
    ledger = OffsetLedger()
    first, second = ledger.deliver(SOURCE, 0, 10), ledger.deliver(SOURCE, 10, 20)
    again = ledger.deliver(SOURCE, 0, 15)
    ledger.ack(first)
    ledger.ack(second)
    assert not first.live and not second.live
    assert ledger.committable() == {}
    ledger.ack(again)
    assert ledger.committable() == {SOURCE: 15}


def test_an_ack_from_before_a_revocation_counts_for_nothing() -> None:
    ledger = OffsetLedger()
    entry = ledger.deliver(SOURCE, 0, 10)
    epoch = ledger.epoch
    ledger.revoke()
    ledger.ack(entry)
    assert ledger.committable() == {}
    assert ledger.epoch != epoch


def test_partitions_do_not_wait_for_each_other() -> None:
    ledger = OffsetLedger()
    ledger.deliver(SOURCE, 0, 10)
    ledger.ack(ledger.deliver(OTHER, 0, 10))
    assert ledger.committable() == {OTHER: 10}


def test_how_far_the_chunks_of_some_topics_have_come() -> None:
    ledger = OffsetLedger()
    other = TopicPartition("other", 0)
    assert ledger.standing([SOURCE.topic]) == (False, 0)
    first, second = ledger.deliver(SOURCE, 0, 10), ledger.deliver(other, 0, 5)
    assert ledger.standing([SOURCE.topic])[0]
    ledger.ack(first)
    assert ledger.standing([SOURCE.topic])[0], "done, but its offset is not committed"
    ledger.committed(ledger.committable())
    assert ledger.standing([SOURCE.topic]) == (False, 10)
    assert ledger.standing(["other"])[0]
    ledger.ack(second)
    ledger.committed(ledger.committable())
    assert ledger.standing([SOURCE.topic, "other"]) == (False, 15)


class AnyOrderOfAcksSeeksAndRebalances(RuleBasedStateMachine):
    """Against a plain model: the offsets whose latest delivery in this epoch is acked."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger()
        self.position = 0
        self.committed = 0  # what the broker holds
        self.done: set[int] = set()  # offsets acked at any time: their effects are durable
        self.in_flight: list[Entry] = []

    @rule(length=st.integers(1, 9), gap=st.integers(0, 2))
    def deliver(self, length: int, gap: int) -> None:
        first = self.position + gap
        self.done.update(range(self.position, first))  # offsets that do not exist need no work
        self.in_flight.append(self.ledger.deliver(SOURCE, first, first + length))
        self.position = first + length

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        entry = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.ledger.ack(entry)
        self.done.update(range(entry.first, entry.end))

    @rule(accepted=st.booleans())
    def commit(self, accepted: bool) -> None:
        offsets = self.ledger.committable()
        if accepted and offsets:
            assert offsets[SOURCE] >= self.committed
            self.ledger.committed(offsets)
            self.committed = offsets[SOURCE]

    @rule()
    def seek_to_committed(self) -> None:
        self.position = self.committed

    @rule()
    def rebalance(self) -> None:
        self.ledger.revoke()
        self.position = self.committed

    @invariant()
    def the_committed_offset_never_passes_work_that_was_not_done(self) -> None:
        assert set(range(self.committed)) <= self.done

    @invariant()
    def what_may_be_committed_never_passes_a_live_chunk_that_is_not_acked(self) -> None:
        unacked = [entry.first for entry in self.in_flight if entry.live]
        for offset in self.ledger.committable().values():
            assert offset <= min(unacked, default=offset)


TestAnyOrderOfAcksSeeksAndRebalances = AnyOrderOfAcksSeeksAndRebalances.TestCase
