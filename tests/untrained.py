"""An encoder that was never trained: quick to make, and as deterministic as any."""

from pathlib import Path

import numpy as np
import torch

from encoders.artefact import write_artefact
from encoders.codebook import Codebook
from encoders.export import to_onnx
from encoders.model import SessionEncoder, Shape


def write_untrained(folder: Path, seed: int) -> Path:
    """Write an encoder with random weights; another seed gives another codebook version. Return its folder."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    shape = Shape(width=16, hidden=16)
    random = np.random.default_rng(seed)

    def directions(*size: int) -> np.ndarray:
        vectors = random.normal(size=size).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    coarse = directions(shape.coarse, shape.type_width)
    codebook = Codebook.uncalibrated(coarse, directions(shape.coarse, shape.fine, shape.style_width))
    write_artefact(folder, to_onnx(SessionEncoder(shape)), codebook, {"codes": [], "coarse": []}, {})
    return folder
