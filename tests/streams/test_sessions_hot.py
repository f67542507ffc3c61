"""Hot clients, whose state lies in blocks: whatever is interrupted or compacted, the rows of an uninterrupted run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.broker.record_columns import Records
from streams.errors import SessionStateError
from streams.sessions.emission import Emission
from streams.sessions.records import is_block
from streams.sessions.windows import SessionRules, SessionWindows

RULES = SessionRules(10, 40, 60, 5)
END_OF_TIME = 1 << 60
#: So small that nearly every client is hot, and becomes so and stops being so many times.
BLOCK = 3

thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: What an emission says about a session: id, revision, final, span, events, who supersedes it.
SaidRow = tuple[object, ...]


def windows(rules: SessionRules = RULES, block: int = BLOCK) -> SessionWindows:
    return SessionWindows(rules, block_events=block)


def said(emission: Emission) -> list[SaidRow]:
    rows: list[SaidRow] = []
    for i in range(len(emission)):
        events = emission.sessions.events[emission.sessions.offsets[i] : emission.sessions.offsets[i + 1]]
        columns = (emission.revision, emission.is_final, emission.started_ms, emission.ended_ms, emission.events)
        rows.append((emission.session_id[i], *(int(column[i]) for column in columns), tuple(events["id"].tolist())))
    old = emission.superseded
    rows += zip(old.session_id, old.superseded_by, old.revision.tolist(), old.started_ms.tolist(), strict=True)
    return sorted(rows, key=repr)


def compact(log: Sequence[tuple[bytes, bytes | None]]) -> list[tuple[bytes, bytes | None]]:
    """Only the last record of every key, at its place in the log."""
    last = {key: i for i, (key, _) in enumerate(log)}
    return [record for i, record in enumerate(log) if last[record[0]] == i]


def restored(log: Sequence[tuple[bytes, bytes | None]], block: int = BLOCK) -> SessionWindows:
    again = windows(block=block)
    again.restore(Records.of(log))
    again.finish_restore()
    return again


@st.composite
def busy_clicks(draw: st.DrawFn, click: Any) -> list[Any]:
    """Clicks of a bot and a shopper by time of receipt: many of them out of order within the allowed lateness."""
    n = draw(st.integers(1, 90))
    pace = draw(st.sampled_from([1, 3, 12]))
    clicks, now = [], 1_000
    for i in range(n):
        now += draw(st.integers(0, pace))
        delay = draw(st.sampled_from([0, 0, 0, 1, 5, 20, 40]))
        client = "bot" if draw(st.integers(0, 9)) else "anna"
        clicks.append(click(now - delay, client, i, now))
        if draw(st.integers(0, 9)) == 0:
            clicks.append(clicks[-1].again(now))
    return clicks


@thorough
@given(data=st.data())
def test_a_hot_client_is_given_out_exactly_as_one_that_is_not(world: Any, data: st.DataObject) -> None:
    """Row by row, superseded ones too, after every batch: kept pieces are those of cutting everything again."""
    clicks = data.draw(busy_clicks(world.Click))
    hot, plain = windows(block=data.draw(st.integers(1, 6))), windows(block=1_000)
    offset = 0
    while offset < len(clicks):
        chunk = clicks[offset : offset + data.draw(st.integers(1, 12))]
        provisional = data.draw(st.integers(0, 2))
        for one in (hot, plain):
            one.add(world.batch(chunk), np.arange(offset, offset + len(chunk), dtype=np.int64))
        assert (hot.open_sessions, hot.open_events) == (plain.open_sessions, plain.open_events)
        if provisional:
            assert said(hot.emit(provisional == 2)) == said(plain.emit(provisional == 2))
        offset += len(chunk)
    for one in (hot, plain):
        one.advance(END_OF_TIME)
    assert said(hot.emit(True)) == said(plain.emit(True))


@thorough
@given(data=st.data())
def test_a_crash_anywhere_between_commits_changes_no_row_of_a_hot_client(world: Any, data: st.DataObject) -> None:
    """Snapshots are whole or absent (the changelog is transactional); the log may be compacted at any time."""
    clicks, draw = data.draw(busy_clicks(world.Click)), data.draw
    log: list[tuple[bytes, bytes | None]] = []
    emissions: list[Emission] = []
    state, position, committed = windows(), 0, 0
    crashes = draw(st.integers(0, 4))
    while position < len(clicks):
        chunk = clicks[position : position + draw(st.integers(1, 15))]
        state.add(world.batch(chunk), np.arange(position, position + len(chunk), dtype=np.int64))
        position += len(chunk)
        step = draw(st.integers(0, 3))
        if step >= 1:
            emissions.append(state.emit(provisional=draw(st.booleans())))
        if step >= 2:
            log += state.snapshot(committed_offset=committed - 1).tolist()
            if draw(st.booleans()):
                log = compact(log)
        if step >= 3:
            committed = position
        if crashes and draw(st.integers(0, 3)) == 0:
            crashes -= 1
            state, position = restored(log), committed
    state.advance(END_OF_TIME)
    emissions.append(state.emit(provisional=False))
    expected = world.reference(clicks, RULES)
    assert sorted(set(world.finals(emissions))) == expected
    for _ in range(2):
        log += state.snapshot(committed_offset=len(clicks)).tolist()
    assert state.known_clients == 0
    assert [key for key, value in compact(log) if value is not None and key] == []


@thorough
@given(data=st.data())
def test_restored_hot_clients_go_on_as_if_nothing_had_happened(world: Any, data: st.DataObject) -> None:
    """Provisional and superseded rows too, and with blocks of another size, as a later release may have."""
    clicks = data.draw(busy_clicks(world.Click))
    state, log = windows(), []
    for start in range(0, len(clicks), 10):
        chunk = clicks[start : start + 10]
        state.add(world.batch(chunk), np.arange(start, start + len(chunk), dtype=np.int64))
        log += state.snapshot().tolist()
        other = restored(compact(log) if data.draw(st.booleans()) else log, data.draw(st.sampled_from([1, BLOCK, 7])))
        assert (other.open_sessions, other.open_events) == (state.open_sessions, state.open_events)
        assert said(other.emit(False)) == said(state.emit(False))
        log += state.snapshot().tolist()


def bot(world: Any, n: int, start: int = 10_000) -> list[Any]:
    return [world.Click(start + 10 * i, "bot", i) for i in range(n)]


def test_only_blocks_that_changed_are_written_and_those_left_behind_get_tombstones(world: Any) -> None:
    rules = SessionRules(1_000, 200_000, 1_000_000, 512)
    state = SessionWindows(rules)
    clicks = bot(world, 3_000)
    state.add(world.batch(clicks), np.arange(len(clicks)))
    state.emit(provisional=False)
    first = dict(state.snapshot().tolist())
    assert sum(is_block(key) for key in first) == 12
    more = bot(world, 20, start=40_000)
    state.add(world.batch([*more, world.Click(39_995, "bot", 99_999, 40_300)]), np.arange(3_000, 3_021))
    second = dict(state.snapshot().tolist())
    assert [len(value or b"") // 40 for key, value in second.items() if is_block(key)] == [256, 205]
    state.advance(10_000 + 512 * 10 + 200_000 + 1)
    assert state.emit(provisional=False).events.tolist() == [512]
    third = dict(state.snapshot().tolist())
    assert [value for key, value in third.items() if is_block(key)] == [None, None]
    again = SessionWindows(rules)
    again.restore(Records.of([*first.items(), *second.items(), *third.items()]))
    again.finish_restore()
    assert again.open_events == state.open_events == 3_021 - 512


def test_no_record_of_a_bot_grows_with_its_buffer(world: Any) -> None:
    state = SessionWindows(SessionRules(1_800_000, 300_000, 86_400_000, 512))
    clicks = bot(world, 5_000)
    state.add(world.batch(clicks), np.arange(len(clicks)))
    assert state.open_events == 5_000
    assert max(len(value or b"") for _, value in state.snapshot().tolist()) < 256 * 40 + 100


def test_a_head_without_one_of_its_blocks_is_refused_in_one_sentence(world: Any) -> None:
    state = windows()
    state.add(world.batch(bot(world, 20)), np.arange(20))
    records = state.snapshot().tolist()
    lacking = [record for record in records if not is_block(record[0])]
    again = windows()
    again.restore(Records.of(lacking))
    with pytest.raises(SessionStateError, match="cannot be read"):
        again.finish_restore()


def test_records_of_the_release_before_are_read(world: Any) -> None:
    state = windows(block=1_000)
    state.add(world.batch(bot(world, 20)), np.arange(20))
    older = [
        (key, b"\x01\x00\x00\x00" + value[4:] if key else b"\x01" + value[1:])
        for key, value in state.snapshot().tolist()
        if value
    ]
    again = restored(older)
    assert again.watermark_ms == state.watermark_ms
    assert said(again.emit(True)) == said(state.emit(True))
