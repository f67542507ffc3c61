"""Training an encoder on from where it is, on recent sessions: its own network and codebook are the beginning.

An artefact keeps what serving needs, not the decoder and the heads; those begin anew and follow within an epoch.
"""

from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from encoders.adaptation import open_types
from encoders.codebook import F32, Codebook
from encoders.export import to_onnx
from encoders.model import SessionEncoder, Shape
from encoders.quantiser import TreeQuantiser
from encoders.sessionise import SessionLog
from encoders.training import EpochReport, TrainingOptions, split_held_out, train_with

#: A third of a first training's: the network is to follow, not to forget.
LEARNING_RATE = 1e-3


def from_onnx(network: bytes) -> SessionEncoder:
    """Return the torch network that ``export.to_onnx`` wrote."""
    graph = onnx.load_model_from_string(network).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    width = constants["state_weight"].shape[-1]
    type_width, style_width = constants["parts"].tolist()
    shape = Shape(width=width, hidden=len(constants["join_bias"]), type_width=type_width, style_width=style_width)
    encoder = SessionEncoder(shape)
    of_input, of_state = np.split(constants["bias"][0], 2)
    encoder.load_state_dict(
        {
            "summary_mean": _tensor(constants["mean"]),
            "summary_scale": _tensor(constants["scale"]),
            "gru.weight_ih_l0": _gates(constants["input_weight"][0], width),
            "gru.weight_hh_l0": _gates(constants["state_weight"][0], width),
            "gru.bias_ih_l0": _gates(of_input, width),
            "gru.bias_hh_l0": _gates(of_state, width),
            "join.weight": _tensor(constants["join_weight"]),
            "join.bias": _tensor(constants["join_bias"]),
            "latent.weight": _tensor(constants["latent_weight"]),
            "latent.bias": _tensor(constants["latent_bias"]),
        }
    )
    return encoder.eval()


def train_on(
    network: bytes,
    codebook: Codebook,
    recent: SessionLog,
    epochs: int,
    seed: int,
    progress: Callable[[int, int, EpochReport | None], None] = lambda done, total, report: None,
) -> tuple[bytes, Codebook]:
    """Return network and codebook (not calibrated) after so many epochs over ``recent``; closed places are left out.

    ``progress`` as in ``training.train``. Raises TrainingDataError when there are too few sessions.
    """
    start = from_onnx(network)
    alive = open_types(codebook)
    types, fine = int(alive.sum()), codebook.fine.shape[1]
    shape = Shape(
        width=start.gru.hidden_size,
        hidden=start.join.out_features,
        type_width=codebook.coarse.shape[1],
        style_width=codebook.fine.shape[2],
        coarse=types,
        fine=fine,
    )
    quantiser = TreeQuantiser(types, fine, shape.type_width, shape.style_width)
    quantiser.coarse.vectors.copy_(_tensor(codebook.coarse[alive])[None])
    quantiser.fine.vectors.copy_(_tensor(codebook.fine[alive]))
    options = TrainingOptions(shape, epochs=epochs, learning_rate=LEARNING_RATE, warmup_share=0.0, seed=seed)
    training, held_out = split_held_out(recent, seed)
    encoder, _ = train_with(quantiser, training, held_out, options, torch.device("cpu"), progress, start)
    vectors = quantiser.coarse.vectors[0].numpy(), quantiser.fine.vectors.numpy()
    return to_onnx(encoder), Codebook.uncalibrated(*vectors)


def _tensor(array: F32) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _gates(array: F32, width: int) -> Tensor:
    """Reorder a GRU parameter's gates from ONNX's (update, reset, new) to torch's (reset, update, new)."""
    update, reset, new = np.split(array, [width, 2 * width])
    return _tensor(np.concatenate([reset, update, new]))
