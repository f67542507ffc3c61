"""The encoder as workers run it: ONNX Runtime on one thread, no torch.

Sessions are sorted by length and encoded in small batches trimmed to their own longest, then put back in order. A
session's code and confidence are the same to the last bit in whatever batch it comes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from encoders.artefact import CODEBOOK_FILE, NETWORK_FILE, check_artefact
from encoders.codebook import Codebook, Codes
from encoders.errors import ArtefactError
from encoders.features import Features, session_features, token_counts
from schemas.events import I64, Events, SessionBatch

#: Sessions encoded at once: small enough that a batch's arrays stay in cache, large enough to fill the matrix kernels.
BATCH = 256
_ERRORS_ONLY = 3


class Encoder:
    """A loaded encoder artefact; made by ``Encoder.load``. Not changed by use; one thread at a time per instance."""

    def __init__(self, network: bytes, codebook: Codebook, version: str, threads: int = 1) -> None:
        """Serve ONNX bytes with a codebook. Raises ArtefactError when ONNX Runtime refuses the network."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._network: Any = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises plain classes of its own, one per kind of damage
            raise ArtefactError(f"encoder {version}: ONNX Runtime cannot load it ({error}); train anew.") from error
        self.codebook = codebook
        self.version = version
        self.size = codebook.size
        self.code_paths = codebook.paths()

    @staticmethod
    def load(folder: Path, threads: int = 1) -> "Encoder":
        """Load an artefact folder. Raises ArtefactError when it is absent, altered or made for other features."""
        manifest = check_artefact(folder)
        codebook = Codebook.load(folder / CODEBOOK_FILE)
        return Encoder((folder / NETWORK_FILE).read_bytes(), codebook, manifest.codebook_version, threads)

    def encode(self, sessions: SessionBatch, posterior: bool = False) -> Codes:
        """Return the buyer types of ``n`` sessions, each with at least one event; ``n`` may be 0."""
        lengths = np.diff(sessions.offsets)
        latents = self.latents(sessions.events, sessions.offsets[:-1], lengths)
        return self.codebook.assign(latents, lengths, posterior)

    def latents(self, events: Events, starts: I64, lengths: I64) -> npt.NDArray[np.float32]:
        """Return latents (n, D) of the sessions ``events[starts[i]:starts[i] + lengths[i]]``, which may overlap."""
        latents = np.empty((len(starts), self.codebook.latent_width), np.float32)
        order = np.argsort(lengths, kind="stable")
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            features = session_features(events, starts[rows], lengths[rows])
            latents[rows] = self.run(features, token_counts(lengths[rows]))
        return latents

    def run(self, features: Features, counts: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the latents (B, D) of one batch of features with ``counts`` (B,) tokens: the network alone."""
        feed = {"tokens": features.tokens, "counts": counts, "summaries": features.summaries}
        latents: npt.NDArray[np.float32] = self._network.run(None, feed)[0]
        return latents
