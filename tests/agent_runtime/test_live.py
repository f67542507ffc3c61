"""A living population, run in moments."""

import pytest

from agent_runtime.crowds.live import LivePopulation
from agent_runtime.draws import seed_of
from agent_runtime.errors import ModelError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.population.population import Mix
from agent_runtime.storefront.shop import Shop

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
        window_ms=MINUTE_MS,
        gap_ms=1_800_000,
        seed=seed_of(1, "shop"),
        now_ms=START_MS,
    )


def test_shoppers_come_at_the_rate_asked_for(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {0: 1.0})
    came = [session for minute in range(1, 21) for session in living.live(START_MS + minute * MINUTE_MS).sessions]
    assert len(came) == pytest.approx(20 * PER_MINUTE, rel=0.15)
    assert living.agents == len(came)


def test_who_comes_does_not_depend_on_the_steps(chain: MarkovChain, shop: Shop) -> None:
    weights = {1: 0.5, 2: 0.5}
    one, many = population(chain, shop, weights), population(chain, shop, weights)
    whole = one.live(START_MS + 3 * MINUTE_MS)
    steps = [many.live(START_MS + step * 7_000) for step in range(1, 26)] + [many.live(START_MS + 3 * MINUTE_MS)]
    assert [session for step in steps for session in step.sessions] == whole.sessions
    assert [click["event_id"] for step in steps for click in step.clicks] == [c["event_id"] for c in whole.clicks]


def test_a_session_is_told_of_when_it_begins(chain: MarkovChain, shop: Shop) -> None:
    living = population(chain, shop, {1: 1.0})
    come = living.live(START_MS + MINUTE_MS // 2)
    assert come.sessions
    assert all(session.times_ms[0] < START_MS + MINUTE_MS // 2 for session in come.sessions)
    assert living.agents > len(come.sessions)


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
    assert sorted(session.agent for session in before + after) == list(range(living.agents))


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
