"""Yardsticks: persona tokens put wrong, mixes, replayed sessions, and real sessions walked again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.alignment.early_types import EarlyTypes
from agent_runtime.alignment.strict import Rates, log_loss_saved
from agent_runtime.alignment.table import AlignmentTable
from agent_runtime.alignment.yardsticks import derangement, mix_of, replay, uniform_mix
from agent_runtime.models.markov import MarkovChain
from agent_runtime.models.told import play_told
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.behaviour import of_played, of_steps
from agent_runtime.traces.held_out import Recorded, earlier_sessions
from agent_runtime.traces.traces import Traces
from agent_runtime.walk.rollout import Span
from encoders.sessionise import SessionLog
from schemas.events import EVENT

pytestmark = pytest.mark.fast
START_MS = 1_764_000_000_000
HOUR_MS = 3_600_000


@given(st.integers(2, 20), st.integers(1, 6), st.integers(0, 1_000), st.booleans())
def test_in_a_derangement_every_code_goes_to_another_coarse_type(
    coarse: int, fine: int, seed: int, whole: bool
) -> None:
    paths = [f"c{c:02d}.f{f}" for c in range(coarse) for f in range(fine)]
    order = derangement(paths, seed, whole)
    assert sorted(order) == list(range(len(paths)))
    assert all(paths[a].partition(".")[0] != paths[b].partition(".")[0] for a, b in enumerate(order))


def test_seeds_give_different_derangements() -> None:
    paths = [f"c{c:02d}" for c in range(16)]
    assert len({tuple(derangement(paths, seed, True)) for seed in range(20)}) == 20


def test_one_coarse_type_is_turned_round() -> None:
    assert derangement(["c00.f0", "c00.f1", "c00.f2"], 1, True).tolist() == [2, 0, 1]


def test_a_mix_is_the_shares_of_the_codes() -> None:
    mix = mix_of("shop", "cb", np.array([2, 2, 0, 2], np.int32), 5)
    assert (mix.weights, mix.n_effective, mix.as_of_ms) == ({0: 0.25, 2: 0.75}, 4.0, 5)
    assert uniform_mix(mix, 4).weights == dict.fromkeys(range(4), 0.25)


def recorded(traces: Traces) -> Recorded:
    lengths = np.diff(traces.steps.offsets)
    log = SessionLog(
        np.zeros(int(lengths.sum()), EVENT),
        traces.steps.offsets[:-1],
        lengths,
        traces.buyer,
        traces.merchant,
        traces.merchants,
    )
    return Recorded(log, traces, of_steps(traces.steps, np.ones(len(traces))))


def test_a_replayed_session_is_a_real_one_of_the_same_type(toy_traces: Traces) -> None:
    training = recorded(toy_traces)
    codes = np.array([0, 1, 2, 2, 1], np.int32)
    again = replay(codes, training, np.ones(120, bool), 3)
    assert again.events.tolist() == [1, 4, 5, 5, 4]
    assert again.converted.tolist() == [False, False, True, True, False]
    # a type that may not be drawn anywhere falls back on all of its own, an unknown one on anybody
    assert replay(codes, training, np.zeros(120, bool), 3).events.tolist() == [1, 4, 5, 5, 4]
    assert len(replay(np.array([9], np.int32), training, np.ones(120, bool), 3)) == 1


def test_real_sessions_walked_again_do_what_they_did(toy_traces: Traces, chain: MarkovChain, shop: Shop) -> None:
    span = Span(START_MS, START_MS + 24 * HOUR_MS)
    told = play_told(chain.vocabulary, Storefront(shop), toy_traces, span, HOUR_MS // 2, 0)
    real = of_steps(toy_traces.steps, np.ones(len(toy_traces)))
    same = of_played(told).sequence == real.sequence
    assert same[toy_traces.code == 0].all()
    # several products: one at another price may stand where a cheaper or dearer one was looked at
    assert same.mean() > 0.7
    assert [session.code for session in told] == toy_traces.code.tolist()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(0, 99))
def test_the_other_session_is_another_one_of_the_same_buyer(buyers: list[int], seed: int) -> None:
    size = len(buyers)
    steps = of_rows(size)
    key = np.array(buyers, np.uint64)
    traces = Traces(steps, np.arange(size, dtype=np.int32), np.zeros(size, np.int32), key, ("shop",), "cb")
    other = traces.of_other_session(seed)
    own = other.steps.action  # numbers the session it was
    assert sorted(own) == [row for row in range(size) if buyers.count(buyers[row]) > 1]
    assert all(a != b and buyers[a] == buyers[b] for a, b in zip(own.tolist(), other.code.tolist(), strict=True))


def of_rows(size: int):  # type: ignore[no-untyped-def]
    from agent_runtime.traces.retrace import Steps

    trait = np.zeros(size, np.uint8)
    return Steps(np.arange(size, dtype=np.uint8), trait, trait, trait, trait, np.arange(size + 1))


def test_a_buyer_is_known_by_the_sessions_before() -> None:
    def log(keys: list[int]) -> SessionLog:
        size = len(keys)
        zeros = np.zeros(size, np.int64)
        return SessionLog(
            np.zeros(1, EVENT), zeros, zeros + 1, np.array(keys, np.uint64), zeros.astype(np.int32), ("shop",)
        )

    first, end, rows = earlier_sessions(log([1, 1, 3, 5, 5, 5]), log([0, 1, 2, 5, 5, 9]))
    assert (first.tolist(), end.tolist(), rows.tolist()) == ([0, 3, 3], [2, 6, 6], [1, 3, 4])


def test_log_loss_saved_is_nothing_for_the_base_rate_and_all_for_the_truth() -> None:
    bought = np.array([True, False, False, False])
    assert log_loss_saved(np.full(4, 0.25), bought) == pytest.approx(0.0)
    assert log_loss_saved(bought.astype(np.float64), bought) == pytest.approx(1.0, abs=0.01)
    assert log_loss_saved(np.full(4, 0.6), bought) < 0.0


def test_a_mix_is_found_behind_early_codes_that_confuse_types() -> None:
    random = np.random.default_rng(2)
    usual, true = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
    confusion = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])  # type -> early code
    cell = np.array([random.choice(3, p=confusion[kind]) for kind in random.choice(3, 5_000, p=true)])
    mix, chances = EarlyTypes(confusion.T, usual).told(cell)
    counted = np.bincount(cell) / len(cell)
    assert np.abs(mix - true).max() < 0.05 < np.abs(counted - true).max()
    assert chances.sum(axis=1) == pytest.approx(np.ones(len(cell)))
    assert chances.mean(axis=0) == pytest.approx(mix, abs=0.02)


def test_a_types_rate_leans_on_the_crowd() -> None:
    from tests.agent_runtime.test_alignment import BUY, PAGE, crowd

    codes, sessions = np.array([0, 0, 1, 1], np.int32), crowd((BUY,), (BUY,), (PAGE,), (PAGE,))
    rates = Rates.of(codes, sessions, 4)
    assert rates.crowd == 0.5
    assert rates.of_type.tolist() == pytest.approx([(2 + 2) / 6, 2 / 6, 0.5, 0.5])
    # two codes to a coarse type: a code leans on its sibling, an unseen type on the crowd
    assert Rates.of(codes, sessions, 4, fine=2).of_type.tolist() == pytest.approx([8 / 14, 6 / 14, 0.5, 0.5])


def test_a_table_has_means_shares_and_differences_with_intervals() -> None:
    shops = {
        f"shop-{place}": {"floor": {"g": 0.9, "c": 0.5}, "persona": {"g": 0.8 + place / 100, "c": float("nan")}}
        for place in range(5)
    }
    table = AlignmentTable(shops)
    assert table.conditions() == ["floor", "persona"]
    assert table.mean("persona", "c") is None
    assert table.mean("persona", "absent") is None
    mean, share, above = (
        table.mean("persona", "g"),
        table.share("persona", "floor", "g"),
        table.above("persona", "floor", "g"),
    )
    assert mean is not None and share is not None and above is not None
    assert (mean.value, share.value, above.value) == pytest.approx((0.82, 0.82 / 0.9, -0.08))
    for estimate in (mean, share, above):
        assert estimate.low < estimate.value < estimate.high
    assert mean.low >= 0.8
    one = AlignmentTable({"shop": shops["shop-0"]}).mean("persona", "g")
    assert one is not None and one.low == one.high == 0.8


def test_intervals_are_the_same_by_seed() -> None:
    shops = {str(place): {"persona": {"g": place / 7}} for place in range(7)}
    assert AlignmentTable(shops, 3).mean("persona", "g") == AlignmentTable(shops, 3).mean("persona", "g")
    assert AlignmentTable(shops, 3).mean("persona", "g") != AlignmentTable(shops, 4).mean("persona", "g")


def test_traces_can_be_selected(toy_traces: Traces) -> None:
    some = toy_traces.select(np.array([5, 2]))
    assert len(some) == 2
    assert some.code.tolist() == toy_traces.code[[5, 2]].tolist()
    first, end = toy_traces.steps.offsets[5:7]
    assert some.steps.action[: end - first].tolist() == toy_traces.steps.action[first:end].tolist()
    assert replace(some, code=some.untyped().code).code.tolist() == [0, 0]
