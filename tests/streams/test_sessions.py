"""Session windows, boundary by boundary."""

from typing import Any

import numpy as np
import pytest

from schemas.rejections import CODE_OF_REASON, REASONS
from streams.errors import SessionRuleError
from streams.sessions.emission import Emission, assignments
from streams.sessions.rules import LONGEST_MS
from streams.sessions.sweep import FINAL_REVISION
from streams.sessions.windows import SessionRules, SessionWindows

pytestmark = pytest.mark.fast

GAP, LATENESS, LONGEST, MOST = 100, 20, 1_000, 8
RULES = SessionRules(GAP, LATENESS, LONGEST, MOST, {"hasty": 50})
END_OF_TIME = 1 << 60
S = 10_000  # a start well after zero


def spans(emission: Emission) -> list[tuple[int, int, int]]:
    """(start, end, events) after S, in order of start."""
    return sorted(
        (int(a) - S, int(b) - S, int(n))
        for a, b, n in zip(emission.started_ms, emission.ended_ms, emission.events, strict=True)
    )


@pytest.mark.parametrize(
    ("what", "times", "expected"),
    [
        ("one event is a session", [0], [(0, 0, 1)]),
        ("exactly at the gap belongs", [0, 100], [(0, 100, 2)]),
        ("one over the gap does not", [0, 101], [(0, 0, 1), (101, 101, 1)]),
        ("the gap counts from the last event", [0, 90, 180], [(0, 180, 3)]),
        ("an earlier event extends backwards", [100, 80], [(80, 100, 2)]),
        ("an event in between merges two", [0, 110, 90], [(0, 110, 3)]),
        ("equal times are one session", [5, 5, 5], [(5, 5, 3)]),
        ("exactly at the longest belongs", list(range(0, 1_001, 200)), None),
        ("the cap on events cuts", [i * 2 for i in range(9)], [(0, 14, 8), (16, 16, 1)]),
        ("exactly the most events is one session", [i * 2 for i in range(8)], [(0, 14, 8)]),
    ],
)
def test_events_fall_into_sessions(
    world: Any, what: str, times: list[int], expected: list[tuple[int, int, int]] | None
) -> None:
    rules = RULES if expected else SessionRules(200, LATENESS, LONGEST, MOST)
    windows = world.windows([world.Click(S + t, id=i + 1) for i, t in enumerate(times)], rules)
    windows.advance(END_OF_TIME)
    assert spans(windows.emit(provisional=False)) == (expected or [(0, 1_000, 6)]), what


@pytest.mark.parametrize(("pause", "expected"), [(100, [(0, 100, 2)]), (101, [(0, 0, 1), (101, 101, 1)])])
def test_the_gap_is_the_same_backwards(world: Any, pause: int, expected: list[tuple[int, int, int]]) -> None:
    patient = SessionRules(GAP, 200, LONGEST, MOST)
    windows = world.windows([world.Click(S + pause), world.Click(S)], patient)
    windows.advance(END_OF_TIME)
    assert spans(windows.emit(provisional=False)) == expected


@pytest.mark.parametrize(("last", "expected"), [(1_000, [(0, 1_000, 2)]), (1_001, [(0, 0, 1), (1_001, 1_001, 1)])])
def test_a_session_is_cut_after_the_longest_time(world: Any, last: int, expected: list[tuple[int, int, int]]) -> None:
    windows = world.windows([world.Click(S), world.Click(S + last)], SessionRules(5_000, LATENESS, LONGEST, MOST))
    windows.advance(END_OF_TIME)
    assert spans(windows.emit(provisional=False)) == expected


@pytest.mark.parametrize(("watermark", "closed"), [(S + GAP + LATENESS, 0), (S + GAP + LATENESS + 1, 1)])
def test_a_session_closes_when_the_watermark_is_beyond_end_gap_and_lateness(
    world: Any, watermark: int, closed: int
) -> None:
    windows = world.windows([world.Click(S)], RULES)
    windows.advance(watermark)
    assert len(windows.emit(provisional=False)) == closed
    assert windows.open_sessions == 1 - closed


@pytest.mark.parametrize("overrides", [{}, {"shop": 500}, {"shop": 5}], ids=["usual", "longer", "shorter"])
def test_all_sessions_are_closed_when_the_rules_say_so_and_not_before(world: Any, overrides: dict[str, int]) -> None:
    rules = SessionRules(RULES.gap_ms, RULES.allowed_lateness_ms, 100_000, 3, overrides)
    clicks = [world.Click(S + t, merchant=merchant) for merchant in ("m", "shop") for t in range(0, 50, 5)]
    windows = world.windows(clicks, rules)
    last = S + 45
    windows.advance(last + rules.closed_after_ms - 1)
    windows.emit(provisional=False)
    assert windows.open_sessions > 0
    windows.advance(last + rules.closed_after_ms)
    windows.emit(provisional=False)
    assert windows.open_sessions == 0


def test_a_piece_cut_by_a_cap_closes_once_nothing_can_come_before_the_next(world: Any) -> None:
    clicks = [world.Click(S + 2 * i) for i in range(9)]
    windows = world.windows(clicks, RULES)
    windows.advance(S + 16 + LATENESS)
    assert len(windows.emit(provisional=False)) == 0
    windows.advance(S + 16 + LATENESS + 1)
    first = windows.emit(provisional=False)
    assert spans(first) == [(0, 14, 8)]
    windows.add(world.batch([world.Click(S + 60), world.Click(S + 1_500)]), np.array([9, 10]))
    windows.advance(END_OF_TIME)
    rest = windows.emit(provisional=False)
    # The run's memory outlives the piece: ids are those of an uninterrupted cut.
    whole = [*clicks, world.Click(S + 60), world.Click(S + 1_500)]
    assert world.finals([first, rest]) == world.reference(whole, RULES)


@pytest.mark.parametrize(("delay", "reasons"), [(LATENESS, []), (LATENESS + 1, ["late"])])
def test_late_is_judged_per_event_and_exactly_at_the_bound_is_not_late(
    world: Any, delay: int, reasons: list[str]
) -> None:
    added = SessionWindows(RULES).add(world.batch([world.Click(S, received=S + delay)]), np.array([0]))
    assert [REASONS[r] for r in added.rejected_reasons] == reasons
    assert added.accepted == 1 - len(reasons)


def test_an_event_ahead_of_its_receipt_counts_at_its_receipt(world: Any) -> None:
    windows = world.windows([world.Click(S + 5_000, received=S)], RULES)
    assert windows.watermark_ms == S
    windows.advance(END_OF_TIME)
    assert spans(windows.emit(provisional=False)) == [(0, 0, 1)]


def test_an_event_whose_session_is_closed_is_behind_the_watermark_even_before_emission(world: Any) -> None:
    windows = world.windows([world.Click(S), world.Click(S + 500, client="bo")], RULES)
    for offset in (2, 3):
        added = windows.add(world.batch([world.Click(S + 10)]), np.array([offset]))
        assert [REASONS[r] for r in added.rejected_reasons] == ["behind_watermark"]
        windows.emit(provisional=False)


def test_an_event_far_behind_the_watermark_is_refused_before_its_clients_first_open_session(world: Any) -> None:
    """It might belong to a session of that client that is closed and forgotten."""
    added = world.windows([world.Click(S + 60)], RULES).add(world.batch([world.Click(S + 39)]), np.array([1]))
    assert [REASONS[r] for r in added.rejected_reasons] == ["behind_watermark"]


def test_an_event_far_behind_the_watermark_still_joins_its_open_session(world: Any) -> None:
    windows = world.windows([world.Click(S), world.Click(S + 90), world.Click(S + 110, client="bo")], RULES)
    added = windows.add(world.batch([world.Click(S + 50)]), np.array([3]))
    assert added.accepted == 1


def test_a_retry_is_a_duplicate_whatever_its_receipt(world: Any) -> None:
    click = world.Click(S, id=7)
    added = world.windows([click], RULES).add(world.batch([click.again(S + 15), click.again(S + 15)]), np.array([1, 2]))
    assert (added.accepted, added.duplicates) == (0, 2)


def test_a_retry_of_an_event_ahead_of_its_receipt_is_known_by_its_id(world: Any) -> None:
    click = world.Click(S + 900, id=7, received=S)
    added = world.windows([click], RULES).add(world.batch([click.again(S + 5)]), np.array([1]))
    assert (added.accepted, added.duplicates) == (0, 1)


def test_the_same_event_id_of_another_client_is_another_event(world: Any) -> None:
    windows = world.windows([world.Click(S, client=c, merchant=m) for m in ("a", "ab") for c in ("bc", "c")], RULES)
    assert (windows.open_sessions, windows.open_events) == (4, 4)


def test_faulty_rows_are_rejected_with_their_fault_and_rows_without_event_ignored(world: Any) -> None:
    fault = CODE_OF_REASON["bad_price"]
    added = SessionWindows(RULES).add(
        world.batch([world.Click(S, fault=fault), world.Click(S, fault=255), world.Click(S)]), np.array([4, 5, 6])
    )
    assert added.rejected_rows.tolist() == [0] and added.rejected_reasons.tolist() == [fault]
    assert added.accepted == 1


def test_a_merchant_may_have_a_gap_of_its_own(world: Any) -> None:
    clicks = [world.Click(S + t, merchant=m) for m in ("hasty", "hasted") for t in (0, 51)]
    windows = world.windows(clicks, RULES)
    windows.advance(END_OF_TIME)
    emission = windows.emit(provisional=False)
    assert sorted(emission.merchant_id) == ["hasted", "hasty", "hasty"]


def test_provisional_are_sessions_of_two_events_once_per_change(world: Any) -> None:
    windows = world.windows([world.Click(S), world.Click(S + 1, client="bo"), world.Click(S + 2, client="bo")], RULES)
    first = windows.emit(provisional=True)
    assert list(first.client_id) == ["bo"] and first.is_final.tolist() == [0]
    assert len(windows.emit(provisional=True)) == 0
    windows.add(world.batch([world.Click(S + 3, client="bo")]), np.array([3]))
    second = windows.emit(provisional=True)
    assert (second.session_id == first.session_id).all() and second.revision[0] > first.revision[0]
    assert second.events.tolist() == [3]


def test_the_same_clicks_from_another_source_are_other_sessions(world: Any) -> None:
    clicks = world.batch([world.Click(S + 10), world.Click(S + 15)])
    ids = []
    for source in ("live", "simulated", "simulated"):
        windows = SessionWindows(RULES, source=source)
        windows.add(clicks, np.arange(2, dtype=np.int64))
        before = windows.emit(provisional=True).session_id
        windows.add(world.batch([world.Click(S + 5)]), np.array([2]))
        after = windows.emit(provisional=True)
        assert after.superseded.session_id.tolist() == before.tolist()
        assert after.superseded.superseded_by.tolist() == after.session_id.tolist()
        ids.append(after.session_id.tolist())
    assert ids[1] == ids[2] and not set(ids[0]) & set(ids[1])


def test_a_moved_start_supersedes_the_old_id_with_the_new(world: Any) -> None:
    windows = world.windows([world.Click(S + 10), world.Click(S + 15)], RULES)
    old = windows.emit(provisional=True)
    windows.add(world.batch([world.Click(S + 5)]), np.array([2]))
    new = windows.emit(provisional=True)
    assert new.superseded.session_id.tolist() == old.session_id.tolist()
    assert new.superseded.superseded_by.tolist() == new.session_id.tolist()
    assert new.superseded.revision[0] > old.revision[0]


def test_a_merge_supersedes_the_later_id_alone(world: Any) -> None:
    windows = world.windows([world.Click(S + t) for t in (0, 1, 115, 116)], RULES)
    both = windows.emit(provisional=True)
    windows.add(world.batch([world.Click(S + 98)]), np.array([4]))
    merged = windows.emit(provisional=True)
    assert merged.session_id.tolist() == both.session_id[both.started_ms == S].tolist()
    assert merged.superseded.session_id.tolist() == both.session_id[both.started_ms == S + 115].tolist()
    assert merged.superseded.superseded_by.tolist() == merged.session_id.tolist()


@pytest.mark.parametrize("emitted_between", [False, True])
def test_an_id_that_a_later_event_revives_stands(world: Any, emitted_between: bool) -> None:
    """Pieces of two: (0 10)(20 30), then (0 5)(10 20)(30), then (0 5)(6 10)(20 30) with the ids of the beginning."""
    windows = world.windows([world.Click(S + t) for t in (0, 10, 20, 30)], SessionRules(GAP, 50, LONGEST, 2))
    first = windows.emit(provisional=True)
    windows.add(world.batch([world.Click(S + 5)]), np.array([4]))
    between = windows.emit(provisional=True).superseded if emitted_between else None
    windows.add(world.batch([world.Click(S + 6)]), np.array([5]))
    last = windows.emit(provisional=True)
    revived = first.session_id[first.started_ms == S + 20]
    assert revived[0] in last.session_id.tolist()
    assert revived[0] not in last.superseded.session_id.tolist()
    if between is not None:
        assert between.session_id.tolist() == revived.tolist()
        assert between.revision[0] < last.revision[last.session_id == revived[0]][0]


def test_an_id_that_could_only_have_been_emitted_before_a_crash_is_superseded_too(world: Any) -> None:
    clicks = [world.Click(S + 10), world.Click(S + 15), world.Click(S + 5)]
    emitted = world.windows(clicks[:2], RULES).emit(provisional=True)
    replayed = world.windows(clicks, RULES).emit(provisional=True)  # all three in one batch, nothing emitted between
    assert replayed.superseded.session_id.tolist() == emitted.session_id.tolist()


def test_a_session_of_a_bot_is_marked_but_written(world: Any) -> None:
    clicks = [world.Click(S, client="flagged", bot=True), world.Click(S + 1, client="flagged")]
    clicks += [world.Click(S + 10 * i, client="endless") for i in range(MOST)]
    clicks += [world.Click(S, client="shopper"), world.Click(S + 60, client="shopper")]
    windows = world.windows(clicks, RULES)
    windows.advance(END_OF_TIME)
    emission = windows.emit(provisional=False)
    assert dict(zip(emission.client_id, emission.is_bot, strict=True)) == {"flagged": 1, "endless": 1, "shopper": 0}


@pytest.mark.parametrize(("pause", "is_bot"), [(499, 1), (500, 0)])
def test_thirty_events_in_haste_are_a_bots(world: Any, pause: int, is_bot: int) -> None:
    rules = SessionRules(1_800_000, 300_000, 86_400_000, 512)
    windows = world.windows([world.Click(S + pause * i) for i in range(30)], rules)
    windows.advance(END_OF_TIME)
    assert windows.emit(provisional=False).is_bot.tolist() == [is_bot]


def test_the_stratum_is_the_deepest_event(world: Any) -> None:
    windows = world.windows([world.Click(S, event=1), world.Click(S + 1, event=5), world.Click(S + 2, event=4)], RULES)
    assert windows.emit(provisional=True).stratum.tolist() == [2]


def test_final_revisions_stand_above_all_provisional_ones(world: Any) -> None:
    windows = world.windows([world.Click(S), world.Click(S + 1)], RULES)
    provisional = windows.emit(provisional=True)
    windows.advance(END_OF_TIME)
    final = windows.emit(provisional=True)
    assert provisional.revision.tolist() == [4]
    assert final.revision.tolist() == [FINAL_REVISION + 2]


def test_a_limit_leaves_the_rest_for_the_next_call(world: Any) -> None:
    windows = world.windows([world.Click(S, client=f"client {i}") for i in range(10)], RULES)
    windows.advance(END_OF_TIME)
    sizes = [len(windows.emit(provisional=False, limit=4)) for _ in range(4)]
    assert sizes == [4, 4, 2, 0]


def test_rows_superseded_carry_no_code_and_no_events(world: Any) -> None:
    class Lengths:
        def __init__(self, emission: Emission) -> None:
            self.code = np.minimum(np.diff(emission.sessions.offsets), 1).astype(np.int32)
            self.confidence = np.full(len(emission), 0.5, np.float32)

    windows = world.windows([world.Click(S + 10), world.Click(S + 15), world.Click(S + 5)], RULES)
    emission = windows.emit(provisional=True)
    rows = assignments(emission, Lengths(emission), "v1", ["c0", "c1"], "live")
    assert rows.code.tolist() == [1, -1] and list(rows.code_path) == ["c1", ""]
    assert rows.events.tolist() == [3, 0] and rows.is_final.tolist() == [0, 0]
    assert rows.superseded_by.tolist() == [b"", rows.session_id[0]]
    assert (rows.codebook_version, rows.source, len(rows)) == ("v1", "live", 2)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 1, 2), (1, -1, 1, 2), (1, 0, 0, 2), (1, 0, 1, 1)], ids=["gap", "lateness", "time", "events"]
)
def test_rules_that_cannot_be_meant_are_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(SessionRuleError, match=f"must be [0-2] to {LONGEST_MS}"):
        SessionRules(*numbers)
    with pytest.raises(SessionRuleError, match="allowed_lateness_ms is 9223372036854775807"):
        SessionRules(1, 2**63 - 1, 1, 2)
    with pytest.raises(SessionRuleError, match="gap_ms of shop is 0"):
        SessionRules(1, 0, 1, 2, {"shop": 0})
