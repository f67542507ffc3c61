"""Answers to storefront conditions: planted shifts are found, and the right shopper's moves are shifted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_runtime.errors import ModelError, TraceError
from agent_runtime.models.response import FEATURES, LEAVING, OUTCOMES, Response, features, responding, types_of
from agent_runtime.simulators.mix_fit import fit_mix
from agent_runtime.simulators.response_fit import Moves, fit_shifts
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.shop import Shop
from agent_runtime.vocabulary import Vocabulary
from schemas.conditions import Conditions

pytestmark = pytest.mark.fast

ADD = 4  # product_added_to_cart among the outcomes
TYPES, STOREFRONTS, SESSIONS, LENGTH = 3, 60, 4_000, 8


@pytest.fixture(scope="module")
def planted() -> tuple[Response, np.ndarray]:
    """A fit on decisions in which each type adds the less to its cart the higher the prices, by its own slope."""
    random = np.random.default_rng(2)
    told = np.zeros((STOREFRONTS, len(FEATURES)))
    told[:, 0] = random.uniform(-0.25, 0.25, STOREFRONTS)
    told[:, 1] = random.random(STOREFRONTS) < 0.5
    merchant, kind = random.integers(STOREFRONTS, size=SESSIONS), random.integers(TYPES, size=SESSIONS)
    slopes = np.array([-4.0, -2.0, 0.0])
    session = np.repeat(np.arange(SESSIONS), LENGTH)
    chances = random.dirichlet(np.full(OUTCOMES, 2.0), size=len(session))
    odds = chances.copy()
    odds[:, ADD] *= np.exp(slopes[kind[session]] * told[merchant[session], 0])
    heap = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    chosen = (heap < random.random((len(session), 1))).sum(axis=1)
    centre, shifts, spread = fit_shifts(Moves(chances, chosen, session), kind, merchant, told, TYPES)
    nothing = np.zeros((TYPES, len(FEATURES)))
    return Response(centre, shifts, nothing, spread, np.zeros((nothing.size, 1))), slopes


def contrast(response: Response) -> np.ndarray:
    """Return how each type's adding answers to prices, against its other moves; a shift of all moves says nothing."""
    answers = response.shifts[:, 0]
    return answers[:, ADD] - np.delete(answers, ADD, axis=1).mean(axis=1)


def test_planted_answers_are_found_by_type_and_the_rest_is_small(planted: tuple[Response, np.ndarray]) -> None:
    response, slopes = planted
    price = contrast(response)
    assert (np.diff(price) > 0).all()
    # types lean on each other, so the extremes are drawn in
    np.testing.assert_allclose(price, slopes, atol=1.2)
    assert np.abs(response.shifts[:, 1]).max() < 0.3
    assert not response.shifts[:, 2:].any()


def test_draws_scatter_as_far_as_the_fit_is_unsure(planted: tuple[Response, np.ndarray]) -> None:
    response, slopes = planted
    drawn = np.array([contrast(response.drawn(seed)) for seed in range(400)])
    np.testing.assert_allclose(drawn.mean(axis=0), contrast(response), atol=0.1)
    spread = drawn.std(axis=0)
    assert (spread > 0.1).all() and (spread < 1.0).all()
    assert (np.abs(slopes - contrast(response)) < 3 * spread).all()


def test_a_mirrored_draw_is_as_far_off_the_other_way(planted: tuple[Response, np.ndarray]) -> None:
    response, _ = planted
    draw, mirrored = response.drawn(7), response.drawn(7, mirrored=True)
    assert np.abs(draw.shifts - mirrored.shifts).max() > 0.1
    for name in ("shifts", "mix"):
        middle = (getattr(draw, name) + getattr(mirrored, name)) / 2
        np.testing.assert_allclose(middle, getattr(response, name), atol=1e-9)


def test_planted_moves_between_types_are_found_and_no_more_sure_than_storefronts_differ() -> None:
    """Dear storefronts see fewer of code 0; every storefront has a mix of its own besides."""
    random = np.random.default_rng(4)
    storefronts, sessions = 400, 50
    told = np.zeros((storefronts, len(FEATURES)))
    told[:, 0] = random.uniform(-0.25, 0.25, storefronts)
    odds = random.dirichlet(np.full(4, 6.0), size=storefronts)
    odds[:, 0] *= np.exp(-2.0 * told[:, 0])
    code = np.concatenate([random.choice(4, sessions, p=share / share.sum()) for share in odds])
    mix, spread = fit_mix(code, np.arange(4), np.repeat(np.arange(storefronts), sessions), told)
    answer = mix[:, 0] - mix[:, 0].mean()
    root = spread.reshape(*mix.shape, -1)[:, 0]
    unsure = np.sqrt(((root - root.mean(axis=0)) ** 2).sum(axis=1))
    assert np.abs(answer - np.array([-1.5, 0.5, 0.5, 0.5])).max() < 0.6
    assert 0.1 < unsure.mean() < 0.6
    assert not mix[:, 2:].any()


def test_moves_between_finer_codes_are_kept_where_whole_types_only_seem_to_move() -> None:
    """Dear storefronts see more of each type's first code; how many are of which type is every storefront's own."""
    random = np.random.default_rng(4)
    storefronts, sessions, coarse = 400, 50, np.repeat(np.arange(5), 2)
    told = np.zeros((storefronts, len(FEATURES)))
    told[:, 0] = random.uniform(-0.25, 0.25, storefronts)
    types = random.dirichlet(np.full(5, 0.6), size=storefronts)
    first = 1.0 / (1.0 + np.exp(-2.0 * told[:, :1]))
    odds = np.stack([types * first, types * (1.0 - first)], axis=2).reshape(storefronts, 10)
    code = np.concatenate([random.choice(10, sessions, p=share / share.sum()) for share in odds])
    mix = fit_mix(code, coarse, np.repeat(np.arange(storefronts), sessions), told)[0][:, 0]
    loose = fit_mix(code, np.arange(10), np.repeat(np.arange(storefronts), sessions), told)[0][:, 0]
    np.testing.assert_allclose(mix[::2] - mix[1::2], 2.0, atol=0.6)
    assert np.abs(mix.reshape(5, 2).mean(axis=1)).mean() < 0.5 * np.abs(loose.reshape(5, 2).mean(axis=1)).mean()


def test_storefronts_that_are_all_alike_teach_nothing() -> None:
    moves = Moves(np.full((1, OUTCOMES), 1 / OUTCOMES), np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(TraceError, match="alike"):
        fit_shifts(moves, np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones((1, len(FEATURES))), 1)


class Level:
    """A backend to which everything is equally likely."""

    def __init__(self, words: int) -> None:
        self.words = words

    def scores(self, tokens: np.ndarray) -> np.ndarray:
        return np.zeros((len(tokens), self.words), np.float32)


def test_each_row_is_shifted_by_its_own_type(shop: Shop, vocabulary: Vocabulary) -> None:
    assert types_of(vocabulary) == ("c00", "c01")
    shifts = np.zeros((2, len(FEATURES), OUTCOMES))
    shifts[1, 0, ADD], shifts[1, 1, LEAVING] = -2.0, 1.0
    nothing = np.zeros((len(vocabulary.code_paths), len(FEATURES)))
    response = Response(
        np.zeros(len(FEATURES)), shifts, nothing, np.zeros((shifts.size, 1)), np.zeros((nothing.size, 1))
    )
    dear = replace(shop, conditions=Conditions(price_level=np.e, free_shipping=True))
    backend = responding(Level(len(vocabulary)), vocabulary, response, dear)
    tokens = np.array([vocabulary.prompt((0, 0, 0, 0), code) for code in (0, 1, 2)])
    scores = backend.scores(tokens)
    assert not scores[:2].any()
    adds = [vocabulary.action(place) for place, action in enumerate(ACTIONS) if action.event == "product_added_to_cart"]
    assert (scores[2, adds] == -2.0).all() and scores[2, vocabulary.leave] == 1.0
    assert np.count_nonzero(scores[2]) == len(adds) + 1


def test_features_are_what_was_told_and_what_is_seen(shop: Shop) -> None:
    told = replace(shop, conditions=Conditions(2.0, True, 0.25, 1.5))
    np.testing.assert_allclose(features(told), [np.log(2.0), 1.0, 0.0, 0.75, 1.5])
    short = replace(told, capabilities=replace(told.capabilities, events=frozenset({"product_viewed"})))
    assert features(short)[2] == 1.0


def test_a_response_is_kept_in_a_file(planted: tuple[Response, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "response.npz"
    planted[0].save(path)
    back = Response.load(path)
    for name in ("centre", "shifts", "mix", "spread", "mix_spread"):
        np.testing.assert_array_equal(getattr(back, name), getattr(planted[0], name))
    path.write_bytes(b"no")
    with pytest.raises(ModelError, match="finetune anew"):
        Response.load(path)
