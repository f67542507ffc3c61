"""The crowd's inner loop: repeatable, within what the shop offers, and true to the types it was given."""

import numpy as np
import pytest

from agent_runtime.backends import Scores
from agent_runtime.errors import ShopError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.storefront.actions import ACTIONS, DAY_MS, HOUR_MS, moment_of
from agent_runtime.storefront.session import click_events
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from agent_runtime.walk.rollout import TILE, Played, Span, play
from schemas.click_codec import ClickDecoder, encode_click

pytestmark = pytest.mark.fast
GAP_MS = 1_800_000
MONDAY_MS = 1_763_942_400_000
WEEK = Span(MONDAY_MS, MONDAY_MS + 7 * DAY_MS)


class Stayer:
    """A backend without an opinion, except that nobody ever wants to leave."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def scores(self, tokens: Tokens) -> Scores:
        scores = np.zeros((len(tokens), len(self._vocabulary)), np.float32)
        scores[:, self._vocabulary.leave] = -np.inf
        return scores


class Wisher:
    """A backend that wants one action only, and a little of all others."""

    def __init__(self, vocabulary: Vocabulary, wish: str) -> None:
        self._scores = np.full(len(vocabulary), -30.0, np.float32)
        self._scores[vocabulary.id(wish)] = 0.0

    def scores(self, tokens: Tokens) -> Scores:
        return np.tile(self._scores, (len(tokens), 1))


def crowd(chain: MarkovChain, shop: Shop, agents: np.ndarray, span: Span = WEEK, seed: int = 1) -> Played:  # type: ignore[type-arg]
    codes = (agents % 3).astype(np.int32)
    return play(chain, chain.vocabulary, Storefront(shop), agents, codes, span, seed, GAP_MS)


def test_a_run_replays_exactly_whatever_its_size(chain: MarkovChain, shop: Shop) -> None:
    whole = crowd(chain, shop, np.arange(TILE + 40)).sessions
    part = crowd(chain, shop, np.array([3, 50, TILE + 1])).sessions
    assert part == [whole[3], whole[50], whole[TILE + 1]]
    assert crowd(chain, shop, np.arange(10), seed=2).sessions != whole[:10]


def test_types_behave_as_they_were_learned(chain: MarkovChain, shop: Shop) -> None:
    sessions = crowd(chain, shop, np.arange(300)).sessions
    lengths = {code: np.mean([len(s.clicks) for s in sessions if s.code == code]) for code in range(3)}
    bought = {code: np.mean([s.outcome == "purchase" for s in sessions if s.code == code]) for code in range(3)}
    assert lengths[0] < 2.5 < lengths[1]
    assert bought[2] > 0.6 > 0.2 > bought[0]


def test_clicks_are_valid_events_in_rising_time(chain: MarkovChain, shop: Shop) -> None:
    for session in crowd(chain, shop, np.arange(60)).sessions:
        events = click_events(session, "run", "shop", "EUR")
        batch = ClickDecoder().decode([encode_click(event) for event in events]).batch
        assert not batch.fault.any()
        assert batch.client(0) == f"sim-run-{session.agent}"
        pauses = np.diff(session.times_ms)
        assert np.all((pauses > 0) & (pauses <= GAP_MS))
        assert session.left


def test_sessions_begin_within_the_span_and_in_the_moment_drawn(chain: MarkovChain, shop: Shop) -> None:
    morning = Span(MONDAY_MS + 9 * HOUR_MS, MONDAY_MS + 10 * HOUR_MS)
    starts = [session.times_ms[0] for session in crowd(chain, shop, np.arange(50), morning).sessions]
    assert all(morning.start_ms <= start < morning.end_ms for start in starts)
    # The toy shoppers all came on Monday between 15 and 18 o'clock UTC.
    week = [moment_of(session.times_ms[0]) for session in crowd(chain, shop, np.arange(200)).sessions]
    assert np.bincount(week).argmax() == 5


def test_a_shopper_who_never_leaves_is_cut(shop: Shop, vocabulary: Vocabulary) -> None:
    codes = np.zeros(4, np.int32)
    played = play(Stayer(vocabulary), vocabulary, Storefront(shop), np.arange(4), codes, WEEK, 1, GAP_MS)
    assert [len(session.clicks) for session in played.sessions] == [MAX_EVENTS] * 4
    assert not any(session.left for session in played.sessions)
    assert 0 < played.masked_mass < 1


def test_a_shop_that_serves_nothing_is_refused(chain: MarkovChain, shop: Shop) -> None:
    from dataclasses import replace

    closed = replace(shop, capabilities=replace(shop.capabilities, events=frozenset()))
    with pytest.raises(ShopError, match="nothing is served"):
        crowd(chain, closed, np.arange(2))


@pytest.mark.parametrize("unit", [0.0, 0.3, 0.999_999])
def test_a_span_places_a_time_in_the_moment_asked_for(unit: float) -> None:
    span = Span(MONDAY_MS + 90 * 60_000, MONDAY_MS + 2 * DAY_MS)
    for moment in np.flatnonzero(span.moments()):
        placed = span.place(int(moment), unit)
        assert span.start_ms <= placed < span.end_ms
        assert moment_of(placed) == moment


def test_what_is_not_served_goes_to_the_nearest_move_that_is(vocabulary: Vocabulary, shop: Shop) -> None:
    wish = "product_viewed:new:new:lower"
    wisher, agents = Wisher(vocabulary, wish), np.arange(30)
    played = play(wisher, vocabulary, Storefront(shop), agents, np.zeros(30, np.int32), WEEK, 1, GAP_MS)
    names = [[ACTIONS[action].name for action in session.actions] for session in played.sessions]
    # nothing has a price to be lower than at first: another price it is, in a new category all the same
    assert {first for first, *_ in names} == {"product_viewed:new:new:similar"}
    # then other categories while there are any, and in the end a product all the same rather than anything else
    assert all(name.startswith("product_viewed:new:") for session in names for name in session[:4])
    assert 0.0 < played.masked_mass < 1.0
