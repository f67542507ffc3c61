"""What the first clicks of a session say of the type that it will end with: learnt from training sessions, by counting.

The early code is read as evidence, not as the type: how often each early code was seen with each final one (the
encoder's confusion matrix) turns a crowd's early codes into its mix, by expectation maximisation (Saerens, Latinne and
Decaestecker 2002), and each session's early code into probabilities under that mix.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from schemas.events import I32, I64

F64 = npt.NDArray[np.float64]

#: Clicks of a session that the early code is told from.
EARLY_EVENTS = 3
#: Rounds of the deconvolution. More fit the noise: on training merchants left out of the counts the mix is nearest
#: after 5 to 10 (docs/log.md).
_ROUNDS = 8
#: Sessions' worth of the usual mix that every count starts from.
_PRIOR = 0.5


@dataclass(frozen=True, slots=True)
class EarlyTypes:
    """``likelihood`` (cells, K): how often a session of each final type shows each early code at each early length.

    ``usual`` (K,) is the mix that the deconvolution starts from.
    """

    likelihood: F64
    usual: F64

    @staticmethod
    def learn(log: SessionLog, final: I32, encoder: Encoder) -> "EarlyTypes":
        """Count early codes against the ``final`` codes (n,) of training sessions."""
        counts = np.zeros((EARLY_EVENTS * encoder.size, encoder.size))
        np.add.at(counts, (cells(log, encoder), final), 1.0)
        usual = counts.sum(axis=0) / len(log)
        smooth = counts + _PRIOR * usual + 1e-9
        return EarlyTypes(smooth / smooth.sum(axis=0), usual)

    def told(self, cell: I64) -> tuple[F64, F64]:
        """Return a crowd's mix (K,) and each of its sessions' probabilities of the final types (n, K).

        cell  (n,) as ``cells`` has them.
        """
        seen = np.bincount(cell, minlength=len(self.likelihood)) / len(cell)
        mix = self.usual
        for _ in range(_ROUNDS):
            mix = seen @ self._under(mix)
        return mix, self._under(mix)[cell]

    def _under(self, mix: F64) -> F64:
        joint = self.likelihood * mix
        return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def cells(log: SessionLog, encoder: Encoder) -> I64:
    """Return what each session shows early, (n,): its code after ``EARLY_EVENTS`` clicks, and how many it had."""
    lengths = np.minimum(log.lengths, EARLY_EVENTS)
    code = encoder.codebook.assign(encoder.latents(log.events, log.starts, lengths, still_open=True), lengths).code
    return np.asarray((lengths - 1) * encoder.size + code)
