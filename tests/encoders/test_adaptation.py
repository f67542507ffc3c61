"""Moving averages that begin at a codebook: what follows, what stays, what is born and what retires."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.adaptation import AdaptationOptions, adapt, close_types, open_types, quantisation_error
from encoders.codebook import Codebook

pytestmark = pytest.mark.fast
TYPES, FINE, WIDTH, STYLE = 5, 2, 8, 4
F32 = npt.NDArray[np.float32]
OPTIONS = AdaptationOptions(half_life=1_000)


def directions(random: np.random.Generator, *size: int) -> F32:
    vectors = random.normal(size=size)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def champion() -> Codebook:
    """Types along the axes, so that they are all equally far from one another."""
    return Codebook.uncalibrated(
        np.eye(TYPES, WIDTH, dtype=np.float32), directions(np.random.default_rng(1), TYPES, FINE, STYLE)
    )


def around(centres: F32, styles: F32, sessions: int, seed: int, noise: float = 0.1) -> F32:
    """Return latents around given types, each session in the way of one of its type's fine codes."""
    random = np.random.default_rng(seed)
    kind = random.integers(len(centres), size=sessions)
    style = styles[kind % len(styles), random.integers(FINE, size=sessions)]
    parts = [vectors + noise * random.normal(size=vectors.shape) for vectors in (centres[kind], style)]
    return np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1).astype(np.float32)


def codes(codebook: Codebook, latents: F32) -> npt.NDArray[np.int32]:
    return codebook.assign(latents, np.ones(len(latents), np.int64)).code


def test_when_nothing_changed_hardly_a_session_changes_its_code(champion: Codebook) -> None:
    made = adapt(champion, around(champion.coarse, champion.fine, 6_000, 2), OPTIONS)
    assert (made.born, made.retired) == ((), ())
    others = around(champion.coarse, champion.fine, 4_000, 3)
    assert (codes(champion, others) == codes(made.codebook, others)).mean() > 0.97


def test_a_type_whose_sessions_went_elsewhere_is_followed_and_the_others_stay(champion: Codebook) -> None:
    moved = champion.coarse.copy()
    moved[2] = 0.75 * champion.coarse[2] + 0.66 * np.eye(WIDTH, dtype=np.float32)[7]
    made = adapt(champion, around(moved, champion.fine, 8_000, 4), OPTIONS)
    assert (made.born, made.retired) == ((), ())
    target = moved[2] / np.linalg.norm(moved[2])
    assert champion.coarse[2] @ target < 0.8
    assert made.codebook.coarse[2] @ target > 0.97
    stayed = [0, 1, 3, 4]
    assert (champion.coarse[stayed] * made.codebook.coarse[stayed]).sum(1).min() > 0.99
    later = around(moved, champion.fine, 2_000, 5)
    assert quantisation_error(made.codebook, later).mean() < 0.7 * quantisation_error(champion, later).mean()


def test_a_short_past_is_left_behind_sooner_than_a_long_one(champion: Codebook) -> None:
    moved = champion.coarse.copy()
    moved[0] = directions(np.random.default_rng(8), WIDTH)
    moved[0] = (champion.coarse[0] + moved[0]) / np.linalg.norm(champion.coarse[0] + moved[0])
    latents = around(moved, champion.fine, 3_000, 6)
    short, long = (
        adapt(champion, latents, AdaptationOptions(half_life, births=0)).codebook.coarse[0] @ moved[0]
        for half_life in (300, 30_000)
    )
    assert short > long > champion.coarse[0] @ moved[0]


def test_sessions_far_from_every_type_make_a_new_one_behind_the_others(champion: Codebook) -> None:
    newcomer = np.eye(WIDTH, dtype=np.float32)[6]
    latents = around(np.concatenate([champion.coarse, newcomer[None]]), champion.fine, 8_000, 7)
    made = adapt(champion, latents, OPTIONS)
    assert (made.born, made.retired) == ((TYPES,), ())
    assert made.codebook.coarse[TYPES] @ newcomer > 0.99
    assert made.codebook.fine.shape == (TYPES + 1, FINE, STYLE)
    np.testing.assert_allclose(np.linalg.norm(made.codebook.fine, axis=-1), 1.0, rtol=1e-5)
    assert adapt(champion, latents, replace(OPTIONS, births=0)).born == ()


def test_a_type_that_nobody_is_any_more_retires_and_its_place_stays_closed(champion: Codebook) -> None:
    latents = around(champion.coarse[:-1], champion.fine, 6_000, 9)
    made = adapt(champion, latents, OPTIONS)
    assert (made.born, made.retired) == ((), (TYPES - 1,))
    again = adapt(made.codebook, around(champion.coarse, champion.fine, 600, 10), replace(OPTIONS, births=0))
    assert open_types(again.codebook).tolist() == [True, True, True, True, False]
    assert again.retired == (), "it cannot retire twice"


def test_a_few_hundred_sessions_say_nothing_about_who_is_gone(champion: Codebook) -> None:
    assert adapt(champion, around(champion.coarse[:-1], champion.fine, 500, 9), OPTIONS).retired == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, TYPES - 1), st.integers(0, 2**32 - 1))
def test_no_session_is_ever_given_a_closed_type(place: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = Codebook.uncalibrated(directions(random, TYPES, WIDTH), directions(random, TYPES, FINE, STYLE))
    closed = close_types(whole, np.arange(TYPES) == place)
    latents = np.concatenate([directions(random, 50, WIDTH), directions(random, 50, STYLE)], 1)
    found = closed.assign(latents, np.ones(50, np.int64), posterior=True)
    assert place not in found.code // FINE
    assert found.posterior is not None
    assert found.posterior[:, place * FINE : (place + 1) * FINE].max() < 1e-20
    np.testing.assert_allclose(found.posterior.sum(1), 1.0, rtol=1e-4)


def test_equal_sessions_give_equal_challengers(champion: Codebook) -> None:
    latents = around(champion.coarse, champion.fine, 3_000, 11, noise=0.4)
    one, other = (adapt(champion, latents, OPTIONS) for _ in range(2))
    np.testing.assert_array_equal(one.codebook.coarse, other.codebook.coarse)
    np.testing.assert_array_equal(one.codebook.fine, other.codebook.fine)


def test_progress_counts_every_session(champion: Codebook) -> None:
    told: list[int] = []
    adapt(champion, around(champion.coarse, champion.fine, 1_000, 12), OPTIONS, told.append)
    assert sum(told) == 1_000
