"""The decayed mix: exact whatever the order, half as much every half-life, bounded in memory."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.mixes.decay import HORIZON_HALF_LIVES, STEPS_PER_HALF_LIFE, DecayedMix, DecayRule, Mix

pytestmark = pytest.mark.fast

STEP_MS = 300_000
HALF_LIFE_MS = STEPS_PER_HALF_LIFE * STEP_MS
RULE = DecayRule(HALF_LIFE_MS)


def mix_of(sessions: list[tuple[int, int]]) -> Mix:
    decayed = DecayedMix(RULE)
    for code, ended_ms in sessions:
        decayed.add(code, ended_ms, 1)
    return decayed.mix()


def test_a_session_one_half_life_older_weighs_half() -> None:
    mix = mix_of([(0, HALF_LIFE_MS), (1, 2 * HALF_LIFE_MS)])
    assert mix.codes == [0, 1]
    assert mix.weights == [1 / 3, 2 / 3]
    assert mix.sessions == [1, 1]


def test_the_effective_number_is_kishs() -> None:
    mix = mix_of([(0, HALF_LIFE_MS), (1, 2 * HALF_LIFE_MS)])
    assert mix.n_effective == pytest.approx(1.5**2 / (1 + 0.25), rel=1e-9)
    assert mix_of([(0, 7), (1, 7), (1, 7)]).n_effective == 3


def test_sessions_beyond_the_horizon_are_left_out_whenever_they_come() -> None:
    old, new = (0, HALF_LIFE_MS), (1, (HORIZON_HALF_LIVES + 1) * HALF_LIFE_MS)
    assert mix_of([old, new]) == mix_of([new, old]) == mix_of([new])


def test_an_empty_mix_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one session"):
        DecayedMix(RULE).mix()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20 * HALF_LIFE_MS)), min_size=1, max_size=60).flatmap(
        lambda sessions: st.tuples(st.just(sessions), st.permutations(sessions))
    )
)
def test_the_order_of_arrival_does_not_change_a_bit_and_the_weights_are_the_formula(
    orders: tuple[list[tuple[int, int]], list[tuple[int, int]]],
) -> None:
    sessions, shuffled = orders
    mix = mix_of(sessions)
    assert mix == mix_of(shuffled)
    assert sum(mix.weights) == pytest.approx(1)
    newest = max(ended for _, ended in sessions) // STEP_MS
    oldest = newest // STEPS_PER_HALF_LIFE - HORIZON_HALF_LIVES + 1
    weights: dict[int, float] = {}
    for code, ended in sessions:
        step = ended // STEP_MS
        if step // STEPS_PER_HALF_LIFE >= oldest:
            weights[code] = weights.get(code, 0.0) + 2.0 ** ((step - newest) / STEPS_PER_HALF_LIFE)
    whole = math.fsum(weights.values())
    assert mix.codes == sorted(weights)
    assert mix.weights == pytest.approx([weights[code] / whole for code in mix.codes], rel=1e-6)
