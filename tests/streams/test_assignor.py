"""How partitions are dealt to workers that come and go."""

import pytest
from faust.assignor.client_assignment import CopartitionedAssignment
from hypothesis import given
from hypothesis import strategies as st

from streams.broker.assignor import BalancedAssignor

pytestmark = pytest.mark.fast


def deal(held: list[CopartitionedAssignment], partitions: int, standbys: int) -> list[CopartitionedAssignment]:
    """Deal the partitions once more to workers that say what they hold."""
    clients = {f"worker-{number}": assignment for number, assignment in enumerate(held)}
    dealt = BalancedAssignor({"clicks.raw"}, clients, partitions, standbys).get_assignment()
    return [dealt[name] for name in clients]


@given(
    partitions=st.integers(1, 24),
    workers=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    standbys=st.integers(0, 2),
    data=st.data(),
)
def test_whatever_workers_come_and_go_everybody_has_a_share_and_keeps_what_is_no_more_than_it(
    partitions: int, workers: list[int], standbys: int, data: st.DataObject
) -> None:
    held: list[CopartitionedAssignment] = []
    for count in workers:
        staying = data.draw(st.permutations(held))[:count]
        before = [set(one.actives) for one in staying]
        held = deal(staying + [CopartitionedAssignment() for _ in range(count - len(staying))], partitions, standbys)
        sizes = [len(one.actives) for one in held]
        assert sorted(number for one in held for number in one.actives) == list(range(partitions))
        assert max(sizes) - min(sizes) <= 1
        for one, kept in zip(held, before, strict=False):
            assert one.actives >= kept or (len(kept) > min(sizes) and one.actives <= kept)
            assert one.actives.isdisjoint(one.standbys)
        assert sum(len(one.standbys) for one in held) == partitions * min(standbys, len(held) - 1)


def test_a_third_worker_gets_one_of_four_partitions_that_two_others_hold_and_stand_by_for() -> None:
    pair = [CopartitionedAssignment({0, 1}, {2, 3}), CopartitionedAssignment({2, 3}, {0, 1})]
    assert sorted(len(one.actives) for one in deal([*pair, CopartitionedAssignment()], 4, standbys=1)) == [1, 1, 2]


def test_two_workers_that_claim_the_same_partitions_are_told_apart() -> None:
    claims = [CopartitionedAssignment({0, 1}), CopartitionedAssignment({0, 1}), CopartitionedAssignment()]
    dealt = deal(claims, 4, standbys=0)
    assert sorted(number for one in dealt for number in one.actives) == [0, 1, 2, 3]
