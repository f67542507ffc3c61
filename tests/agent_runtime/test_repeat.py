"""Equal seeds give equal runs, byte for byte, whatever is played together: each backend that answers row by row."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.backends import Rowwise
from agent_runtime.crowds.simulation import Plan, shop_hash, simulate
from agent_runtime.errors import ModelError, PopulationError, ShopError
from agent_runtime.models.local_model import LocalModel
from agent_runtime.models.markov import MarkovChain
from agent_runtime.models.new_models import TinyShape, tiny_model
from agent_runtime.models.replay import Repertoire, repertoire
from agent_runtime.models.small_llama import SmallLlama, load_small_llama
from agent_runtime.population.population import Mix
from agent_runtime.simulators.adapter import Adapter, adapted
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.played import Played
from agent_runtime.walk.rollout import Span, play

GAP_MS = 1_800_000
SPAN = Span(1_763_942_400_000, 1_763_942_400_000 + 7 * 86_400_000)
SHAPE = TinyShape(width=16, layers=2, heads=2, feed_forward=24)
CROWD = 90


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    model = tiny_model(vocabulary, SHAPE, 3)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3.0  # a model with opinions
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(llama_folder: Path, vocabulary: Vocabulary) -> SmallLlama:
    model = load_small_llama(llama_folder, vocabulary)
    assert model is not None
    return model


@pytest.fixture(scope="module")
def again(toy_traces: Traces, vocabulary: Vocabulary, shop: Shop) -> Repertoire:
    rows = token_rows(toy_traces, vocabulary, [shop.capabilities.flags()])
    return repertoire(rows, toy_traces.code, vocabulary, 0)


@pytest.fixture(scope="module")
def backends(chain: MarkovChain, again: Repertoire, llama: SmallLlama, vocabulary: Vocabulary) -> dict[str, Rowwise]:
    biased = adapted(llama, vocabulary, Adapter(np.linspace(-1, 1, 31), np.linspace(1, -1, 13)))
    assert isinstance(biased, Rowwise)
    return {"local": llama, "adapted": biased, "markov": chain, "replay": again}


def crowd(backend: Rowwise, shop: Shop, vocabulary: Vocabulary, agents: np.ndarray, seed: int, **how: int) -> Played:  # type: ignore[type-arg]
    codes = (agents % 3).astype(np.int32)
    return play(backend, vocabulary, Storefront(shop), agents, codes, SPAN, seed, GAP_MS, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["local", "adapted", "markov", "replay"])
@settings(max_examples=8, deadline=None)
@given(batch=st.integers(1, CROWD + 5), threads=st.integers(1, 3), seed=st.integers(0, 2**63))
def test_a_run_is_the_same_in_any_batches_and_threads(
    backends: dict[str, Rowwise], shop: Shop, vocabulary: Vocabulary, name: str, batch: int, threads: int, seed: int
) -> None:
    whole = crowd(backends[name], shop, vocabulary, np.arange(CROWD), seed)
    parts = crowd(backends[name], shop, vocabulary, np.arange(CROWD), seed, batch=batch, threads=threads)
    assert parts.fingerprint == whole.fingerprint
    assert parts.sessions == whole.sessions
    assert parts.masked_mass == whole.masked_mass


@pytest.mark.parametrize("name", ["local", "adapted", "markov", "replay"])
@settings(max_examples=8, deadline=None)
@given(agents=st.sets(st.integers(0, CROWD - 1), min_size=1, max_size=12))
def test_a_shopper_does_the_same_whoever_else_is_there(
    backends: dict[str, Rowwise], shop: Shop, vocabulary: Vocabulary, name: str, agents: set[int]
) -> None:
    whole = crowd(backends[name], shop, vocabulary, np.arange(CROWD), 7).sessions
    some = np.array(sorted(agents))
    assert crowd(backends[name], shop, vocabulary, some, 7).sessions == [whole[agent] for agent in some]
    assert crowd(backends[name], shop, vocabulary, some, 8).sessions != [whole[agent] for agent in some]


def test_coupled_draws_keep_the_chances_and_repeat(chain: MarkovChain, shop: Shop, vocabulary: Vocabulary) -> None:
    agents = np.arange(3_000)
    plain = crowd(chain, shop, vocabulary, agents, 1).sessions
    codes = (agents % 3).astype(np.int32)
    coupled = play(chain, vocabulary, Storefront(shop), agents, codes, SPAN, 1, GAP_MS, coupled=True)
    parts = play(chain, vocabulary, Storefront(shop), agents, codes, SPAN, 1, GAP_MS, coupled=True, batch=77)
    assert parts.fingerprint == coupled.fingerprint
    for code in range(3):
        bought = [
            np.mean([session.outcome == "purchase" for session in run if session.code == code])
            for run in (plain, coupled.sessions)
        ]
        assert bought[1] == pytest.approx(bought[0], abs=0.06)  # four standard errors of a thousand each


def test_the_compiled_model_is_the_one_of_transformers(
    llama_folder: Path, llama: SmallLlama, vocabulary: Vocabulary
) -> None:
    from transformers import AutoModelForCausalLM

    torch_model = LocalModel(AutoModelForCausalLM.from_pretrained(llama_folder), vocabulary)
    tokens = np.random.default_rng(0).integers(0, len(vocabulary), (9, vocabulary.longest))
    for length in (1, vocabulary.prompt_length, 20, 21, 22, vocabulary.longest):
        ours, theirs = llama.scores(tokens[:, :length]), torch_model.scores(tokens[:, :length])
        assert np.abs(theirs).max() > 1.0
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_a_replayed_shopper_does_what_a_session_of_its_type_did(
    again: Repertoire, shop: Shop, vocabulary: Vocabulary, toy_traces: Traces
) -> None:
    steps = toy_traces.steps
    real = {
        (int(code), tuple(steps.action[first:end].tolist()))
        for code, first, end in zip(toy_traces.code, steps.offsets[:-1], steps.offsets[1:], strict=True)
    }
    sessions = crowd(again, shop, vocabulary, np.arange(300), 2).sessions
    repeated = [(session.code, session.actions) in real for session in sessions]
    assert np.mean(repeated) > 0.75  # the rest wanted a price or category that was not left at this point
    assert len({session.actions for session in sessions}) > 10


def plan(shop: Shop, backend: str = "markov") -> Plan:
    mix = Mix("shop", "cb-test", 5, 100.0, {0: 0.5, 2: 0.5})
    return Plan(mix, "sim-1", shop_hash(shop), backend, 40, 7, SPAN.start_ms, 3_600_000, GAP_MS, 60_000)


def test_a_manifest_says_the_whole_run(chain: MarkovChain, shop: Shop, vocabulary: Vocabulary) -> None:
    import json

    first = plan(shop)
    second = Plan.of(json.loads(first.to_json()))
    assert (second, second.run_id) == (first, first.run_id)
    runs = [simulate(one, vocabulary, chain, shop, batch=batch) for one, batch in ((first, 40), (second, 9))]
    assert runs[0].fingerprint == runs[1].fingerprint
    second.check("sim-1", shop)


def test_a_manifest_with_an_adapter_says_the_whole_run(chain: MarkovChain, shop: Shop, vocabulary: Vocabulary) -> None:
    import json
    from dataclasses import replace

    biased = Adapter(np.linspace(-1, 1, 31), np.linspace(1, -1, 13))
    first = replace(plan(shop), adapter=biased.to_json())
    second = Plan.of(json.loads(first.to_json()))
    assert second.run_id == first.run_id != plan(shop).run_id
    fingerprints = [simulate(one, vocabulary, chain, shop).fingerprint for one in (first, second, plan(shop))]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_manifest_of_another_simulator_or_storefront_is_refused(shop: Shop) -> None:
    from dataclasses import replace

    with pytest.raises(ModelError, match="made by simulator sim-1, this one is sim-2; name the folder"):
        plan(shop).check("sim-2", shop)
    with pytest.raises(ShopError, match="storefront of shop is not as it was"):
        plan(shop).check("sim-1", replace(shop, queries=()))
    with pytest.raises(ModelError, match="tiles of 64, here they are of 128"):
        replace(plan(shop), tile=64).check("sim-1", shop)
    with pytest.raises(PopulationError, match="living population"):
        Plan.of({"live": True})
    with pytest.raises(PopulationError, match="not that of a simulation run"):
        Plan.of({"mix": {}})
