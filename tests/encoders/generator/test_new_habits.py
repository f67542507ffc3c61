"""A planted change of behaviour: other clicks of the same shoppers, who come as they came."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from encoders.generator.buyer_types import TYPE_NAMES, habits
from encoders.generator.new_habits import NEW_HABITS, TEMPO_FACTOR
from tests.encoders.generator.conftest import SMALL, make

pytestmark = pytest.mark.fast

#: Habits that decide who comes, when, with what and from where.
OF_ARRIVAL = (
    "promo", "peak_hour", "focus", "weekend", "mobile", "tablet", "direct", "organic", "social", "email", "ads",
    "returns", "lag_h",
)  # fmt: skip


def test_only_named_habits_of_named_types_change_and_in_proportion() -> None:
    old, half, new = habits(0.0), habits(0.0, 0.5), habits(0.0, 1.0)
    assert set(NEW_HABITS) <= set(TYPE_NAMES)
    for name in old.dtype.names or ():
        np.testing.assert_allclose(half[name], (old[name] + new[name]) / 2)
        changed = {kind for kind, ways in NEW_HABITS.items() if name in ways}
        if name == "tempo_s":
            np.testing.assert_allclose(new[name], TEMPO_FACTOR * old[name])
            continue
        assert {TYPE_NAMES[row] for row in np.flatnonzero(old[name] != new[name])} == changed, name
        assert not (name in OF_ARRIVAL and changed)


def test_the_same_shoppers_come_at_the_same_times_and_click_otherwise(tmp_path: Path) -> None:
    run = dataclasses.replace(SMALL, buyers=200, hours=24.0)
    made = []
    for name, share in (("old", 0.0), ("new", 1.0)):
        (tmp_path / name).mkdir()
        made.append(make(dataclasses.replace(run, new_habits=share), tmp_path / name))
    old, new = ([table.truth[name].to_pylist() for name in ("client_id", "started_ms", "type")] for table in made)
    assert old == new

    def searches(truth: int) -> float:
        events = made[truth].first_copies()
        return float(pc.mean(pc.equal(events["event_name"], "search_submitted").cast("int8")).as_py())

    assert searches(1) < 0.9 * searches(0)
