"""The honest yardstick as a backend: every simulated shopper does what a real training session of its type did.

No model, no parameters, nothing learned: what a simulator has to beat. Sessions are told by their actions, so that they
can be walked in any storefront; one that does not serve a move gives the nearest that it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Cast
from agent_runtime.draws import Purpose, draws
from agent_runtime.models.told import Told
from agent_runtime.vocabulary import Tokens, Vocabulary
from schemas.events import I32, I64

#: Sessions kept in a simulator's folder: a few hundred of each type are as good as all.
SESSIONS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Repertoire:
    """Real sessions to be played again. A ``Rowwise`` backend.

    words    (n, longest) int16, places in the vocabulary of what each session said after its prompt, filled up with
             leaving; ordered by code
    code     (n,) rising buyer types
    """

    vocabulary: Vocabulary
    words: npt.NDArray[np.int16]
    code: I32

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers: a session each, of its own type if one was ever seen."""
        first = np.searchsorted(self.code, codes, "left")
        count = np.searchsorted(self.code, codes, "right") - first
        first, count = np.where(count > 0, first, 0), np.where(count > 0, count, len(self.code))
        units = draws(seed, agents, 0, Purpose.REPLAY)
        rows = first + np.minimum((units * count).astype(np.int64), count - 1)
        words, prompt = self.vocabulary, self.vocabulary.prompt_length
        whole = np.full((len(agents), words.longest + 1), words.leave, np.int64)
        whole[:, prompt : prompt + self.words.shape[1]] = self.words[rows].astype(np.int64) + words.offset
        return Told(whole, words)

    def save(self, path: Path) -> None:
        """Write the sessions as one NumPy archive."""
        np.savez_compressed(path, allow_pickle=False, words=self.words, code=self.code)

    @staticmethod
    def load(path: Path, vocabulary: Vocabulary) -> "Repertoire":
        """Return the sessions of ``save``."""
        with np.load(path, allow_pickle=False) as arrays:
            return Repertoire(vocabulary, arrays["words"], arrays["code"])


def repertoire(rows: Sequence[Tokens], codes: I32, vocabulary: Vocabulary, seed: int) -> Repertoire:
    """Return training sessions (``token_rows`` with their ``codes``), at most ``SESSIONS_KEPT`` of them."""
    kept = np.arange(len(rows))
    if len(kept) > SESSIONS_KEPT:
        kept = np.sort(np.random.default_rng(seed).choice(kept, SESSIONS_KEPT, replace=False))
    kept = kept[np.argsort(codes[kept], kind="stable")]
    prompt, leave = vocabulary.prompt_length, vocabulary.leave - vocabulary.offset
    words = np.full((len(kept), vocabulary.longest - prompt), leave, np.int16)
    for place, row in enumerate(kept.tolist()):
        said = rows[row][prompt:] - vocabulary.offset
        words[place, : len(said)] = said
    return Repertoire(vocabulary, words, codes[kept].astype(np.int32))
