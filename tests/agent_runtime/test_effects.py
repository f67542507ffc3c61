"""Effects of a change on the same shoppers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.backends import Backend, Rowwise, Scores
from agent_runtime.errors import VariantError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.population.population import Mix
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.variants.effects import MEASURES, OVERALL, SHARE, Shift, effects
from agent_runtime.variants.page import page
from agent_runtime.variants.trial import Crowd, crowd_of, evened, try_variant, visit
from agent_runtime.variants.variant import Variant
from agent_runtime.vocabulary import Tokens, Vocabulary
from agent_runtime.walk.rollout import TILE, Span, play
from schemas.events import I32, I64
from tests.agent_runtime.conftest import CODEBOOK, START_MS

HOUR_MS = 3_600_000
#: Place of the checkout's flags in a prompt.
CHECKOUT_FLAGS = 2


@pytest.fixture(scope="module")
def crowd(chain: MarkovChain, vocabulary: Vocabulary) -> Crowd:
    """Two tiles of shoppers, the scripted chain deciding."""
    mix = Mix("shop", CODEBOOK, START_MS, 100.0, {0: 0.25, 1: 0.25, 2: 0.5})
    return crowd_of(chain, vocabulary, None, mix, 2 * TILE, Span(START_MS, START_MS + HOUR_MS), 3, 1_800_000)


def still(shoppers: int) -> Shift:
    """Nobody becomes another."""
    return Shift(np.ones(shoppers), np.empty((0, shoppers)))


def test_every_measure_of_all_and_of_each_persona() -> None:
    control, variant = np.zeros((6, 4)), np.zeros((6, 4))
    variant[:3, 0], control[:, 3] = 1.0, 100.0
    found = effects([(control, variant)], ["c00", "c00", "c00", "c01", "c01", "c01"], still(6), 0)
    assert [(one.persona, one.measure) for one in found] == [
        *((OVERALL, measure) for measure in MEASURES),
        *((persona, measure) for persona in ("c00", "c01") for measure in (*MEASURES, SHARE)),
    ]
    conversion, revenue = found[0], found[3]
    assert (conversion.difference, conversion.relative, conversion.sessions) == (0.5, None, 6)
    assert conversion.low < 0.5 < conversion.high
    assert (revenue.difference, revenue.low, revenue.high) == (-100.0, -100.0, -100.0) and revenue.is_clear
    assert (found[4].low, found[4].high) == (1.0, 1.0)
    share = found[8]
    assert (share.control, share.variant, share.low, share.high) == (0.5, 0.5, 0.0, 0.0)


def test_a_paired_interval_is_as_wide_as_the_differences_say() -> None:
    random = np.random.default_rng(1)
    buyers = random.normal(0.0, 50.0, (2_000, 1))
    control, variant = buyers + np.zeros((1, 4)), buyers + random.normal(1.0, 1.0, (2_000, 4))
    for one in effects([(control, variant)], ["c00"] * 2_000, still(2_000), 0)[:4]:
        assert one.high - one.low == pytest.approx(2 * 1.96 / np.sqrt(2_000), rel=0.15)
    # A mix known from 500 sessions says no more than those, however many shoppers are drawn from it.
    for one in effects([(control, variant)], ["c00"] * 2_000, still(2_000), 0, known=500.0)[:4]:
        assert one.high - one.low == pytest.approx(2 * 1.96 / np.sqrt(500), rel=0.15)


def test_rounds_are_averaged_and_their_disagreement_widens_the_interval() -> None:
    nothing = np.zeros((100, 4))
    agreed, split = (
        effects([(nothing, nothing + change) for change in changes], ["c00"] * 100, still(100), 0)[0]
        for changes in ((1.0, 1.0), (0.5, 1.5))
    )
    assert agreed.difference == split.difference == 1.0
    assert (agreed.low, agreed.high) == (1.0, 1.0) and (split.low, split.high) == (0.5, 1.5)


def test_a_shift_between_types_changes_the_mean_and_doubt_about_it_widens_the_interval() -> None:
    """Half of the shoppers are worth 1, half 0; the change makes the first three times as many as the second."""
    values = np.repeat([[1.0] * 4, [0.0] * 4], 500, axis=0)
    personas, weights = ["c00"] * 500 + ["c01"] * 500, np.repeat([1.5, 0.5], 500)
    sure, unsure = (
        effects([(values, values)], personas, Shift(weights, drawn), 0)
        for drawn in (np.empty((0, 1_000)), np.array([np.repeat([1.5 + d, 0.5 - d], 500) for d in (-0.4, 0.0, 0.4)]))
    )
    assert sure[0].difference == unsure[0].difference == pytest.approx(0.25)
    assert unsure[0].high - unsure[0].low > 3 * (sure[0].high - sure[0].low)
    share = next(one for one in unsure if (one.persona, one.measure) == ("c00", SHARE))
    assert (share.control, share.variant) == (0.5, 0.75) and share.low < 0.25 < share.high
    assert next(one for one in unsure if one.persona == "c00").difference == 0.0


def test_the_same_storefront_twice_has_no_effect(crowd: Crowd, shop: Shop) -> None:
    first, second = (visit(crowd, shop) for _ in range(2))
    assert first == second


def test_coupled_crowds_choose_by_the_same_chances(crowd: Crowd, shop: Shop) -> None:
    """Coupling changes which numbers are drawn, not how often what is chosen."""
    agents = np.arange(len(crowd.codes))
    both = [
        play(
            crowd.backend, crowd.vocabulary, Storefront(shop), agents, crowd.codes, crowd.span, 3, 1_800_000,
            coupled=coupled,
        ).sessions
        for coupled in (False, True)
    ]  # fmt: skip
    bought = [np.mean([session.outcome == "purchase" for session in sessions]) for sessions in both]
    assert bought[0] == pytest.approx(bought[1], abs=0.12) and both[0] != both[1]


def test_a_coupled_crowd_goes_other_ways_only_where_something_changed(crowd: Crowd, shop: Shop) -> None:
    change = Variant("no cart page", remove_steps=("cart_viewed",))
    before, after = visit(crowd, shop), visit(crowd, change.apply(shop))
    same = np.mean([a.actions == b.actions for a, b in zip(before, after, strict=True)])
    assert same > 0.5


class Flighty:
    """The chain, with another taste at every kind of checkout that it is told of."""

    def __init__(self, chain: Backend | Rowwise, vocabulary: Vocabulary) -> None:
        assert isinstance(chain, MarkovChain)
        self._chain, self._offset = chain, vocabulary.offset
        self._tastes = np.random.default_rng(0).normal(0.0, 2.0, (len(vocabulary), len(vocabulary)))

    def cast(self, seed: int, agents: I64, codes: I32) -> "Flighty":
        return self

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        taste = self._tastes[tokens[rows, CHECKOUT_FLAGS] - self._offset]
        return np.asarray(self._chain.scores(tokens[rows]) + taste, np.float32)


def test_what_lies_behind_the_checkout_changes_nothing_before_it(crowd: Crowd, shop: Shop) -> None:
    change = Variant("no payment step", remove_steps=("payment_info_submitted",))
    flighty = replace(crowd, backend=Flighty(crowd.backend, crowd.vocabulary))
    before, told = visit(flighty, shop), visit(flighty, change.apply(shop))
    after = visit(flighty, change.apply(shop), browsed=change.browsed(shop))

    def browsing(session: PlayedSession) -> tuple[int, ...]:
        begun = [place for place, action in enumerate(session.actions) if ACTIONS[action].event == "checkout_started"]
        return tuple(session.actions[: begun[0]] if begun else session.actions)

    assert [browsing(one) for one in after] == [browsing(one) for one in before]
    assert [browsing(one) for one in told] != [browsing(one) for one in before]
    assert [one.actions for one in after] != [one.actions for one in before]


def test_a_slower_page_takes_longer_and_nothing_else(crowd: Crowd, shop: Shop) -> None:
    quick, slow = visit(crowd, shop), visit(crowd, shop, 2_000)
    for a, b in zip(quick, slow, strict=True):
        assert a.actions == b.actions and a.times_ms[0] == b.times_ms[0]
        assert all(y - x == 2_000 * i for i, (x, y) in enumerate(zip(a.times_ms, b.times_ms, strict=True)))


def test_what_was_never_told_cannot_be_tried(crowd: Crowd, shop: Shop) -> None:
    with pytest.raises(VariantError, match="finetune it with --storefronts"):
        try_variant(crowd, shop, Variant("dearer", price_factor=1.1))


def test_the_page_stands_alone_and_says_every_figure(crowd: Crowd, shop: Shop) -> None:
    found = try_variant(crowd, shop, Variant("no cart page", remove_steps=("cart_viewed",)))
    text = page("a <b> title", "facts & figures", found, {"c00": "those who look"}, "EUR")
    assert "a &lt;b&gt; title" in text and "facts &amp; figures" in text and "those who look (c00)" in text
    assert "http" not in text and "<script" not in text
    assert text.count("<svg") == len(MEASURES) + 1 and text.count("<circle") == len(found)


@given(quantities=st.lists(st.integers(2, 9_999), min_size=1, max_size=100))
def test_evened_quantities_have_the_same_sum_and_differ_by_one(quantities: list[int]) -> None:
    even = evened(tuple(quantities))
    assert len(even) == len(quantities) and sum(even) == sum(quantities)
    assert even[-1] - even[0] <= 1 and list(even) == sorted(even)
