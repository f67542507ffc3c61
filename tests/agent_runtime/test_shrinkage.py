"""Noisy coefficients are drawn towards zero as far as noise explains them, and no further."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.simulators.shrinkage import Group, shrink

SIZE, NOISE = 200, 0.3
EVERY = Group(np.arange(SIZE), (np.eye(SIZE),))


def noisy(seed: int, truth: np.ndarray) -> np.ndarray:
    return truth + NOISE * np.random.default_rng(seed).standard_normal(len(truth))


@pytest.mark.fast
def test_what_noise_explains_is_all_but_zero() -> None:
    mean, root = shrink(noisy(1, np.zeros(SIZE)), NOISE * np.eye(SIZE), [EVERY], 1.0)
    assert np.abs(mean).max() < 0.1
    assert np.sqrt((root**2).sum(axis=1)).max() < 0.15


@pytest.mark.fast
def test_what_is_far_beyond_the_noise_stays() -> None:
    truth = 2.0 * np.random.default_rng(0).standard_normal(SIZE)
    mean, root = shrink(noisy(1, truth), NOISE * np.eye(SIZE), [EVERY], 1.0)
    np.testing.assert_allclose(mean, noisy(1, truth), rtol=0.1)
    np.testing.assert_allclose(np.sqrt((root**2).sum(axis=1)), NOISE, rtol=0.1)


@settings(deadline=None, max_examples=10)
@given(size=st.floats(0.3, 2.0), seed=st.integers(0, 1_000))
def test_shrunk_coefficients_are_nearer_the_truth_and_their_doubt_is_the_size_of_their_error(
    size: float, seed: int
) -> None:
    truth = size * np.random.default_rng(seed).standard_normal(SIZE)
    estimate = noisy(seed + 1, truth)
    mean, root = shrink(estimate, NOISE * np.eye(SIZE), [EVERY], 1.0)
    error, before = np.sqrt(((mean - truth) ** 2).mean()), np.sqrt(((estimate - truth) ** 2).mean())
    assert error < (1.0 if size < 2 * NOISE else 1.1) * before
    assert 0.7 < np.sqrt((root**2).sum(axis=1).mean()) / error < 1.4


@pytest.mark.fast
def test_what_might_be_noise_is_not_taken_for_certain() -> None:
    """Three estimates can all be noise; the likeliest size of what is behind them is then zero, and zero is certain."""
    alike = Group(np.arange(3), (np.eye(3),))
    doubts = []
    for seed in range(60):
        truth = 0.5 * NOISE * np.random.default_rng(seed).standard_normal(3)
        _, root = shrink(noisy(seed + 1_000, truth), NOISE * np.eye(3), [alike], 1.0)
        doubts.append(np.sqrt((root**2).sum(axis=1)).max())
    assert min(doubts) > 0.2 * NOISE


@pytest.mark.fast
def test_coefficients_that_are_all_the_same_lean_on_each_other() -> None:
    few = 60
    alike = Group(np.arange(few), (np.ones((few, few)), np.eye(few)))
    mean, root = shrink(noisy(1, np.full(few, 0.7)), NOISE * np.eye(few), [alike], 1.0)
    np.testing.assert_allclose(mean, 0.7, atol=0.1)
    assert np.sqrt((root**2).sum(axis=1)).max() < NOISE / 3


@pytest.mark.fast
def test_of_coefficients_in_no_group_nothing_is_known() -> None:
    mean, root = shrink(noisy(1, np.ones(SIZE)), NOISE * np.eye(SIZE), [Group(np.arange(3), (np.eye(3),))], 1.5)
    assert not mean[3:].any() and mean[:3].all()
    np.testing.assert_allclose(root[3:] @ root[3:].T, 1.5**2 * np.eye(SIZE - 3), atol=1e-9)


@pytest.mark.fast
def test_more_coefficients_than_there_is_noise_to_tell_apart_are_no_more_certain_for_it() -> None:
    """The covariance of hundreds of estimates, known from a few dozen storefronts, has no inverse."""
    random = np.random.default_rng(3)
    noise = NOISE * random.standard_normal((SIZE, 20)) / np.sqrt(20)
    truth = 0.5 * random.standard_normal(SIZE)
    groups = [Group(np.arange(first, first + 5), (np.eye(5),)) for first in range(0, SIZE, 5)]
    mean, root = shrink(truth + noise @ random.standard_normal(20), noise, groups, 1.0)
    error = np.sqrt(((mean - truth) ** 2).mean())
    assert 0.6 < np.sqrt((root**2).sum(axis=1).mean()) / error < 1.6
