"""Memory of session state: it is given back, may lie in files, and what is due is found however far time jumps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.broker.record_columns import Records
from streams.errors import SessionStateError
from streams.sessions.windows import SessionRules, SessionWindows

MINUTE = 60_000
RULES = SessionRules(30 * MINUTE, 5 * MINUTE, 1_440 * MINUTE, 512)
START = 1_700_000_000_000
END_OF_TIME = 1 << 60


def crowd(world: Any, clients: int, clicks: int, start: int = START) -> Any:
    return world.batch(
        [world.Click(start + 7 * i, f"client {i % clients}", start + i) for i in range(clients * clicks)]
    )


def drain(state: SessionWindows) -> list[Any]:
    emissions = []
    while len(emission := state.emit(provisional=False, limit=5_000)):
        emissions.append(emission)
    return emissions


def test_memory_goes_back_when_all_sessions_are_closed(world: Any) -> None:
    state = SessionWindows(RULES)
    empty = state.memory_bytes
    state.add(crowd(world, 20_000, 2), np.arange(40_000))
    filled = state.memory_bytes
    assert filled > 100 * empty
    state.advance(END_OF_TIME)
    drain(state)
    state.snapshot(committed_offset=40_000)
    assert (state.known_clients, state.memory_bytes) == (0, empty)


def test_what_stays_open_moves_into_less_memory_and_goes_on_as_before(world: Any) -> None:
    state = SessionWindows(RULES, block_events=16)
    state.add(crowd(world, 20_000, 2), np.arange(40_000))
    # Among those that stay: a hot one, one whose run goes on from final sessions, and ones with changes not yet said.
    staying = [world.Click(START + 20 * MINUTE + i, f"late {i % 50}", i, START + 20 * MINUTE + i) for i in range(100)]
    staying += [world.Click(START + 20 * MINUTE + 200 + i, "bot", i) for i in range(700)]
    state.add(world.batch(staying), np.arange(40_000, 40_800))
    state.advance(START + 40 * MINUTE)
    emissions = drain(state)
    filled = state.memory_bytes
    log = state.snapshot(committed_offset=40_800).tolist()
    assert state.memory_bytes < filled / 10
    assert (state.known_clients, state.open_sessions, state.open_events) == (51, 51, 100 + 700 - 512)
    more = [world.Click(START + 41 * MINUTE + i, f"late {i}", 1_000 + i) for i in range(50)]
    state.add(world.batch(more), np.arange(40_800, 40_850))
    log += state.snapshot(committed_offset=40_850).tolist()
    again = SessionWindows(RULES, block_events=16)
    again.restore(Records.of(log))
    again.finish_restore()
    assert again.open_events == state.open_events
    for one in (state, again):
        one.advance(END_OF_TIME)
    rest, restored_rest = drain(state), drain(again)
    assert world.finals(rest) == world.finals(restored_rest)
    assert world.finals([*emissions, *rest])[-151:] != []
    assert sum(len(one) for one in rest) == 50 + 1


def test_a_flood_of_growing_clients_leaves_no_more_than_twice_what_it_needs(world: Any) -> None:
    """Every client outgrows block after block at the same time: what they leave behind is given back."""
    state = SessionWindows(RULES)
    for turn in range(12):
        clicks = [world.Click(START + turn * 1_000 + i % 900, f"client {i}", turn) for i in range(8_000)]
        state.add(world.batch(clicks), np.arange(turn * 8_000, (turn + 1) * 8_000))
        state.snapshot()
    assert state.open_events == 96_000
    assert state.memory_bytes < 2 * (96_000 * 40 + 8_000 * 110)


def test_state_in_a_folder_gives_the_same_rows_and_leaves_no_file_behind(world: Any, tmp_path: Path) -> None:
    in_memory, in_files = SessionWindows(RULES), SessionWindows(RULES, state_dir=tmp_path)
    rows = []
    for state in (in_memory, in_files):
        state.add(crowd(world, 300, 5), np.arange(1_500))
        state.advance(END_OF_TIME)
        rows.append(world.finals([state.emit(provisional=False)]))
    assert rows[0] == rows[1] and len(rows[0]) == 300
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SessionStateError, match="SIMPERSONA_STATE_DIR"):
        SessionWindows(RULES, state_dir=tmp_path / "absent")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_all_that_is_due_is_found_however_time_moves(world: Any, data: st.DataObject) -> None:
    """Steps from milliseconds to days; windows restored from the records of what is open have nothing left to close."""
    draw = data.draw
    state, log, now, emissions, clicks = SessionWindows(RULES, block_events=4), [], START, [], []
    for number in range(draw(st.integers(1, 25))):
        now += draw(
            st.sampled_from([0, 1, 500, 1_023, 1_024, MINUTE, 5 * MINUTE, 31 * MINUTE, 71 * MINUTE, 4_000 * MINUTE])
        )
        delay = draw(st.sampled_from([0, 0, 1, MINUTE, 5 * MINUTE]))
        clicks.append(world.Click(now - delay, draw(st.sampled_from("abc")), number, now))
        state.add(world.batch(clicks[-1:]), np.array([number]))
        if draw(st.booleans()):
            now += draw(st.sampled_from([0, 36 * MINUTE, 140 * MINUTE]))
            state.advance(now)
        limit = draw(st.sampled_from([None, 1]))
        emissions.append(state.emit(provisional=draw(st.booleans()), limit=limit))
        log += state.snapshot(committed_offset=number).tolist()
        if limit is None:
            other = SessionWindows(RULES, block_events=4)
            other.restore(Records.of(log))
            other.finish_restore()
            assert (other.open_events, other.watermark_ms) == (state.open_events, state.watermark_ms)
            assert len(other.emit(provisional=False)) == 0
    state.advance(END_OF_TIME)
    assert world.finals([*emissions, *drain(state)]) == world.reference(clicks, RULES)
