"""Figures of the round trip."""

import math

import numpy as np
import pytest

from agent_runtime.crowds.fidelity import fidelity, jensen_shannon, session_batch
from agent_runtime.errors import PopulationError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.retrace import retrace
from agent_runtime.walk.rollout import Span, play

pytestmark = pytest.mark.fast


def test_types_are_compared_by_their_coarse_part() -> None:
    figures = fidelity(["c00.f0", "c00.f1", "c01.f0", "c01.f0"], ["c00.f0", "c00.f0", "c01.f0", "c00.f0"])
    assert (figures.sessions, figures.own_type, figures.own_code) == (4, 0.75, 0.5)
    assert figures.by_type == {"c00": 1.0, "c01": 0.5}
    assert figures.js_nats == pytest.approx(0.0339, abs=1e-4)


def test_the_divergence_runs_from_nothing_to_ln_two() -> None:
    same, other = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])
    assert jensen_shannon(same, same) == 0
    assert jensen_shannon(same, other) == pytest.approx(math.log(2))


def test_no_session_back_is_said_plainly() -> None:
    with pytest.raises(PopulationError, match="No simulated session has come back"):
        fidelity([], [])


def test_played_sessions_reach_the_encoder_as_they_were_played(chain: MarkovChain, shop: Shop) -> None:
    codes = np.zeros(20, np.int32)
    span = Span(1_764_000_000_000, 1_764_003_600_000)
    played = play(chain, chain.vocabulary, Storefront(shop), np.arange(20), codes, span, 1, 1_800_000)
    batch = session_batch(played.sessions, "shop")
    assert np.diff(batch.offsets).tolist() == [len(session.clicks) for session in played.sessions]
    assert retrace(batch).action.tolist() == [a for session in played.sessions for a in session.actions]
