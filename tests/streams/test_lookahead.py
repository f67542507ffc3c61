"""Work done ahead: the same items in the same order, errors in their turn, no thread left behind."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.event_logs.lookahead import ahead, mapped

pytestmark = pytest.mark.fast


@given(st.lists(st.integers() | st.none()), st.integers(1, 4))
def test_items_come_in_order_whatever_they_are(items: list[int | None], most: int) -> None:
    assert list(ahead(items, most)) == items


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("third")

    found = []
    with pytest.raises(ValueError, match="third"):
        for item in ahead(broken()):
            found.append(item)
    assert found == [1, 2]


def test_no_more_than_so_many_are_made_ahead_and_an_early_end_stops_the_thread() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(1_000):
            made.append(number)
            yield number

    before = threading.active_count()
    iterator = ahead(numbers(), most=2)
    assert next(iterator) == 0
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(made) <= 5


def test_the_work_is_done_in_another_thread() -> None:
    threads = list(ahead(threading.current_thread().name for _ in range(3)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.current_thread().name


@given(st.lists(st.integers()), st.integers(1, 4))
def test_what_is_made_of_items_comes_in_their_order(items: list[int], threads: int) -> None:
    assert list(mapped(lambda item: item + 1, items, threads)) == [item + 1 for item in items]


def test_so_many_items_are_worked_on_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)
    assert len(list(mapped(lambda _: both.wait(), range(4), 2))) == 4


def test_an_error_of_the_work_comes_after_what_came_before_it_and_leaves_no_thread() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("third")
        return item

    before = threading.active_count()
    found = []
    with pytest.raises(ValueError, match="third"):
        for made in mapped(work, range(9), 2):
            found.append(made)
    assert found == [0, 1]
    assert threading.active_count() == before
