"""The storefront adapter: it learns how a shop differs, and nothing where it does not."""

import json
from pathlib import Path

import numpy as np
import pytest

from agent_runtime.errors import ModelError, PopulationError
from agent_runtime.models.decisions import Choices, Decisions, decisions
from agent_runtime.models.markov import MarkovChain, fit_markov
from agent_runtime.simulators.adapter import (
    ACTION_DEVIATIONS,
    DEVIATION,
    EVENTS_ALONE,
    Adapter,
    _fit,
    _move_prior,
    adapted,
    fit_adapter,
    fit_biases,
    learn_adapter,
)
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS, PACES
from agent_runtime.storefront.shop import Shop, observe_shops
from agent_runtime.traces.held_out import record
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Vocabulary
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from tests.untrained import write_untrained

pytestmark = pytest.mark.fast
MOVES = len(ACTIONS) + 1


def drawn(bias: np.ndarray, count: int, seed: int) -> Choices:
    """Choices of a backend that is off by ``bias``."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, MOVES))
    allowed = random.random((count, MOVES)) < 0.8
    allowed[:, 0] = True
    noise = random.gumbel(size=scores.shape)
    chosen = np.where(allowed, scores + bias + noise, -np.inf).argmax(axis=1)
    return Choices(scores, allowed, chosen)


def no_pauses() -> Choices:
    return Choices(np.empty((0, PACES)), np.empty((0, PACES), bool), np.empty(0, np.int64))


def test_a_bias_that_was_planted_is_found() -> None:
    planted = np.zeros(MOVES)
    planted[[3, -1]] = 1.0, -0.8
    found = fit_biases(Decisions(drawn(planted, 20_000, 1), no_pauses())).moves
    assert found - found.mean() == pytest.approx(planted - planted.mean(), abs=0.15)


def test_it_foretells_sessions_that_it_was_not_fitted_on() -> None:
    planted = np.random.default_rng(7).normal(size=MOVES)
    found = fit_biases(Decisions(drawn(planted, 4_000, 1), no_pauses())).moves
    unseen = drawn(planted, 4_000, 2)
    assert unseen.losses(found).mean() < unseen.losses(np.zeros(MOVES)).mean() - 0.05
    assert unseen.losses(found).mean() == pytest.approx(unseen.losses(planted).mean(), abs=0.02)


def test_few_sessions_say_of_an_action_what_they_say_of_its_event_and_many_what_it_does() -> None:
    views = slice(ACTION_INDEX["product_viewed:new:same:lower"], ACTION_INDEX["product_viewed:return:higher"] + 1)
    planted = np.zeros(MOVES)
    planted[views] = 1.0
    found = fit_biases(Decisions(drawn(planted, 400, 1), no_pauses())).moves
    alone = _flat(drawn(planted, 400, 1))
    assert found[views].std() < 0.5 * alone[views].std()
    planted[views] = 0.6 * np.random.default_rng(3).normal(size=views.stop - views.start)
    found = fit_biases(Decisions(drawn(planted, 8_000, 1), no_pauses())).moves
    assert (found - found.mean())[views] == pytest.approx((planted - planted.mean())[views], abs=0.3)
    few = fit_biases(Decisions(drawn(planted, 8_000, 1), no_pauses()), EVENTS_ALONE).moves
    assert few[views].std() < 0.1 * found[views].std()


def _flat(seen: Choices) -> np.ndarray:
    """The biases when no action is told anything by its neighbours."""
    return _fit(seen, DEVIATION**2 * np.eye(MOVES)).bias


@pytest.mark.parametrize("far", [3.0, 10.0, 30.0])
def test_a_backend_that_is_far_off_is_brought_back(far: float) -> None:
    random = np.random.default_rng(3)
    scores = random.normal(size=(2_000, MOVES))
    scores[:, :5] += far  # what the backend all but always does, nobody does here
    allowed = np.ones((2_000, MOVES), bool)
    seen = Choices(scores, allowed, random.integers(5, MOVES, 2_000))
    found = fit_biases(Decisions(seen, no_pauses())).moves
    # what differs within an event as much as this is likeliest under the widest prior
    precision = np.linalg.inv(_move_prior(ACTION_DEVIATIONS[-1]))
    losses = [
        seen.losses(bias).mean() + bias @ precision @ bias / 4_000 for bias in (found, found * 1.01, found * 0.99)
    ]
    assert losses[0] == min(losses)
    assert losses[0] < seen.losses(np.zeros(MOVES)).mean()


def test_without_any_session_nothing_is_changed() -> None:
    adapter = fit_biases(Decisions(drawn(np.zeros(MOVES), 0, 1), no_pauses()))
    assert not adapter.moves.any()
    assert not adapter.pauses.any()


def test_real_sessions_are_read_out_choice_by_choice(chain: MarkovChain, toy_traces: Traces, shop: Shop) -> None:
    vocabulary, flags = chain.vocabulary, shop.capabilities.flags()
    rows = token_rows(toy_traces, vocabulary, [flags])
    seen = decisions(chain, vocabulary, rows, shop.capabilities)
    moves = toy_traces.steps.offsets[-1]
    assert len(seen.moves) == moves + len(toy_traces)  # every action, and leaving once a session
    assert len(seen.pauses) == moves - len(toy_traces)
    assert (seen.moves.chosen == MOVES - 1).sum() == len(toy_traces)
    assert seen.moves.allowed[np.arange(len(seen.moves)), seen.moves.chosen].all()
    assert seen.moves.accuracy(np.zeros(MOVES)) > 0.6
    # a checkout is on offer from the first thing in the cart to the purchase: at two moves of each buyer's
    checkout = [action.event == "checkout_started" for action in ACTIONS]
    assert seen.moves.allowed[:, :-1][:, checkout].sum() == 2 * (toy_traces.code == 2).sum()


def test_the_biases_reach_the_scores_of_their_words(chain: MarkovChain, toy_traces: Traces, shop: Shop) -> None:
    vocabulary = chain.vocabulary
    rows = token_rows(toy_traces, vocabulary, [shop.capabilities.flags()])
    adapter = Adapter(np.arange(MOVES, dtype=np.float64), 100.0 + np.arange(PACES))
    tokens = np.tile(rows[0][: vocabulary.prompt_length], (4, 1))
    added = adapted(Even(len(vocabulary)), vocabulary, adapter).scores(tokens)
    first, end = vocabulary.ranges["action"]
    assert added[0, first:end].tolist() == list(range(MOVES - 1))
    assert added[0, vocabulary.leave] == MOVES - 1
    assert added[0, slice(*vocabulary.ranges["pace"])].tolist() == (100.0 + np.arange(PACES)).tolist()
    assert added.sum() == pytest.approx(4 * (sum(range(MOVES)) + (100.0 + np.arange(PACES)).sum()))
    assert fit_adapter(chain, vocabulary, rows, shop.capabilities).moves.shape == (MOVES,)


def test_it_is_learnt_from_a_storefronts_own_sessions_alone(toy_log: tuple[Path, Path], tmp_path: Path) -> None:
    events, _ = toy_log
    encoder = Encoder.load(write_untrained(tmp_path / "encoder", 1))
    words = Vocabulary(encoder.version, tuple(encoder.code_paths))
    [shop] = observe_shops([events], 1_800_000)
    log = read_sessions([events], 1_800_000, 512)
    traces = record(log, encoder).traces
    rows, chain = token_rows(traces, words, [shop.capabilities.flags()]), fit_markov(traces, words)
    assert learn_adapter(chain, words, log, encoder, shop).moves == pytest.approx(
        fit_adapter(chain, words, rows, shop.capabilities).moves
    )
    with pytest.raises(PopulationError, match="no session of elsewhere to adapt to"):
        learn_adapter(chain, words, log, encoder, Shop("elsewhere", "EUR", shop.products, (), shop.capabilities))
    with pytest.raises(ModelError, match="knows codebook cb-other, the encoder is"):
        learn_adapter(chain, Vocabulary("cb-other", words.code_paths), log, encoder, shop)


def test_a_manifest_holds_it_to_the_last_bit() -> None:
    adapter = Adapter(np.random.default_rng(1).normal(size=MOVES), np.random.default_rng(2).normal(size=PACES))
    again = Adapter.of(json.loads(json.dumps(adapter.to_json())))
    assert again.moves.tobytes() == adapter.moves.tobytes()
    assert again.pauses.tobytes() == adapter.pauses.tobytes()
    with pytest.raises(PopulationError, match="cannot be read"):
        Adapter.of({"moves": []})
    with pytest.raises(PopulationError, match="other actions"):
        Adapter.of({"moves": [0.0], "pauses": [0.0] * PACES})


class Even:
    """A backend to which everything is as likely."""

    def __init__(self, size: int) -> None:
        self._size = size

    def scores(self, tokens: np.ndarray) -> np.ndarray:
        return np.zeros((len(tokens), self._size), np.float32)
