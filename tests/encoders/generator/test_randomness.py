"""Counter-based randomness: the compiled and the vectorised half agree, and draws are spread evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.generator.randomness import GOLDEN, gamma, keys, normal, scramble, uniform, uniforms

pytestmark = pytest.mark.fast


@given(st.integers(0, 2**64 - 1))
def test_compiled_and_vectorised_scramble_agree(root: int) -> None:
    with np.errstate(over="ignore"):
        assert int(keys(root)) == int(scramble(np.uint64(root) + GOLDEN))


def test_keys_of_neighbouring_counters_are_all_different() -> None:
    a, b = np.meshgrid(np.arange(300), np.arange(300))
    assert len(np.unique(keys(7, a.ravel(), b.ravel()))) == 90_000


def test_uniforms_are_even_and_streams_independent() -> None:
    key = keys(1, np.arange(50_000))
    one, two = uniforms(key, 1), uniforms(key, 2)
    assert one.min() >= 0.0 and one.max() < 1.0
    assert np.histogram(one, bins=10, range=(0, 1))[0] == pytest.approx(5_000, rel=0.06)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02


def test_the_compiled_draws_have_the_moments_they_should() -> None:
    state = np.array([5], dtype=np.uint64)
    draws = np.array([(uniform(state), normal(state), gamma(state, 4)) for _ in range(20_000)])
    assert draws.mean(axis=0) == pytest.approx([0.5, 0.0, 1.0], abs=0.03)
    assert draws.std(axis=0) == pytest.approx([12**-0.5, 1.0, 0.5], abs=0.03)
