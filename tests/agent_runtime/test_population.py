"""Shoppers drawn from a mix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.errors import PopulationError
from agent_runtime.population.population import Mix, drawn, quotas, sampled

pytestmark = pytest.mark.fast


def mix(weights: dict[int, float]) -> Mix:
    return Mix("shop", "cb", 0, 100.0, weights)


@given(
    weights=st.dictionaries(st.integers(0, 63), st.floats(0.001, 1), min_size=1, max_size=12),
    buyers=st.integers(1, 500),
    seed=st.integers(0, 2**32),
)
def test_quotas_meet_the_mix_to_within_one_shopper(weights: dict[int, float], buyers: int, seed: int) -> None:
    codes = quotas(mix(weights), buyers, seed)
    total = sum(weights.values())
    assert len(codes) == buyers
    for code, weight in weights.items():
        assert abs(int((codes == code).sum()) - weight / total * buyers) < 1


def test_the_order_of_a_crowd_is_drawn_by_seed() -> None:
    halves = mix({1: 0.5, 2: 0.5})
    assert quotas(halves, 50, 1).tolist() == quotas(halves, 50, 1).tolist()
    assert quotas(halves, 50, 1).tolist() != quotas(halves, 50, 2).tolist()


def test_shoppers_one_by_one_follow_the_mix_and_keep_their_type() -> None:
    agents = np.arange(20_000)
    codes = sampled(mix({3: 0.7, 5: 0.3}), agents, 9)
    assert np.mean(codes == 3) == pytest.approx(0.7, abs=0.02)
    assert codes[77] == sampled(mix({3: 0.7, 5: 0.3}), np.array([77]), 9)[0]


def test_each_shopper_s_type_is_drawn_from_what_is_known_of_them() -> None:
    agents = np.arange(20_000)
    chances = np.where((agents % 2 == 0)[:, None], [[0.0, 1.0, 0.0]], [[0.25, 0.0, 0.75]])
    codes = drawn(chances, agents, 9)
    assert (codes[::2] == 1).all()
    assert set(codes[1::2].tolist()) == {0, 2}
    assert np.mean(codes[1::2] == 2) == pytest.approx(0.75, abs=0.02)
    assert codes[77] == drawn(chances[77:78], np.array([77]), 9)[0]


@pytest.mark.parametrize("weights", [{}, {1: 0.0}])
def test_an_empty_mix_is_refused(weights: dict[int, float]) -> None:
    with pytest.raises(PopulationError, match="empty mix"):
        mix(weights)
