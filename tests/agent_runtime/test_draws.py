"""Random numbers by counter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.draws import Purpose, draw, draws

pytestmark = pytest.mark.fast


@given(seed=st.integers(0, 2**64 - 1), step=st.integers(0, 500), purpose=st.sampled_from(Purpose))
def test_one_at_a_time_or_all_at_once_gives_the_same_numbers(seed: int, step: int, purpose: Purpose) -> None:
    agents = np.array([0, 1, 7, 100_000])
    assert draws(seed, agents, step, purpose).tolist() == [draw(seed, int(a), step, purpose) for a in agents]


def test_numbers_are_uniform_and_unrelated() -> None:
    agents = np.arange(20_000)
    first, second = draws(1, agents, 0, Purpose.TOKEN), draws(1, agents, 1, Purpose.TOKEN)
    other = draws(1, agents, 0, Purpose.PACE)
    assert np.all((first >= 0) & (first < 1))
    assert np.histogram(first, bins=10, range=(0, 1))[0] == pytest.approx(2_000, abs=200)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
