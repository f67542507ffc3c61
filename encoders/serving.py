"""The encoder as workers run it: ONNX Runtime on one thread, no torch.

Sessions are sorted by length and encoded in small batches trimmed to their own longest, then put back in order. A
session's code and confidence are the same to the last bit in whatever batch it comes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from encoders.artefact import CODEBOOK_FILE, NETWORK_FILE, check_artefact
from encoders.codebook import Codebook, Codes
from encoders.errors import ArtefactError
from encoders.features import F32, Bools, Features, session_features
from encoders.open_states import OpenStates
from schemas.events import I32, I64, Events, SessionBatch

#: Sessions encoded at once, at most: small enough that a batch's arrays stay in cache, large enough to fill the matrix
#: kernels. ONNX Runtime steps through a whole batch as often as its longest session has events; another call costs
#: about as much as the second number of steps.
BATCH, BATCH_PADDING = 256, 64
_ERRORS_ONLY = 3


class Encoder:
    """A loaded encoder artefact; made by ``Encoder.load``. One thread at a time per instance.

    What it says depends on nothing but its arguments; it remembers open sessions to say it sooner.
    """

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
        self._width = self._width_of(version)
        self._open = OpenStates(self._width, codebook.latent_width)
        self.codebook = codebook
        self.version = version
        self.size = codebook.size
        self.code_paths = codebook.paths()

    def _width_of(self, version: str) -> int:
        shapes = {put.name: put.shape for put in self._network.get_inputs()}
        if "states" not in shapes:
            raise ArtefactError(f"encoder {version}: made by an earlier release; train anew.")
        return int(shapes["states"][2])

    @staticmethod
    def load(folder: Path, threads: int = 1) -> "Encoder":
        """Load an artefact folder. Raises ArtefactError when it is absent, altered or made for other features."""
        manifest = check_artefact(folder)
        codebook = Codebook.load(folder / CODEBOOK_FILE)
        return Encoder((folder / NETWORK_FILE).read_bytes(), codebook, manifest.codebook_version, threads)

    def encode(self, sessions: SessionBatch, posterior: bool = False, still_open: Bools | None = None) -> Codes:
        """Return the buyer types of ``n`` sessions, each with at least one event; ``n`` may be 0.

        ``still_open`` (n,) says of which sessions more events may come; without it all are over. With it only those
        events are read that a session did not have when it came last: the answer is the same to the last bit.
        """
        starts, lengths = sessions.offsets[:-1], np.diff(sessions.offsets)
        if still_open is None:
            latents = self.latents(sessions.events, starts, lengths)
        else:
            latents = self._followed(sessions.events, starts, lengths, still_open)
        return self.codebook.assign(latents, lengths, posterior)

    def _followed(self, events: Events, starts: I64, lengths: I64, still_open: Bools) -> F32:
        known = self._open.recall(events, starts, lengths)
        self._read(events, starts, lengths, ~still_open, known.read, known.states, known.latents)
        self._open.keep(known, np.flatnonzero(still_open))
        return known.latents

    def latents(self, events: Events, starts: I64, lengths: I64, still_open: bool = False) -> F32:
        """Return latents (n, D) of the sessions ``events[starts[i]:starts[i] + lengths[i]]``, which may overlap.

        ``still_open`` says that more events may come in all of them: they are beginnings.
        """
        n = len(starts)
        states = np.zeros((n, self._width), np.float32)
        latents = np.empty((n, self.codebook.latent_width), np.float32)
        ended = np.full(n, not still_open)
        self._read(events, starts, lengths, ended, np.zeros(n, np.int32), states, latents)
        return latents

    def _read(
        self, events: Events, starts: I64, lengths: I64, ended: Bools, read: I32, states: F32, latents: F32
    ) -> None:
        """Go on reading sessions behind their first ``read`` events; the last two are filled, see ``Known``."""
        counts = (lengths - read + ended).astype(np.int32)
        order = np.argsort(counts, kind="stable")
        # Those without a new token come first, and have all they need.
        for first, end in _batches(counts[order]):
            rows = order[first:end]
            features = session_features(events, starts[rows], lengths[rows], ended[rows], read[rows])
            latents[rows], states[rows] = self.run(features, counts[rows], states[rows])

    def run(self, features: Features, counts: I32, states: F32 | None = None) -> tuple[F32, F32]:
        """Run the network alone over one batch of features with ``counts`` (B,) tokens, from ``states`` (B, W) on.

        Returns the latents (B, D) and the states (B, W) after the last token. Without ``states`` at the beginning.
        """
        before = np.zeros((len(counts), self._width), np.float32) if states is None else states
        feed = {"tokens": features.tokens, "counts": counts, "summaries": features.summaries, "states": before[None]}
        latents, last = self._network.run(None, feed)
        return latents, last[0]


def _batches(counts: I32) -> Iterator[tuple[int, int]]:
    """Cut rising numbers of tokens into batches, from the first number that is not zero on; yield their bounds."""
    first = int(np.searchsorted(counts, 1))
    while first < len(counts):
        some = counts[first : first + BATCH]
        padding = some * np.arange(1, len(some) + 1) - np.cumsum(some)
        end = first + int(np.searchsorted(padding, BATCH_PADDING, side="right"))
        yield first, end
        first = end
