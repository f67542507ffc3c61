"""Forecasts of a merchant's mix: rhythm by hour and weekday, and how much they are worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.drift.forecast import DAY_MS, WEEKDAYS, Pull, cells_of, forecast, worth

pytestmark = pytest.mark.fast
PARTS = 4
MONDAY_MS = 4 * DAY_MS  # 1970-01-05


def week(counts: dict[tuple[int, int], list[int]], codes: int) -> np.ndarray:
    """Return sessions by cell and code, (28, codes), from {(weekday, part): sessions by code}."""
    past = np.zeros((WEEKDAYS * PARTS, codes), np.int64)
    for (weekday, part), sessions in counts.items():
        past[weekday * PARTS + part] = sessions
    return past


def only(weekday: int, part: int, sessions: int = 10) -> np.ndarray:
    asked = np.zeros(WEEKDAYS * PARTS, np.int64)
    asked[weekday * PARTS + part] = sessions
    return asked


@pytest.mark.parametrize(
    ("at_ms", "weekday", "part"),
    [(MONDAY_MS, 0, 0), (MONDAY_MS - 1, 6, 3), (MONDAY_MS + DAY_MS // 4, 0, 1), (0, 3, 0)],
)
def test_a_time_falls_into_the_cell_of_its_weekday_and_part_of_the_day(at_ms: int, weekday: int, part: int) -> None:
    assert cells_of(np.array([at_ms]), PARTS).tolist() == [weekday * PARTS + part]


def test_a_part_of_an_unseen_workday_is_expected_like_that_part_of_other_workdays() -> None:
    past = week({(0, 0): [900, 100], (0, 1): [100, 900], (1, 0): [900, 100], (1, 1): [100, 900]}, 2)
    assert forecast(past, only(2, 0), Pull()).mix[0] > 0.8
    assert forecast(past, only(2, 1), Pull()).mix[0] < 0.2


def test_the_other_day_of_a_weekend_is_expected_like_the_one_seen() -> None:
    past = week({(0, 0): [500, 500], (1, 0): [500, 500], (5, 0): [950, 50]}, 2)
    assert forecast(past, only(6, 0), Pull()).mix[0] > 0.8
    assert forecast(past, only(2, 0), Pull()).mix[0] < 0.6


def test_unseen_hours_and_an_unseen_weekend_count_for_little() -> None:
    past = week({(day, 0): [500, 500] for day in range(5)}, 2)
    seen = worth(forecast(past, only(0, 0), Pull()).sizes, only(0, 0), float(past.sum()))
    other_hour = worth(forecast(past, only(0, 2), Pull()).sizes, only(0, 2), float(past.sum()))
    weekend = worth(forecast(past, only(5, 0), Pull()).sizes, only(5, 0), float(past.sum()))
    assert other_hour < 30 < weekend < 110 < seen


@given(st.integers(1, 5), st.data())
def test_a_forecast_is_a_mix_and_worth_no_more_sessions_than_there_are(codes: int, data: st.DataObject) -> None:
    cells = WEEKDAYS * PARTS
    counts = st.lists(st.integers(0, 40), min_size=cells * codes, max_size=cells * codes).filter(any)
    past = np.array(data.draw(counts)).reshape(cells, codes)
    asked = np.array(data.draw(st.lists(st.integers(0, 9), min_size=cells, max_size=cells).filter(any)))
    expected = forecast(past, asked, Pull())
    assert expected.mix.sum() == pytest.approx(1)
    assert (expected.mix >= 0).all()
    assert 0 < worth(expected.sizes, asked, float(past.sum())) <= past.sum()
