"""The state of session windows: what is written of it, what a restart makes of that, and when it goes."""

from typing import Any

import numpy as np
import pytest

from streams.broker.record_columns import Records
from streams.errors import SessionStateError
from streams.sessions.windows import SessionRules, SessionWindows

pytestmark = pytest.mark.fast

LONGEST = 1_000
RULES = SessionRules(100, 20, LONGEST, 8)
END_OF_TIME = 1 << 60
S = 10_000  # a start well after zero


def test_the_state_returns_to_zero_and_its_memory_is_used_again(world: Any) -> None:
    windows = SessionWindows(RULES)
    sizes = []
    for day in range(4):
        start = S + day * 1_000_000
        clicks = [world.Click(start + 3 * i, client=f"{day}/{i % 700}", id=i + 1) for i in range(3_000)]
        offsets = np.arange(day * 3_000, (day + 1) * 3_000, dtype=np.int64)
        windows.add(world.batch(clicks), offsets)
        windows.advance(start + 500_000)
        windows.emit(provisional=False)
        assert (windows.open_sessions, windows.open_events) == (0, 0)
        written = windows.snapshot().tolist()
        tombstones = windows.snapshot().tolist()
        assert windows.known_clients == 0
        assert [value for _, value in tombstones] == [None] * 700
        assert len(written) == 700 + 1
        sizes.append(windows.memory_bytes)
    assert sizes[1:] == sizes[:1] * 3


def test_a_client_closed_after_its_offset_was_committed_gets_its_tombstone_at_once(world: Any) -> None:
    windows = world.windows([world.Click(S)], RULES)
    windows.snapshot()
    windows.advance(END_OF_TIME)
    windows.emit(provisional=False)
    assert [value for key, value in windows.snapshot(committed_offset=0).tolist() if key] == [None]
    assert windows.known_clients == 0


def test_a_closed_client_is_remembered_until_its_offset_is_committed(world: Any) -> None:
    windows = world.windows([world.Click(S)], RULES)
    windows.advance(END_OF_TIME)
    windows.emit(provisional=False)
    records = dict(windows.snapshot(committed_offset=-1).tolist())
    again = SessionWindows(RULES)
    again.restore(Records.of(list(records.items())))
    added = again.add(world.batch([world.Click(S)]), np.array([0]))
    assert (added.replayed, added.accepted) == (1, 0)
    assert len(again.emit(provisional=False)) == 0


def test_clients_that_close_and_leave_one_after_another_are_forgotten_once_after_a_restart(world: Any) -> None:
    windows = world.windows([world.Click(S)], RULES)
    log = []
    for number, client in enumerate(["anna", "bert", "anna"]):
        if number:
            later = world.Click(S + number * 10 * LONGEST, client=client)
            windows.add(world.batch([later]), np.array([number]))
        windows.advance(S + (number * 10 + 5) * LONGEST)
        windows.emit(provisional=False)
        log += windows.snapshot(committed_offset=number - 1).tolist()
    again = SessionWindows(RULES)
    again.restore(Records.of(log))
    again.finish_restore()
    assert [value for key, value in again.snapshot(committed_offset=2).tolist() if key] == [None]
    assert again.snapshot(committed_offset=2).tolist() == []
    assert again.known_clients == 0


def test_only_what_changed_is_written_and_the_watermark_last(world: Any) -> None:
    windows = world.windows([world.Click(S), world.Click(S, client="bo")], RULES)
    assert [key for key, _ in windows.snapshot().tolist()] == [b"\x04\x00shopanna", b"\x04\x00shopbo", b""]
    assert windows.snapshot().tolist() == []
    windows.add(world.batch([world.Click(S + 1, client="bo")]), np.array([2]))
    assert [key for key, _ in windows.snapshot().tolist()] == [b"\x04\x00shopbo", b""]


@pytest.mark.parametrize("damage", [lambda v: v[:-1], lambda v: b"\x09" + v[1:], lambda v: b""])
@pytest.mark.parametrize("record", [0, 1])
def test_a_damaged_record_is_refused_in_one_sentence(world: Any, damage: Any, record: int) -> None:
    key, value = world.windows([world.Click(S)], RULES).snapshot().tolist()[record]
    with pytest.raises(SessionStateError, match="cannot be read"):
        SessionWindows(RULES).restore(Records.of([(key, damage(value))]))
