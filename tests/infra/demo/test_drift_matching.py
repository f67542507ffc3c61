"""Alarms are held against planted drifts: by merchant, and by time with some grace."""

import pytest

from infra.demo.score import FOUND_WITHIN_MS, Drifts, match_drifts

pytestmark = pytest.mark.fast
PLANTED = [{"merchant_id": "north", "kind": "slow", "at_ms": 1_000, "until_ms": 2_000, "period_ms": None}]
SEASON = {"merchant_id": "east", "kind": "seasonal", "at_ms": 0, "until_ms": 300_000_000}


@pytest.mark.parametrize(
    ("alarms", "found", "false_alarms"),
    [
        ([], 0, 0),
        ([("north", 1_000)], 1, 0),
        ([("north", 999)], 0, 1),
        ([("north", 2_000 + FOUND_WITHIN_MS)], 1, 0),
        ([("north", 2_001 + FOUND_WITHIN_MS)], 0, 1),
        ([("south", 1_500)], 0, 1),
        ([("north", 1_500), ("north", 1_600)], 1, 0),
    ],
)
def test_an_alarm_finds_its_planted_drift(alarms: list[tuple[str, int]], found: int, false_alarms: int) -> None:
    assert match_drifts(PLANTED, alarms) == Drifts(1, found, len(alarms), false_alarms)


@pytest.mark.parametrize(
    ("period_ms", "expected"), [(86_400_000, Drifts(0, 0, 1, 1)), (43_200_000, Drifts(1, 1, 1, 0))]
)
def test_what_comes_every_day_is_no_drift(period_ms: int, expected: Drifts) -> None:
    assert match_drifts([SEASON | {"period_ms": period_ms}], [("east", 100_000_000)]) == expected
