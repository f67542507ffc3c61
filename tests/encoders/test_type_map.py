"""Types find themselves again by the sessions they share, in whatever order a new codebook has them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.adaptation import close_types, open_types
from encoders.codebook import Codebook
from encoders.type_map import TypeMap, aligned, code_map, kept_share, match_fine, match_types

pytestmark = pytest.mark.fast
FINE, WIDTH, STYLE = 3, 8, 4
Ints = npt.NDArray[np.int32]


def book(types: int, seed: int) -> Codebook:
    random = np.random.default_rng(seed)
    whole = Codebook.uncalibrated(
        _unit(random.normal(size=(types, WIDTH))), _unit(random.normal(size=(types, FINE, STYLE)))
    )
    bias = random.normal(size=whole.coarse_bias.shape).astype(np.float32)
    return Codebook(whole.coarse, whole.fine, whole.coarse_scale, bias, whole.fine_scale)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def latents(sessions: int, seed: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return np.concatenate([_unit(random.normal(size=(sessions, width))) for width in (WIDTH, STYLE)], 1)


def codes(codebook: Codebook, of: npt.NDArray[np.float32]) -> Ints:
    return codebook.assign(of, np.ones(len(of), np.int64)).code


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(6)), st.permutations(range(FINE)), st.integers(0, 1_000))
def test_a_codebook_in_another_order_is_put_back_to_the_letter(
    order: list[int], fine_order: list[int], seed: int
) -> None:
    champion, sessions = book(6, seed), latents(600, seed)
    shuffled = replace(
        champion,
        coarse=champion.coarse[order],
        fine=champion.fine[order][:, fine_order],
        coarse_bias=champion.coarse_bias[:, order],
    )
    before = codes(champion, sessions)
    after = codes(shuffled, sessions)
    types = match_types(champion, shuffled, before // FINE, after // FINE, one_network=False)
    assert (types.retired, types.born) == ((), ())
    assert {old: order[new] for old, new in types.kept} == {place: place for place in range(6)}
    back, now = aligned(champion, shuffled, types)
    assert now == TypeMap(tuple((place, place) for place in range(6)), (), ())
    back = match_fine(champion, back, before, codes(back, sessions))
    for name in ("coarse", "coarse_bias"):
        np.testing.assert_array_equal(getattr(back, name), getattr(champion, name))
    assert kept_share(before, codes(back, sessions)) == 1.0
    assert code_map(champion, back, now) == {str(code): code for code in range(champion.size)}


def test_a_type_whose_sessions_were_scattered_retires_and_one_that_has_none_of_old_is_born() -> None:
    champion, challenger = book(4, 1), book(4, 2)
    before = np.repeat(np.arange(4), 100).astype(np.int32)
    # types 0 and 1 live on under other numbers, the sessions of 2 and 3 are dealt out between them
    after = np.concatenate([np.full(100, 3), np.full(100, 0), np.tile([3, 0], 100)]).astype(np.int32)
    types = match_types(champion, challenger, before, after, one_network=False)
    assert types == TypeMap(((0, 3), (1, 0)), (2, 3), (1, 2))
    codebook, now = aligned(champion, challenger, types)
    assert open_types(codebook).tolist() == [True, True, False, False, True, True]
    np.testing.assert_array_equal(codebook.coarse[[0, 1, 4, 5]], challenger.coarse[[3, 0, 1, 2]])
    assert now == TypeMap(((0, 0), (1, 1)), (2, 3), (4, 5))
    mapped = code_map(champion, codebook, now)
    assert [mapped[str(code)] for code in (0, FINE, 2 * FINE, 3 * FINE + 1)] == [0, FINE, None, None]


def test_types_that_nobody_was_stay_where_they_are_if_the_network_is_the_same() -> None:
    champion = book(5, 3)
    before = np.repeat(np.arange(3), 50).astype(np.int32)
    assert match_types(champion, champion, before, before, one_network=True).kept == tuple((p, p) for p in range(5))
    by_sessions = match_types(champion, champion, before, before, one_network=False)
    assert (by_sessions.retired, by_sessions.born) == ((3, 4), (3, 4))


def test_closed_places_are_matched_with_nothing() -> None:
    champion = close_types(book(5, 4), np.arange(5) == 1)
    sessions = latents(400, 5)
    own = codes(champion, sessions) // FINE
    types = match_types(champion, champion, own, own, one_network=True)
    assert types == TypeMap(((0, 0), (2, 2), (3, 3), (4, 4)), (), ())
    codebook, now = aligned(champion, champion, types)
    np.testing.assert_array_equal(codebook.coarse, champion.coarse)
    assert code_map(champion, codebook, now)[str(FINE)] is None


def test_another_number_of_fine_codes_leads_to_the_first_of_the_type() -> None:
    champion, challenger = book(2, 6), book(2, 6)
    challenger = Codebook(
        challenger.coarse,
        challenger.fine[:, :1],
        *(getattr(challenger, name) for name in ("coarse_scale", "coarse_bias", "fine_scale")),
    )
    types = TypeMap(((0, 0), (1, 1)), (), ())
    assert match_fine(champion, challenger, np.zeros(3, np.int32), np.zeros(3, np.int32)) is challenger
    assert code_map(champion, challenger, types) == {"0": 0, "1": 0, "2": 0, "3": 1, "4": 1, "5": 1}
