"""A living population, run in moments."""

import numpy as np
import pytest

from agent_runtime.errors import ModelError
from agent_runtime.live import LivePopulation, seed_of
from agent_runtime.markov import MarkovChain
from agent_runtime.population import Mix
from agent_runtime.shop import Shop

pytestmark = pytest.mark.fast
START_MS = 1_764_000_000_000
MINUTE_MS = 60_000
PER_MINUTE = 30


def population(chain: MarkovChain, shop: Shop, weights: dict[int, float]) -> LivePopulation:
    return LivePopulation(
        run_id="run",
        vocabulary=chain.vocabulary,
        backend=chain,
        shop=shop,
        mix=Mix("shop", "cb-test", 0, 100.0, weights),
        rate_per_ms=PER_MINUTE / MINUTE_MS,
        gap_ms=1_800_000,
        seed=seed_of(1, "shop"),
        now_ms=START_MS,
    )


def test_shoppers_come_at_the_rate_asked_for(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {0: 1.0})
    came = sum(len(living.live(START_MS + minute * MINUTE_MS).sessions) for minute in range(1, 21))
    assert came == pytest.approx(20 * PER_MINUTE, rel=0.15)
    assert living.agents == came


def test_clicks_leave_in_time_order_and_never_early(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {1: 0.5, 2: 0.5})
    times: list[int] = []
    for second in range(5, 61, 11):
        until_ms = START_MS + second * 1_000
        due = [int(str(click["occurred_at"])) for click in living.live(until_ms).clicks]
        assert all(t_ms < until_ms for t_ms in due)
        times += due
    assert times == sorted(times)
    assert living.waiting_clicks > 0
    assert living.live(START_MS + 60 * MINUTE_MS).clicks


def test_newcomers_follow_a_changed_mix(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {0: 1.0})
    before = living.live(START_MS + MINUTE_MS).sessions
    living.follow(Mix("shop", "cb-test", 1, 100.0, {2: 1.0}))
    after = living.live(START_MS + 2 * MINUTE_MS).sessions
    assert {session.code for session in before} == {0}
    assert {session.code for session in after} == {2}
    agents = np.array([session.agent for session in before + after])
    assert np.array_equal(agents, np.arange(len(agents)))


def test_time_that_stands_still_brings_nobody(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {0: 1.0})
    living.live(START_MS + MINUTE_MS)
    again = living.live(START_MS + MINUTE_MS)
    assert not again.sessions and not again.clicks


def test_a_mix_of_another_codebook_is_refused(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {0: 1.0})
    with pytest.raises(ModelError, match="knows codebook cb-test, but the latest mix of shop is of cb-new"):
        living.follow(Mix("shop", "cb-new", 1, 100.0, {0: 1.0}))


def test_two_merchants_draw_different_numbers() -> None:
    assert seed_of(1, "a") != seed_of(1, "b") != seed_of(2, "b")
    assert 0 <= seed_of(1, "a") < 2**64
