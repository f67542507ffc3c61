"""Measures of alignment: what equal crowds score, what unequal ones, and that nothing leaves its bounds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_runtime.alignment.measures import (
    MEASURES,
    aligned,
    code_divergence,
    conversion,
    distinct_alignment,
    event_rates,
    grouped_rates,
    joint_rates,
    measures,
    rates_within,
    relative_w1,
    strata_shares,
)
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS
from agent_runtime.traces.behaviour import Behaviour, of_steps
from agent_runtime.traces.retrace import Steps

PAGE, CART, BUY = (ACTION_INDEX[name] for name in ("page_viewed", "cart_viewed", "checkout_completed"))
VIEW = ACTION_INDEX["product_viewed:same"]

rates = hnp.arrays(np.float64, 5, elements=st.just(0.0) | st.floats(1e-3, 1e6))


def crowd(*sessions: tuple[int, ...], dwell_s: float = 10.0) -> Behaviour:
    lengths = np.array([len(actions) for actions in sessions])
    action = np.array([a for actions in sessions for a in actions], np.uint8)
    trait = np.zeros(len(sessions), np.uint8)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = Steps(action, np.zeros_like(action), trait, trait, trait, offsets)
    return of_steps(steps, np.full(len(sessions), dwell_s))


@st.composite
def crowds(draw: st.DrawFn) -> Behaviour:
    """Some dozens of short sessions of a few actions each."""
    few = st.sampled_from([PAGE, VIEW, CART, BUY])
    sessions = draw(st.lists(st.lists(few, min_size=1, max_size=6).map(tuple), min_size=12, max_size=40))
    return crowd(*sessions, dwell_s=draw(st.floats(0.1, 1e4)))


@given(rates, rates)
def test_the_alignment_of_rates_is_symmetric_between_nothing_and_one(a: np.ndarray, b: np.ndarray) -> None:
    assert np.array_equal(aligned(a, b), aligned(b, a))
    assert ((aligned(a, b) >= 0) & (aligned(a, b) <= 1)).all()
    assert (aligned(a, a) == 1).all()


@given(rates, st.floats(0.01, 100))
def test_the_alignment_of_rates_has_no_unit(a: np.ndarray, factor: float) -> None:
    assert aligned(a, 2 * a) == pytest.approx(aligned(a * factor, 2 * a * factor), abs=1e-9)
    assert aligned(a, 2 * a) == pytest.approx(np.where(a > 0, 0.5, 1.0))


@given(crowds())
def test_a_crowd_agrees_with_itself(one: Behaviour) -> None:
    for name, value in measures(one, one).items():
        assert math.isnan(value) or value == pytest.approx(0.0 if name.endswith("_w1") else 1.0), name


@given(crowds(), crowds())
def test_every_measure_is_there_and_within_its_bounds(one: Behaviour, other: Behaviour) -> None:
    found = measures(one, other)
    assert list(found) == list(MEASURES)
    for name, value in found.items():
        assert math.isnan(value) or 0.0 <= value <= (math.inf if name.endswith("_w1") else 1.0), name


@given(crowds(), crowds(), st.randoms(use_true_random=False))
def test_the_order_of_sessions_does_not_matter(one: Behaviour, other: Behaviour, random: object) -> None:
    order = np.arange(len(other))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = other.select(order)
    for measure in (grouped_rates, rates_within, joint_rates, event_rates, conversion, strata_shares):
        assert measure(one, shuffled) == pytest.approx(measure(one, other), nan_ok=True)


@given(crowds(), crowds())
def test_doubling_a_crowd_changes_no_rate(one: Behaviour, other: Behaviour) -> None:
    for measure in (grouped_rates, rates_within, joint_rates, conversion, strata_shares):
        assert measure(one, other.and_more(other)) == pytest.approx(measure(one, other), nan_ok=True)


def test_g_is_the_mean_over_strata_of_the_mean_over_their_actions() -> None:
    real = crowd(*[(PAGE, VIEW)] * 10, *[(PAGE, CART, BUY)] * 10)
    half = crowd(*[(PAGE, VIEW)] * 15, *[(PAGE, CART, BUY)] * 5)
    # per session: page 1 and 1; view 1/2 and 3/4; cart and purchase 1/2 and 1/4
    assert grouped_rates(real, half) == pytest.approx((1 + 2 / 3 + 1 / 2 + 1 / 2) / 4)
    # within the sessions of a stratum both do the same things, only their numbers differ
    assert rates_within(real, half) == 1.0
    assert joint_rates(real, half) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert conversion(real, half) == 0.5
    assert strata_shares(real, half) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_only_the_real_side_decides_what_is_compared() -> None:
    real = crowd(*[(PAGE,)] * 100)
    inventive = crowd(*[(PAGE, VIEW)] * 100)
    assert grouped_rates(real, inventive) == 1.0
    assert grouped_rates(inventive, real) == 0.5
    assert math.isnan(conversion(real, inventive))


@pytest.mark.parametrize(("times", "compared"), [(9, False), (10, True)])
def test_an_action_needs_ten_occurrences(times: int, compared: bool) -> None:
    real = crowd(*[(PAGE,)] * (100 - times), *[(PAGE, VIEW)] * times)
    assert (grouped_rates(real, crowd((PAGE,))) == 0.5) == compared


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.1, 100)), st.floats(0, 50))
def test_moving_a_sample_moves_the_distance_by_as_much(sample: np.ndarray, by: float) -> None:
    assert relative_w1(sample, sample + by) == pytest.approx(by / sample.mean(), abs=1e-9)
    assert relative_w1(sample, np.repeat(sample, 3)) == pytest.approx(0.0, abs=1e-12)


def test_diversity_counts_sessions_like_no_other() -> None:
    varied, uniform = crowd((PAGE,), (PAGE, PAGE), (VIEW,), (CART, VIEW)), crowd(*[(PAGE,)] * 4)
    assert distinct_alignment(varied, uniform) == 0.0
    assert distinct_alignment(varied, crowd((CART,), (CART, PAGE), (PAGE,), (PAGE,))) == 0.5
    assert distinct_alignment(varied, replace(varied, dwell_s=np.zeros(4))) == 1.0


def test_the_order_of_actions_makes_sessions_different() -> None:
    assert len(np.unique(crowd((PAGE, VIEW), (VIEW, PAGE), (PAGE, VIEW)).sequence)) == 2


def test_mixes_of_codes_are_compared_over_the_whole_codebook() -> None:
    one, other = np.array([0, 0, 1], np.int32), np.array([0, 2, 2], np.int32)
    assert code_divergence(one, one, 4) == 0.0
    assert code_divergence(one, other, 4) == code_divergence(other, one, 4) > 0.0
    assert code_divergence(np.zeros(5, np.int32), np.full(7, 3, np.int32), 4) == pytest.approx(math.log(2))


def test_the_deepest_action_names_a_sessions_stratum() -> None:
    assert crowd((PAGE,), (VIEW, PAGE), (CART, VIEW), (BUY,)).stratum.tolist() == [0, 1, 2, 3]
    assert crowd((PAGE,), (BUY,)).converted.tolist() == [False, True]
    assert crowd((PAGE, PAGE, VIEW)).events.tolist() == [3]
    assert crowd((PAGE,)).counts.shape == (1, len(ACTIONS))
