"""Whatever the order, the batching, the interruptions and the crashes: the same final rows as a plain reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.rejections import CODE_OF_REASON
from streams.broker.record_columns import Records
from streams.sessions.windows import Emission, SessionRules, SessionWindows

# Small numbers, so that every boundary is met often.
RULES = SessionRules(10, 6, 25, 4, {"café": 4})
END_OF_TIME = 1 << 60
LATE = CODE_OF_REASON["late"]

thorough = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def clicks_in_order_of_receipt(draw: st.DrawFn, click: Any) -> list[Any]:
    """Clicks of a few clients as they are received: delayed, late, ahead of time, sent twice."""
    n = draw(st.integers(1, 40))
    span = draw(st.sampled_from([20, 80, 300]))
    clicks = []
    for i in range(n):
        occurred = draw(st.integers(1_000, 1_000 + span))
        delay = draw(st.sampled_from([0, 0, 0, 1, 3, 6, 7, -2, -20]))
        client, merchant = draw(st.sampled_from(["anna", "bo"])), draw(st.sampled_from(["shop", "café"]))
        event, bot = draw(st.integers(1, 10)), draw(st.integers(0, 9)) == 0
        made = click(occurred, client, i, occurred + delay, merchant, event, bot)
        clicks.append(made)
        if delay >= 0 and draw(st.integers(0, 4)) == 0:
            clicks.append(made.again(made.received_ms + draw(st.integers(0, 8))))
    return sorted(clicks, key=lambda c: c.received_ms)


class Table:
    """The rows under FINAL: the highest revision of an id stands, of equal ones the latest."""

    def __init__(self) -> None:
        self.rows: dict[bytes, tuple[int, int, bytes]] = {}

    def insert(self, emission: Emission) -> None:
        superseded = emission.superseded
        new = [
            *zip(emission.session_id, emission.revision, emission.is_final, [b""] * len(emission), strict=True),
            *zip(
                superseded.session_id, superseded.revision, [0] * len(superseded), superseded.superseded_by, strict=True
            ),
        ]
        for session, revision, is_final, by in new:
            if int(revision) >= self.rows.get(bytes(session), (0, 0, b""))[0]:
                self.rows[bytes(session)] = (int(revision), int(is_final), bytes(by))

    def assert_settled(self, finals: set[bytes]) -> None:
        """Every id is final or superseded, by a chain that ends at a final one; and final are exactly these."""
        assert {session for session, (_, is_final, _) in self.rows.items() if is_final} == finals
        for session in self.rows:
            steps = 0
            while not self.rows[session][1]:
                assert self.rows[session][2], f"{session!r} is neither final nor superseded"
                session = self.rows[session][2]
                steps += 1
                assert steps <= len(self.rows)


def ids(rows: Sequence[Any]) -> set[bytes]:
    return {row[2].encode() for row in rows}


def moved(windows: SessionWindows, rules: SessionRules = RULES) -> SessionWindows:
    """Another worker's windows, restored from a snapshot of everything."""
    other = SessionWindows(rules)
    other.restore(windows.snapshot())
    return other


def drive(
    world: Any, clicks: Sequence[Any], draw: Any, table: Table, in_order: bool = True
) -> tuple[list[Any], list[Any]]:
    """Feed clicks in drawn chunks with drawn interruptions; return final rows and rejected (offset, reason)."""
    windows, log, emissions, rejected = SessionWindows(RULES), {}, [], []
    offset = 0
    while offset < len(clicks):
        chunk = clicks[offset : offset + draw(st.integers(1, 12))]
        offsets = np.arange(offset, offset + len(chunk), dtype=np.int64)
        added = windows.add(world.batch(chunk), offsets)
        assert added.accepted + added.duplicates + added.replayed + len(added.rejected_rows) == len(chunk)
        rejected += list(zip((added.rejected_rows + offset).tolist(), added.rejected_reasons.tolist(), strict=True))
        offset += len(chunk)
        action = draw(st.integers(0, 7))
        if action <= 2:
            emissions.append(windows.emit(provisional=action > 0, limit=draw(st.sampled_from([None, 1]))))
            table.insert(emissions[-1])
        elif action == 3 and in_order and offset < len(clicks):
            windows.advance(clicks[offset].received_ms)
        elif action >= 6:
            for key, value in windows.snapshot().tolist():
                log[key] = value
            if action == 7:
                windows = SessionWindows(RULES)
                windows.restore(Records.of(list(log.items())))
    windows.advance(END_OF_TIME)
    while len(last := windows.emit(provisional=True, limit=3)):
        emissions.append(last)
        table.insert(last)
    table.insert(last)
    assert windows.open_sessions == windows.open_events == 0
    assert all(value is None for key, value in windows.snapshot(committed_offset=len(clicks)).tolist() if key)
    assert windows.known_clients == 0
    return world.finals(emissions), rejected


@thorough
@given(data=st.data())
def test_in_the_order_of_receipt_final_rows_are_those_of_the_reference(world: Any, data: st.DataObject) -> None:
    clicks = data.draw(clicks_in_order_of_receipt(world.Click))
    table = Table()
    finals, rejected = drive(world, clicks, data.draw, table)
    assert finals == world.reference(clicks, RULES)
    assert rejected == [(i, LATE) for i, c in enumerate(clicks) if c.received_ms - c.t > RULES.allowed_lateness_ms]
    table.assert_settled(ids(finals))


@thorough
@given(data=st.data())
def test_disorder_within_the_allowed_lateness_changes_nothing(world: Any, data: st.DataObject) -> None:
    clicks = [c for c in data.draw(clicks_in_order_of_receipt(world.Click)) if c.received_ms - c.t <= 6]
    jitter = data.draw(st.lists(st.integers(0, 6), min_size=len(clicks), max_size=len(clicks)))
    order = sorted(range(len(clicks)), key=lambda i: clicks[i].t + jitter[i])
    finals, rejected = drive(world, [clicks[i] for i in order], data.draw, Table(), in_order=False)
    assert rejected == []
    assert [row[:3] for row in finals] == [row[:3] for row in world.reference(clicks, RULES)]
    assert finals == world.reference(clicks, RULES)


@thorough
@given(data=st.data())
def test_in_any_order_at_all_final_rows_are_those_of_the_accepted_events_however_batched(
    world: Any, data: st.DataObject
) -> None:
    clicks = data.draw(st.permutations(data.draw(clicks_in_order_of_receipt(world.Click))))
    table = Table()
    finals, rejected = drive(world, clicks, data.draw, table, in_order=False)
    again, rejected_again = drive(world, clicks, data.draw, Table(), in_order=False)
    assert (finals, rejected) == (again, rejected_again)
    refused = {row for row, _ in rejected}
    assert finals == world.reference([c for i, c in enumerate(clicks) if i not in refused], RULES)
    table.assert_settled(ids(finals))


@thorough
@given(data=st.data())
def test_a_crash_anywhere_in_a_commit_changes_no_final_row_and_leaves_no_id_behind(
    world: Any, data: st.DataObject
) -> None:
    clicks = data.draw(clicks_in_order_of_receipt(world.Click))
    draw, table, changelog = data.draw, Table(), []
    emissions: list[Emission] = []
    rejected: dict[int, int] = {}
    committed = position = 0
    crashes = draw(st.integers(1, 4))
    windows = SessionWindows(RULES)
    while True:
        done = position == len(clicks)
        if done:
            windows.advance(END_OF_TIME)
        else:
            chunk = clicks[position : position + draw(st.integers(1, 12))]
            added = windows.add(world.batch(chunk), np.arange(position, position + len(chunk), dtype=np.int64))
            rejected |= zip((added.rejected_rows + position).tolist(), added.rejected_reasons.tolist(), strict=True)
            position += len(chunk)
            if draw(st.booleans()):
                windows.advance(clicks[position - 1].received_ms)
        if not done and draw(st.booleans()):
            continue
        phase = draw(st.integers(0, 3)) if crashes else 4
        if phase < 4:
            crashes -= 1
        if phase >= 1:
            emissions.append(windows.emit(provisional=draw(st.booleans())))
            table.insert(emissions[-1])
        if phase >= 2:
            records = windows.snapshot().tolist()
            changelog += records[: draw(st.integers(0, len(records)))] if phase == 2 else records
        if phase == 4:
            committed = position
            if done:
                break
            continue
        windows, position = SessionWindows(RULES), committed
        windows.restore(Records.of(changelog))
    expected = world.reference(clicks, RULES)
    assert sorted(set(world.finals(emissions))) == expected
    table.assert_settled(ids(expected))
    late = {i: LATE for i, c in enumerate(clicks) if c.received_ms - c.t > RULES.allowed_lateness_ms}
    assert rejected == late
