"""The weights of a small Llama, read from its folder without torch.

Architecture: Touvron et al. 2023 (arXiv 2302.13971), as transformers writes it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

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
