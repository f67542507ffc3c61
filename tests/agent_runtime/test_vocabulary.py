"""One token per buyer type, and prompts of equal length."""

import pytest

from agent_runtime.backends import Kind, kind_at
from agent_runtime.errors import ModelError
from agent_runtime.vocabulary import Vocabulary

pytestmark = pytest.mark.fast
FLAGS = (1, 2, 3, 0)


def test_every_name_is_one_token(vocabulary: Vocabulary) -> None:
    assert len(set(vocabulary.names)) == len(vocabulary)
    assert [vocabulary.id(name) for name in vocabulary.names] == list(range(len(vocabulary)))


def test_a_hierarchical_type_is_told_coarse_part_first(vocabulary: Vocabulary) -> None:
    names = [vocabulary.names[token] for token in vocabulary.prompt(FLAGS, 1)]
    assert names == ["<shop0:1>", "<shop1:2>", "<shop2:3>", "<shop3:0>", "<c00>", "<c00.f1>"]


def test_a_flat_type_is_one_token() -> None:
    flat = Vocabulary("cb", ("c00", "c01"))
    assert [flat.names[token] for token in flat.prompt(FLAGS, 1)][4:] == ["<c01>"]
    assert flat.prompt_length == len(flat.prompt(FLAGS, 0)) == 5


def test_words_appended_to_a_larger_model_keep_their_order(vocabulary: Vocabulary) -> None:
    moved = Vocabulary(vocabulary.codebook_version, vocabulary.code_paths, offset=1_000)
    assert moved.leave == vocabulary.leave + 1_000
    assert moved.prompt(FLAGS, 2) == [token + 1_000 for token in vocabulary.prompt(FLAGS, 2)]


def test_positions_alternate_between_action_and_pause_after_the_traits(vocabulary: Vocabulary) -> None:
    kinds = [kind_at(position, vocabulary) for position in range(4, 15)]
    assert kinds == [Kind.PROMPT] * 2 + [Kind.DEVICE, Kind.REFERRER, Kind.MOMENT, Kind.FIRST] + [
        Kind.ACTION,
        Kind.PACE,
    ] * 2 + [Kind.ACTION]


def test_an_unseen_word_takes_its_meaning_from_the_nearest_seen_ones(vocabulary: Vocabulary) -> None:
    seen = {vocabulary.id(name) for name in ("<shop0:1>", "<shop0:6>", "<shop1:7>", "<c00>", "<c00.f1>")}
    lent = {
        vocabulary.names[word]: [vocabulary.names[other] for other in others]
        for word, others in vocabulary.stand_ins(seen).items()
    }
    assert lent["<shop0:3>"] == ["<shop0:1>"]  # 3 is 1 with another event
    assert lent["<shop0:0>"] == ["<shop0:1>"] and lent["<shop0:7>"] == ["<shop0:6>"]
    assert lent["<shop0:2>"] == ["<shop0:6>"] and lent["<shop0:5>"] == ["<shop0:1>"]
    assert lent["<shop1:0>"] == ["<shop1:7>"]
    assert lent["<c00.f0>"] == ["<c00.f1>"]
    # Neither what was seen nor what nothing is known of.
    assert not lent.keys() & {"<shop0:1>", "<c00>", "<c00.f1>", "<shop2:0>", "<c01>"}


def test_a_code_outside_the_codebook_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(ModelError, match="has codes 0 to 2, not 3"):
        vocabulary.prompt(FLAGS, 3)


def test_a_vocabulary_survives_its_file(vocabulary: Vocabulary) -> None:
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_a_vocabulary_of_another_release_is_refused(vocabulary: Vocabulary) -> None:
    stored = vocabulary.to_json()
    stored["names"][3] = "something_else"
    with pytest.raises(ModelError, match="another release"):
        Vocabulary.from_json(stored)
