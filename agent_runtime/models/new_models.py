"""The language model that a training starts from: a small one made here, or a pretrained one with our words added."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from agent_runtime.errors import ModelError
from agent_runtime.vocabulary import Vocabulary

#: Width of the small model, unless it is asked for otherwise.
USUAL_WIDTH = 64


@dataclass(frozen=True, slots=True)
class TinyShape:
    """The language model made here when no base is named: a Llama of this shape."""

    width: int = USUAL_WIDTH
    layers: int = 2
    heads: int = 4
    feed_forward: int = 160


def shape_of(width: int, layers: int) -> TinyShape:
    """Return the small model's shape at another size. Raises ModelError when the heads do not divide the width."""
    usual = TinyShape()
    if width % (2 * usual.heads):
        raise ModelError(f"--width {width}: choose a multiple of {2 * usual.heads}.")
    return replace(usual, width=width, layers=layers, feed_forward=width * usual.feed_forward // usual.width)


def tiny_model(vocabulary: Vocabulary, shape: TinyShape, seed: int) -> Any:
    """Return a fresh small Llama over the vocabulary alone (``vocabulary.offset`` must be 0)."""
    return tiny_llama(len(vocabulary), vocabulary.longest, vocabulary.pad, vocabulary.leave, shape, seed)


def tiny_llama(words: int, longest: int, pad: int, end: int | None, shape: TinyShape, seed: int) -> Any:
    """Return a fresh small Llama of ``words`` tokens for rows of at most ``longest``."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=longest,
        initializer_range=shape.width**-0.5 / 2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def base_model(name_or_path: str) -> Any:
    """Return a pretrained causal language model by name or path, float32. Raises ModelError when it cannot be had."""
    try:
        return AutoModelForCausalLM.from_pretrained(name_or_path, dtype=torch.float32)
    except RuntimeError as error:  # what the hub's client raises without a network, about itself
        raise ModelError(
            f"{name_or_path}: no causal language model to start from: none is here under this name, and none could be "
            "fetched; give a folder, or mend the network."
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{name_or_path}: no causal language model to start from ({reason}).") from error


def extended(model: Any, vocabulary: Vocabulary) -> tuple[Any, Vocabulary]:
    """Append rows for the vocabulary's words to a pretrained model; return it, and the words at their new ids.

    Raises ModelError when the model reads fewer tokens than a session can have.
    """
    before = int(model.get_input_embeddings().num_embeddings)
    words = replace(vocabulary, offset=before)
    reach = getattr(model.config, "max_position_embeddings", None)
    if reach is not None and reach < words.longest:
        raise ModelError(f"{model.config.model_type}: reads {reach} tokens, a session needs {words.longest}.")
    model.resize_token_embeddings(before + len(words))
    return model, words
