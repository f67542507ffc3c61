"""The alphabet of actions: complete, unambiguous, and the same after a trip through JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.errors import TraceError
from agent_runtime.storefront.actions import (
    ACTION_INDEX,
    ACTIONS,
    DAY_MS,
    HOUR_MS,
    MOMENTS,
    PACES,
    Action,
    gap_ms_of,
    moment_of,
    pace_of,
)
from schemas.taxonomy import EVENT_CODES

pytestmark = pytest.mark.fast
GAP_MS = 1_800_000
MONDAY_MS = 1_763_942_400_000  # 24 November 2025, 00:00 UTC


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_an_action_survives_json(action: Action) -> None:
    assert Action.from_json(json.loads(json.dumps(action.to_json()))) == action


def test_every_event_has_an_action_and_every_name_is_its_own() -> None:
    assert {action.event for action in ACTIONS} == set(EVENT_CODES)
    assert len(ACTION_INDEX) == len(ACTIONS)


@pytest.mark.parametrize("value", [{}, {"event": "dance"}, {"event": "product_viewed"}, {"verb": "buy"}])
def test_what_is_no_action_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(TraceError, match="is no action"):
        Action.from_json(value)


@settings(deadline=None)  # the first call compiles
@given(pace=st.integers(0, PACES - 1), unit=st.floats(0, 1, exclude_max=True))
def test_a_pause_drawn_from_a_bucket_falls_into_it(pace: int, unit: float) -> None:
    gap_ms = gap_ms_of(pace, unit, GAP_MS)
    assert pace_of(gap_ms) == pace
    assert 0 < gap_ms <= GAP_MS


def test_no_pause_is_longer_than_the_session_gap() -> None:
    assert all(gap_ms_of(pace, 0.999, 5_000) <= 5_000 for pace in range(PACES))


@pytest.mark.parametrize(
    ("t_ms", "moment"),
    [
        (MONDAY_MS, 0),
        (MONDAY_MS + 3 * HOUR_MS - 1, 0),
        (MONDAY_MS + 3 * HOUR_MS, 1),
        (MONDAY_MS + 5 * DAY_MS - 1, 7),
        (MONDAY_MS + 5 * DAY_MS, 8),
        (MONDAY_MS + 7 * DAY_MS - 1, MOMENTS - 1),
    ],
)
def test_moments_tell_dayparts_and_weekends(t_ms: int, moment: int) -> None:
    assert moment_of(t_ms) == moment
