"""A language model trained on the toy log, its folder, and its use as a backend."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from agent_runtime.backends import Backend
from agent_runtime.errors import ModelError, TraceError
from agent_runtime.models.local_model import LocalModel
from agent_runtime.models.markov import MarkovChain
from agent_runtime.models.new_models import TinyShape, base_model, extended, tiny_model
from agent_runtime.simulators.finetune import FinetuneOptions, finetune
from agent_runtime.simulators.simulator import (
    LOCAL,
    MARKOV,
    MODEL_FOLDER,
    check_player,
    load_simulator,
    write_simulator,
)
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.rollout import Span, play
from tests.untrained import write_untrained

CPU = torch.device("cpu")
SHAPE = TinyShape(width=16, layers=1, heads=2, feed_forward=32)
OPTIONS = FinetuneOptions(epochs=12, batch_tokens=256, learning_rate=2e-2)
SPAN = Span(1_764_000_000_000, 1_764_003_600_000)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def rows(toy_traces: Traces, vocabulary: Vocabulary, shop: Shop) -> list[np.ndarray]:  # type: ignore[type-arg]
    return token_rows(toy_traces, vocabulary, [shop.capabilities.flags()])


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, rows: list, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> Path:  # type: ignore[type-arg]
    trained = finetune(tiny_model(vocabulary, SHAPE, 0), vocabulary, rows, OPTIONS, CPU)
    target = tmp_path_factory.mktemp("simulator") / "simulator"
    write_simulator(target, vocabulary, chain, [shop], trained.model, {"figures": trained.figures})
    return target


def test_training_teaches_what_the_types_do(folder: Path, shop: Shop) -> None:
    simulator = load_simulator(folder)
    backend = simulator.backend(LOCAL)
    codes = np.repeat(np.array([0, 1, 2], np.int32), 40)
    sessions = play(backend, simulator.vocabulary, Storefront(shop), np.arange(120), codes, SPAN, 3, 1_800_000).sessions
    lengths = [np.mean([len(s.clicks) for s in sessions if s.code == code]) for code in range(3)]
    bought = [np.mean([s.outcome == "purchase" for s in sessions if s.code == code]) for code in range(3)]
    assert lengths[0] < 2 < lengths[1]
    assert bought[2] > 0.5 > bought[1]


def test_equal_seeds_train_equal_weights(rows: list, vocabulary: Vocabulary) -> None:  # type: ignore[type-arg]
    options = FinetuneOptions(epochs=1, batch_tokens=512)
    first, second = (finetune(tiny_model(vocabulary, SHAPE, 4), vocabulary, rows, options, CPU) for _ in range(2))
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("width", "rate"), [(16, 1.6e-2), (32, 8e-3)])
def test_a_fresh_model_learns_the_slower_the_wider_it_is(
    rows: list,  # type: ignore[type-arg]
    vocabulary: Vocabulary,
    width: int,
    rate: float,
) -> None:
    model = tiny_model(vocabulary, replace(SHAPE, width=width), 0)
    trained = finetune(model, vocabulary, rows, FinetuneOptions(epochs=1, batch_tokens=512), CPU)
    assert trained.options["learning_rate"] == pytest.approx(rate)


def test_few_sessions_are_read_more_often(rows: list, vocabulary: Vocabulary) -> None:  # type: ignore[type-arg]
    trained = finetune(tiny_model(vocabulary, SHAPE, 0), vocabulary, rows, FinetuneOptions(batch_tokens=512), CPU)
    assert trained.options["epochs"] == 15
    assert trained.figures["steps"] % 15 == 0


def test_the_first_stage_moves_only_the_words(rows: list, vocabulary: Vocabulary) -> None:  # type: ignore[type-arg]
    model = tiny_model(vocabulary, SHAPE, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = FinetuneOptions(epochs=1, batch_tokens=512, rows_share=1.0)
    after = finetune(model, vocabulary, rows, options, CPU).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model.embed_tokens.weight", "lm_head.weight"}


def test_a_row_that_counts_nothing_teaches_nothing(
    rows: list,  # type: ignore[type-arg]
    vocabulary: Vocabulary,
    toy_traces: Traces,
) -> None:
    model = tiny_model(vocabulary, SHAPE, 0)
    before = model.get_input_embeddings().weight.detach().clone()
    weights = (toy_traces.code != 2).astype(np.float64)
    options = FinetuneOptions(epochs=1, batch_tokens=512)
    after = finetune(model, vocabulary, rows, options, CPU, weights=weights).model.get_input_embeddings().weight
    ignored, learnt = (vocabulary.id(f"<{vocabulary.code_paths[code]}>") for code in (2, 1))
    assert torch.equal(after[ignored], before[ignored])
    assert not torch.equal(after[learnt], before[learnt])


def test_storefronts_unlike_any_learnt_from_are_told_by_the_nearest(
    rows: list,  # type: ignore[type-arg]
    vocabulary: Vocabulary,
    shop: Shop,
) -> None:
    model = tiny_model(vocabulary, SHAPE, 0)
    table = finetune(model, vocabulary, rows, OPTIONS, CPU).model.get_input_embeddings().weight
    seen = vocabulary.id(f"<shop3:{shop.capabilities.flags()[3]}>")
    for bits in range(4):
        assert torch.equal(table[vocabulary.id(f"<shop3:{bits}>")], table[seen])


def test_who_goes_on_keeps_what_other_storefronts_taught(
    folder: Path,
    rows: list,  # type: ignore[type-arg]
    vocabulary: Vocabulary,
) -> None:
    model, words = load_simulator(folder).to_go_on(vocabulary)
    unseen = vocabulary.id("<shop3:1>")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = finetune(model, words, rows, replace(OPTIONS, learning_rate=None, goes_on=True), CPU)
    table = model.get_input_embeddings().weight
    assert trained.options["learning_rate"] == pytest.approx(0.5 * 1.6e-2)
    assert torch.equal(table[unseen], before["model.embed_tokens.weight"][unseen])
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("batches", "fresh", "more"), [(1, 15, 50), (20, 15, 15), (150, 10, 3), (2_000, 3, 3)])
def test_passes_make_the_steps_that_a_model_needs(batches: int, fresh: int, more: int) -> None:
    assert FinetuneOptions().passes(batches) == fresh
    assert FinetuneOptions(goes_on=True).passes(batches) == more
    assert FinetuneOptions(epochs=2, goes_on=True).passes(batches) == 2


def test_a_pretrained_model_gets_the_words_appended(tmp_path: Path, rows: list, vocabulary: Vocabulary) -> None:  # type: ignore[type-arg]
    tiny_model(Vocabulary("cb-other", ("c00.f0",)), SHAPE, 1).save_pretrained(tmp_path / "base")
    model, words = extended(base_model(str(tmp_path / "base")), vocabulary)
    assert words.offset == len(Vocabulary("cb-other", ("c00.f0",)))
    moved = [row + words.offset for row in rows]
    kept = model.get_input_embeddings().weight[: words.offset].detach().clone()
    options = FinetuneOptions(epochs=1, batch_tokens=512, rows_share=1.0)
    figures = finetune(model, words, moved, options, CPU).figures
    assert figures["held_out_nats_per_session"] < 60
    assert torch.equal(model.get_input_embeddings().weight[: words.offset], kept)
    scores = LocalModel(model, words).scores(np.array([words.prompt((7, 7, 7, 3), 1)]))
    assert scores.shape == (1, len(words))


def test_answers_do_not_depend_on_the_cache(folder: Path, rows: list) -> None:  # type: ignore[type-arg]
    simulator = load_simulator(folder)
    cached, fresh = simulator.backend(LOCAL), simulator.backend(LOCAL)
    tokens = np.stack([row[:9] for row in rows[:6]])
    for end in range(6, 10):
        stepwise = cached.scores(tokens[:, :end])
    assert np.allclose(stepwise, fresh.scores(tokens), atol=1e-5)
    other = tokens[::-1].copy()
    assert np.allclose(cached.scores(other[:, :8]), fresh.scores(other[:, :8]), atol=1e-5)


def test_a_model_run_replays_exactly_whatever_its_size(folder: Path, shop: Shop) -> None:
    simulator = load_simulator(folder)

    def run(agents: np.ndarray) -> list:  # type: ignore[type-arg]
        backend: Backend = simulator.backend(LOCAL)
        codes = (agents % 3).astype(np.int32)
        return play(backend, simulator.vocabulary, Storefront(shop), agents, codes, SPAN, 5, 1_800_000).sessions

    whole = run(np.arange(150))
    assert run(np.arange(150)) == whole
    assert run(np.array([7, 130])) == [whole[7], whole[130]]


def test_too_few_sessions_are_refused(rows: list, vocabulary: Vocabulary) -> None:  # type: ignore[type-arg]
    with pytest.raises(TraceError, match="too few"):
        finetune(tiny_model(vocabulary, SHAPE, 0), vocabulary, rows[:1], OPTIONS, CPU)


def test_a_scripted_simulator_says_that_it_has_no_model(
    tmp_path: Path, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> None:
    write_simulator(tmp_path / "s", vocabulary, chain, [shop], None, {})
    simulator = load_simulator(tmp_path / "s")
    assert simulator.shops == {"shop": shop}
    prompt = np.array([vocabulary.prompt(shop.capabilities.flags(), 0)])
    assert np.array_equal(simulator.backend(MARKOV).scores(prompt), chain.scores(prompt))
    with pytest.raises(ModelError, match="only the scripted backends; choose markov or replay"):
        simulator.backend(LOCAL)
    with pytest.raises(ModelError, match="--backend oracle: not known; choose local, text, markov, replay, or openai"):
        simulator.backend("oracle")


def test_equal_content_has_an_equal_version_and_replaces_what_was_there(
    tmp_path: Path, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> None:
    first = write_simulator(tmp_path / "s", vocabulary, chain, [shop], None, {"seed": 1})
    again = write_simulator(tmp_path / "s", vocabulary, chain, [shop], None, {"seed": 1})
    other = write_simulator(tmp_path / "s", vocabulary, chain, [], None, {"seed": 1})
    assert first == again != other
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no simulator there"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not a simulator's manifest"),
        (lambda folder: (folder / "markov.npz").unlink(), "missing from the simulator"),
        (lambda folder: (folder / MODEL_FOLDER / "config.json").write_text("{}"), "hash differs"),
    ],
)
def test_a_damaged_folder_is_refused_by_the_file(folder: Path, tmp_path: Path, damage: object, sentence: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    damage(copy)  # type: ignore[operator]
    with pytest.raises(ModelError, match=sentence):
        load_simulator(copy)


def test_a_folder_with_other_things_in_it_is_left_alone(
    tmp_path: Path, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(ModelError, match="holds something that is no simulator"):
        write_simulator(tmp_path / "letters", vocabulary, chain, [shop], None, {})
    assert (tmp_path / "letters" / "dear.txt").read_text() == "Dear"


def test_an_encoder_is_no_simulator_to_replace(
    tmp_path: Path, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> None:
    write_untrained(tmp_path / "encoder", 1)
    before = {path: path.read_bytes() for path in (tmp_path / "encoder").iterdir()}
    with pytest.raises(ModelError, match="holds something that is no simulator"):
        write_simulator(tmp_path / "encoder", vocabulary, chain, [shop], None, {})
    assert {path: path.read_bytes() for path in (tmp_path / "encoder").iterdir()} == before


def test_only_a_simulator_with_a_language_model_is_compared(
    tmp_path: Path, vocabulary: Vocabulary, chain: MarkovChain, shop: Shop
) -> None:
    write_simulator(tmp_path / "scripted", vocabulary, chain, [shop], None, {})
    with pytest.raises(ModelError, match="holds no language model"):
        check_player(tmp_path / "scripted", vocabulary.codebook_version)
    with pytest.raises(ModelError, match="knows codebook cb-test, the encoder is cb-other"):
        check_player(tmp_path / "scripted", "cb-other")


def test_a_base_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no causal language model to start from"):
        base_model(str(tmp_path / "nothing"))


def test_a_base_that_cannot_be_fetched_is_not_told_in_words_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise RuntimeError("Cannot send a request, as the client has been closed.")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", closed)
    with pytest.raises(ModelError, match=r"^no/such: no causal .* none could be fetched; give a folder"):
        base_model("no/such")


def test_the_manifest_names_codebook_and_figures(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["codebook_version"] == "cb-test"
    assert manifest["figures"]["training_sessions"] == 114
    assert set(manifest["files"]) >= {"markov.npz", "shops.jsonl", "vocabulary.json", "model/config.json"}
