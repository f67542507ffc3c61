"""The default language model without torch: a small Llama read from its folder and compiled, its cache kept by shopper.

A step of the model made here is some 120 000 multiplications a shopper. torch spends most of its time around them, and
its matrix products differ in their last bits with the number of rows. Here every row is summed up in the same order by
the same instructions, whatever stands beside it (``Rowwise``), and shoppers who have left cost nothing.
Architecture: Touvron et al. 2023 (arXiv 2302.13971), as transformers writes it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from agent_runtime.backends import Cast, Scores
from agent_runtime.llama_step import advance, speak
from agent_runtime.vocabulary import Tokens, Vocabulary
from schemas.events import I32, I64

F32 = npt.NDArray[np.float32]

#: A wider model is better off with the matrix products of torch.
WIDEST = 256
#: What a configuration must say for the loops of ``llama_step`` to be that model; absent means what is said here.
_PLAIN = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "pretraining_tp": 1,
    "tie_word_embeddings": False,
}
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


class Weights(NamedTuple):
    """``L`` layers of width ``D``, ``F`` within, ``V`` words; every matrix (inputs, outputs).

    embed (V, D); qkv (L, D, 3 D); out (L, D, D); gate_up (L, D, 2 F); down (L, F, D); norms (L, 2, D); norm (D,);
    head (D, V); cos, sin (positions, head / 2)
    """

    embed: F32
    qkv: F32
    out: F32
    gate_up: F32
    down: F32
    norms: F32
    norm: F32
    head: F32
    cos: F32
    sin: F32


class SmallLlama:
    """A ``Rowwise`` backend, also a plain ``Backend`` for one thread at a time."""

    def __init__(self, weights: Weights, heads: int, epsilon: float, vocabulary: Vocabulary) -> None:
        self.weights, self.heads, self.epsilon, self.vocabulary = weights, heads, epsilon, vocabulary
        self._told: Tokens = np.empty((0, 0), np.int64)
        self._reader: _Reader | None = None

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers; see ``Rowwise``."""
        return _Reader(self, len(agents))

    def scores(self, tokens: Tokens) -> Scores:
        """Return log-probabilities of the next token, (B, V) float32; see ``Backend``."""
        goes_on = tokens.shape[1] == self._told.shape[1] + 1 and np.array_equal(tokens[:, :-1], self._told)
        if self._reader is None or not goes_on:
            self._reader = _Reader(self, len(tokens))
        self._told = tokens.copy()
        return self._reader.scores(tokens, np.arange(len(tokens)))


class _Reader:
    """A ``Cast``: keys (B, L, D, T) and values (B, L, T, D) of all that was said to ``B`` shoppers."""

    def __init__(self, model: SmallLlama, shoppers: int) -> None:
        layers, width, longest = len(model.weights.qkv), model.weights.embed.shape[1], model.vocabulary.longest
        self._model, self._read = model, 0
        self._keys = np.empty((shoppers, layers, width, longest), np.float32)
        self._values = np.empty((shoppers, layers, longest, width), np.float32)

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the scores of the rows still in the shop; see ``Cast``."""
        said = tokens - self._model.vocabulary.offset if self._model.vocabulary.offset else tokens
        if self._read == 0 and len(rows) > 1:
            return self._begun(said, rows)
        return self._on(said, rows)

    def _begun(self, said: Tokens, rows: I64) -> Scores:
        """Read equal beginnings once: shoppers of one type share theirs."""
        _, first, which = np.unique(said[rows], axis=0, return_index=True, return_inverse=True)
        scores = self._on(said, rows[first])
        source = rows[first][which.ravel()]
        self._keys[rows, :, :, : self._read] = self._keys[source, :, :, : self._read]
        self._values[rows, :, : self._read] = self._values[source, :, : self._read]
        return scores[which.ravel()]

    def _on(self, said: Tokens, rows: I64) -> Scores:
        model = self._model
        scores = np.empty((len(rows), model.weights.head.shape[1]), np.float32)
        hidden = np.empty((len(rows), model.weights.embed.shape[1]), np.float32)
        for position in range(self._read, said.shape[1]):
            words = np.ascontiguousarray(said[rows, position])
            advance(
                model.weights, self._keys, self._values, words, rows, np.full(len(rows), position), model.heads,
                np.float32(model.epsilon), hidden,
            )  # fmt: skip
        speak(hidden, model.weights.head, scores)
        self._read = said.shape[1]
        return scores


def load_small_llama(folder: Path, vocabulary: Vocabulary) -> SmallLlama | None:
    """Return the model of a folder, None when it is of a kind that only transformers can run."""
    read = None if vocabulary.offset else read_llama(folder, len(vocabulary), vocabulary.longest)
    return None if read is None else SmallLlama(*read, vocabulary)


def read_llama(folder: Path, words: int, longest: int) -> tuple[Weights, int, float] | None:
    """Return weights, heads and the norm's epsilon of a saved small Llama of so many words, None when it is none.

    longest  most words of a row that it will read
    """
    config = json.loads((folder / _CONFIG).read_text())
    if not (folder / _WEIGHTS).is_file() or not _fits(config, words):
        return None
    weights = _weights(load_file(folder / _WEIGHTS), config, longest)
    return weights, int(config["num_attention_heads"]), float(config["rms_norm_eps"])


def _fits(config: dict[str, Any], words: int) -> bool:
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)}
    return (
        all(config.get(name, plain) == plain for name, plain in _PLAIN.items())
        and config["num_key_value_heads"] == config["num_attention_heads"]
        and config["hidden_size"] <= WIDEST
        and config["hidden_size"] == config["num_attention_heads"] * config.get("head_dim", 0)
        and rope.get("rope_type") == "default"
        and config["vocab_size"] == words
    )


def _weights(tensors: dict[str, Any], config: dict[str, Any], longest: int) -> Weights:
    layers = range(config["num_hidden_layers"])

    def stacked(*names: str) -> F32:
        """Return (L, inputs, outputs), the outputs of several matrices side by side."""
        per_layer = [
            np.concatenate([tensors[f"model.layers.{layer}.{name}.weight"].T for name in names], axis=1)
            for layer in layers
        ]
        return np.ascontiguousarray(np.stack(per_layer), np.float32)

    half = config["head_dim"] // 2
    theta = (config.get("rope_parameters") or config).get("rope_theta", 10_000.0)
    angles = np.arange(longest)[:, None] / np.float64(theta) ** (np.arange(half) / half)
    return Weights(
        embed=np.ascontiguousarray(tensors["model.embed_tokens.weight"], np.float32),
        qkv=stacked("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        out=stacked("self_attn.o_proj"),
        gate_up=stacked("mlp.gate_proj", "mlp.up_proj"),
        down=stacked("mlp.down_proj"),
        norms=np.stack(
            [
                np.stack(
                    [
                        tensors[f"model.layers.{layer}.{name}.weight"]
                        for name in ("input_layernorm", "post_attention_layernorm")
                    ]
                )
                for layer in layers
            ]
        ).astype(np.float32),
        norm=np.ascontiguousarray(tensors["model.norm.weight"], np.float32),
        head=np.ascontiguousarray(tensors["lm_head.weight"].T, np.float32),
        cos=np.cos(angles).astype(np.float32),
        sin=np.sin(angles).astype(np.float32),
    )
