"""Sessions as text: lossless, answered from the tree of offered actions alone, and played like any other backend."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config

from agent_runtime.backends import Backend, Kind, Rowwise, kind_at
from agent_runtime.errors import ModelError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.models.new_models import TinyShape
from agent_runtime.simulators.finetune import FinetuneOptions, finetune, held_out_nats
from agent_runtime.simulators.low_rank import add_low_rank, merge_low_rank
from agent_runtime.simulators.simulator import LOCAL, TEXT, TEXT_FOLDER, load_simulator, write_simulator
from agent_runtime.storefront.actions import ACTIONS, PACES
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.text.form import TextForm
from agent_runtime.text.model import TextModel
from agent_runtime.text.torch_reader import TorchReaders, load_text_torch
from agent_runtime.text.training import TextPair, extended_text_model, small_text_model, small_tokenizer
from agent_runtime.text.trie import Trie
from agent_runtime.traces.chat import conversations, read_conversation
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from agent_runtime.walk.rollout import Span, play
from schemas.taxonomy import EVENT_CODES

CPU = torch.device("cpu")
SHAPE = TinyShape(width=16, layers=1, heads=2, feed_forward=32)
OPTIONS = FinetuneOptions(epochs=12, batch_tokens=1_024, learning_rate=2e-2)
SPAN = Span(1_764_000_000_000, 1_764_003_600_000)
GAP_MS = 1_800_000


@pytest.fixture(scope="module")
def texts(toy_traces: Traces, vocabulary: Vocabulary, shop: Shop) -> list[str]:
    told = conversations(toy_traces, vocabulary.code_paths, {"shop": shop.capabilities})
    return [message["content"] for line in told for message in line["messages"]]


@pytest.fixture(scope="module")
def form(texts: list[str], vocabulary: Vocabulary) -> TextForm:
    return TextForm(small_tokenizer(texts), vocabulary)


@pytest.fixture(scope="module")
def rows(toy_traces: Traces, vocabulary: Vocabulary, shop: Shop) -> list[Tokens]:
    return token_rows(toy_traces, vocabulary, [shop.capabilities.flags()])


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    rows: list[Tokens],
    vocabulary: Vocabulary,
    chain: MarkovChain,
    shop: Shop,
) -> Path:
    torch.set_num_threads(1)
    model, form = small_text_model(texts, vocabulary, SHAPE, 0)
    trained = finetune(model, form, [form.row(row) for row in rows], OPTIONS, CPU)
    target = tmp_path_factory.mktemp("text") / "simulator"
    pair = TextPair(trained.model, form.tokenizer)
    write_simulator(target, vocabulary, chain, [shop], pair, {"figures": trained.figures}, form=TEXT)
    return target


def messages(form: TextForm, text: Tokens) -> list[dict[str, str]]:
    """Return a session's text cut at its markers, the buyer type's tokens read as its path."""
    whole = form.tokenizer.decode(text.tolist(), skip_special_tokens=False)
    for code, path in enumerate(form.vocabulary.code_paths):
        whole = whole.replace("".join(form.vocabulary.persona(code)), path)
    for role in ("system", "user", "assistant"):
        whole = whole.replace(f"<|{role}|>", f"\n{role} ")
    return [dict(zip(("role", "content"), line.split(" ", 1), strict=True)) for line in whole.strip().splitlines()]


def test_a_session_as_text_is_the_conversation_of_the_chat_format(
    form: TextForm, rows: list[Tokens], toy_traces: Traces, vocabulary: Vocabulary, shop: Shop
) -> None:
    lines = conversations(toy_traces, vocabulary.code_paths, {"shop": shop.capabilities})
    for row, line in zip(rows, lines, strict=True):
        assert messages(form, form.row(row)) == line["messages"]


@settings(max_examples=40, deadline=None)
@given(
    actions=st.lists(st.integers(0, len(ACTIONS) - 1), min_size=1, max_size=MAX_EVENTS),
    paces=st.lists(st.integers(0, PACES - 1), min_size=MAX_EVENTS, max_size=MAX_EVENTS),
    code=st.integers(0, 2),
)
def test_any_session_comes_back_whole(
    form: TextForm, vocabulary: Vocabulary, actions: list[int], paces: list[int], code: int
) -> None:
    first, pace = vocabulary.ranges["action"][0], vocabulary.ranges["pace"][0]
    traits = [vocabulary.ranges[kind][0] for kind in ("device", "referrer", "moment")]
    moves = [first + actions[0]]
    for action, pause in zip(actions[1:], paces, strict=False):
        moves += [first + action, pace + pause]
    row = np.array([*vocabulary.prompt((7, 7, 7, 3), code), *traits, *moves, vocabulary.leave], np.int64)
    text = form.row(row)
    told = read_conversation(messages(form, text))
    assert told.actions == tuple(actions)
    assert told.pauses == tuple(paces[: len(actions) - 1])
    assert told.code_path == vocabulary.code_paths[code]
    assert len(text) <= form.longest


def test_only_the_shoppers_own_answers_are_learnt(form: TextForm, rows: list[Tokens]) -> None:
    text = form.row(rows[0])
    padded = np.append(text, [form.pad] * 5)[None]
    learnt = padded[0][form.targets(padded, -100)[0] != -100]
    said = [message["content"] for message in messages(form, text) if message["role"] == "assistant"]
    assert form.tokenizer.decode(learnt.tolist()) == "".join(said)


def test_buyer_types_are_tokens_of_their_own(form: TextForm) -> None:
    for name in form.vocabulary.personas:
        assert form.ids(f'{{"type":"{name}"}}').count(form.tokenizer.token_to_id(name)) == 1


@settings(max_examples=60, deadline=None)
@given(
    answers=st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=2, max_size=12),
    seed=st.integers(0, 9),
)
def test_a_tree_gives_every_answer_the_product_of_its_branches(answers: set[tuple[int, ...]], seed: int) -> None:
    listed = [(*answer, 9) for answer in sorted(answers)]  # ended, so that none begins another
    trie = Trie.of(listed)
    logits = np.random.default_rng(seed).normal(size=(3, len(trie.branches))).astype(np.float32)
    chances = trie.chances(logits)
    assert np.allclose(np.exp(chances).sum(axis=1), 1.0, atol=1e-5)
    for answer, way in zip(listed, trie.ways, strict=True):
        beside = [{other[end] for other in listed if other[:end] == answer[:end]} for end in range(len(answer))]
        told = [token for token, choice in zip(answer, beside, strict=True) if len(choice) > 1]
        assert trie.branches[way[way >= 0]].tolist() == told
    assert np.array_equal(trie.chances(logits[1:2]), chances[1:2])


def test_answers_of_which_one_begins_another_are_refused() -> None:
    with pytest.raises(ModelError, match="writes two answers alike"):
        Trie.of([(1, 2), (1, 2, 3)])


def crowd(backend: Backend | Rowwise, vocabulary: Vocabulary, shop: Shop, agents: np.ndarray, **how: int) -> list:  # type: ignore[type-arg]
    codes = (agents % 3).astype(np.int32)
    return play(backend, vocabulary, Storefront(shop), agents, codes, SPAN, 5, GAP_MS, **how).sessions  # type: ignore[arg-type]


def test_training_teaches_what_the_types_do(folder: Path, shop: Shop, vocabulary: Vocabulary) -> None:
    sessions = crowd(load_simulator(folder).backend(TEXT), vocabulary, shop, np.arange(150))
    lengths = [np.mean([len(s.clicks) for s in sessions if s.code == code]) for code in range(3)]
    bought = [np.mean([s.outcome == "purchase" for s in sessions if s.code == code]) for code in range(3)]
    assert lengths[0] < 2 < lengths[1]
    assert bought[2] > 0.5 > bought[1]


def test_equal_seeds_give_equal_runs_in_any_batches(folder: Path, shop: Shop, vocabulary: Vocabulary) -> None:
    backend = load_simulator(folder).backend(TEXT)
    whole = crowd(backend, vocabulary, shop, np.arange(90))
    assert crowd(backend, vocabulary, shop, np.arange(90), batch=13, threads=2) == whole
    assert crowd(backend, vocabulary, shop, np.array([7, 60])) == [whole[7], whole[60]]


@settings(max_examples=10, deadline=None)
@given(served=st.sets(st.sampled_from(sorted(EVENT_CODES)), max_size=5), seed=st.integers(0, 99))
def test_only_what_is_offered_is_done(
    texts: list[str], chain: MarkovChain, shop: Shop, vocabulary: Vocabulary, served: set[str], seed: int
) -> None:
    """A model that knows nothing, at storefronts that serve little."""
    model, form = small_text_model(texts, vocabulary, SHAPE, seed)
    events = frozenset(served | {"product_viewed"})
    small = replace(shop, capabilities=replace(shop.capabilities, events=events))
    for session in crowd(TextModel(TorchReaders(model), form, chain), vocabulary, small, np.arange(12)):
        visit = Visit(Storefront(small), 5, session.agent)
        for action in session.actions:
            visit.take(ACTIONS[action])  # raises what is not served


def of_kind(kind: str, form: TextForm) -> Any:
    """Return a fresh tiny model of another kind than the compiled one."""
    torch.manual_seed(0)
    common: dict[str, Any] = {"vocab_size": form.size, "bos_token_id": None, "eos_token_id": None}
    if kind == "gpt2":
        config: Any = GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=form.longest, **common)
    else:
        shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
        config = Qwen2Config(**shape, **heads, max_position_embeddings=form.longest, **common)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3.0  # a model with opinions
    return model


def one_by_one(model: Any, text: list[int], answers: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the answers' log-probabilities, each read on its own: at every token only what may follow counts."""
    told = []
    for answer in answers:
        logits = model(input_ids=torch.tensor([text + list(answer)])).logits[0].double()
        total = 0.0
        for end, token in enumerate(answer):
            allowed = sorted({other[end] for other in answers if other[:end] == answer[:end]})
            line = logits[len(text) - 1 + end]
            total += float(line[token] - torch.logsumexp(line[allowed], 0))
        told.append(total)
    return told


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
@torch.no_grad()
def test_the_tree_read_at_once_is_every_answer_read_by_itself(
    kind: str, form: TextForm, rows: list[Tokens], chain: MarkovChain, vocabulary: Vocabulary
) -> None:
    model = of_kind(kind, form)
    backend = TextModel(TorchReaders(model), form, chain)
    chosen = [rows[0], rows[1], rows[2]]  # one, four and five clicks: texts of unequal lengths
    longest = max(map(len, chosen))
    tokens = np.array([[*row, *[vocabulary.pad] * (longest - len(row))] for row in chosen])
    action, pace = (slice(*vocabulary.ranges[kind]) for kind in ("action", "pace"))
    for end in range(vocabulary.prompt_length, longest):
        scores = backend.scores(tokens[:, :end])
        for place, row in enumerate(chosen):
            kind_here = kind_at(end, vocabulary)
            if end >= len(row) or kind_here not in (Kind.FIRST, Kind.ACTION, Kind.PACE):
                continue
            pausing = kind_here is Kind.PACE
            ours = scores[place, pace] if pausing else [*scores[place, action], scores[place, vocabulary.leave]]
            answers = form.pauses if pausing else (*form.actions, form.leaving)
            text = form.row(row[:end]).tolist()
            np.testing.assert_allclose(ours, one_by_one(model, text, answers), atol=2e-3)


def test_low_rank_training_leaves_all_but_the_new_rows_as_they_were_until_it_is_merged(
    folder: Path, rows: list[Tokens]
) -> None:
    model, form = extended_text_model(str(folder / TEXT_FOLDER), Vocabulary("cb-next", ("c00.f0", "c07.f3", "c07.f4")))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model = add_low_rank(model, 2)
    options = FinetuneOptions(epochs=1, batch_tokens=1_024)
    told = [form.row(row) for row in rows]
    finetune(model, form, told, options, CPU)
    frozen = {name: weight for name, weight in model.state_dict().items() if name.endswith(".base_layer.weight")}
    assert frozen
    for name, weight in frozen.items():
        own_name = name.removeprefix("base_model.model.").replace(".base_layer.weight", ".weight")
        assert torch.equal(weight, before[own_name])
    learnt = held_out_nats(model, form, told[:20], CPU)
    model = merge_low_rank(model)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert torch.equal(after["lm_head.weight"][: form.offset], before["lm_head.weight"][: form.offset])
    assert not torch.equal(after["lm_head.weight"], before["lm_head.weight"])
    assert held_out_nats(model, form, told[:20], CPU) == pytest.approx(learnt, abs=1e-3)


def test_a_model_of_transformers_repeats_a_run(
    folder: Path, shop: Shop, chain: MarkovChain, vocabulary: Vocabulary
) -> None:
    form = TextForm(Tokenizer.from_file(str(folder / TEXT_FOLDER / "tokenizer.json")), vocabulary)
    first, second = (
        crowd(TextModel(load_text_torch(folder / TEXT_FOLDER), form, chain), vocabulary, shop, np.arange(40))
        for _ in range(2)
    )
    assert first == second


def test_a_pretrained_model_learns_the_types_by_its_own_tokenizer(
    folder: Path, rows: list[Tokens], tmp_path: Path
) -> None:
    base = folder / TEXT_FOLDER
    other = Vocabulary("cb-next", ("c00.f0", "c07.f3", "c07.f4"))
    model, form = extended_text_model(str(base), other)
    assert form.size == form.offset + 3  # a coarse type and two types are new
    kept = model.get_input_embeddings().weight[: form.offset].detach().clone()
    options = FinetuneOptions(epochs=1, batch_tokens=1_024, rows_share=1.0)
    finetune(model, form, [form.row(row) for row in rows], options, CPU)
    assert torch.equal(model.get_input_embeddings().weight[: form.offset], kept)


def test_the_manifest_names_the_form_and_another_backend_is_refused_in_a_sentence(folder: Path) -> None:
    assert json.loads((folder / "manifest.json").read_text())["form"] == TEXT
    with pytest.raises(ModelError, match="of the text form; choose --backend text"):
        load_simulator(folder).backend(LOCAL)
