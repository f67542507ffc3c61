"""What a text model is trained with: a tokenizer, and a model whose tables know its new tokens."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from agent_runtime.errors import ModelError
from agent_runtime.models.new_models import TinyShape, base_model, tiny_llama
from agent_runtime.storefront.actions import ACTIONS, PACES
from agent_runtime.text.form import MARKERS, TextForm, action_text, pause_text
from agent_runtime.vocabulary import Vocabulary

#: Size of the small tokenizer before buyer types; the 256 bytes are among it.
SMALL_TOKENIZER = 768
#: A field of a JSON object is at most one token: names and values are learnt once, whatever they stand beside.
_FIELD = ',"'


class TextPair:
    """A text model and its tokenizer as ``save_pretrained`` writes them, for ``write_simulator`` and for others."""

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer

    def save_pretrained(self, folder: Path) -> None:
        """Write both into a folder, so that transformers can load them by its path."""
        self._model.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=self._tokenizer, pad_token=MARKERS[0]).save_pretrained(folder)


def small_tokenizer(texts: Iterable[str], size: int = SMALL_TOKENIZER) -> Tokenizer:
    """Return a byte-level BPE tokenizer (Sennrich et al. 2016, arXiv 1508.07909) trained on pieces of conversations."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_FIELD, "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    answers = [action_text(place) for place in range(len(ACTIONS))] + [pause_text(pace) for pace in range(PACES)]
    tokenizer.train_from_iterator([*texts, *answers], trainer)
    return tokenizer


def small_text_model(texts: Sequence[str], vocabulary: Vocabulary, shape: TinyShape, seed: int) -> tuple[Any, TextForm]:
    """Return a fresh small Llama and the text form of a tokenizer made from the texts."""
    form = TextForm(small_tokenizer(texts), vocabulary)
    return tiny_llama(form.size, form.longest, form.pad, None, shape, seed), form


def extended_text_model(base: str, vocabulary: Vocabulary) -> tuple[Any, TextForm]:
    """Return a pretrained model and its text form, buyer types and markers added to tokenizer and tables.

    New rows begin at the mean of all others. Raises ModelError when there is no such model, or it reads too little.
    """
    model = base_model(base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base).backend_tokenizer
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{base}: no fast tokenizer to write text with ({reason}).") from error
    before = int(tokenizer.get_vocab_size(with_added_tokens=True))
    form = TextForm(tokenizer, vocabulary, before)
    reach = getattr(model.config, "max_position_embeddings", None)
    if reach is not None and reach < form.longest:
        raise ModelError(f"{base}: reads {reach} tokens, a session as text may need {form.longest}; choose another.")
    if model.get_input_embeddings().num_embeddings < form.size:
        model.resize_token_embeddings(form.size, mean_resizing=False)
    with torch.no_grad():
        for table in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
            table[before:] = table[:before].mean(dim=0)
    return model, form
