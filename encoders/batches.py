"""Training batches: pairs of sessions of one buyer, single sessions, and behind them random beginnings of some.

A beginning is trained to foretell how its whole session went, so that a session still going on gets a code that means
something.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from encoders.features import session_features
from encoders.model import event_targets
from encoders.sessionise import SessionLog
from schemas.events import I64
from schemas.taxonomy import EVENT_CODES, STRATUM_OF_EVENT

#: Part of the sessions of a batch of which a random beginning is shown as well.
BEGINNING_SHARE = 0.5
#: Events of a session that are learned from, at most; a longer one is shown as its beginning.
EVENTS_READ = 128
#: Merchants that the pairs of one batch come from; each buyer then has some dozens of rivals at the same merchant.
PAIR_MERCHANTS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """``B`` readings of sessions as the loss needs them: whole sessions, then beginnings of some of them.

    The first ``2 * pairs`` rows are pairs (2p, 2p + 1) of whole sessions of one buyer.

    tokens (T, B, F), counts (B,) of tokens, summaries (B, S): what the encoder sees
    session (B,): the row at which the session is shown whole
    merchant (B,); stratum (B,), converted (B,), whole (B, S): of the whole session
    previous (N, F), owner (N,), targets (N, groups): every event seen, the one before it and its session; one more row
    per wholly seen session says that it ended
    """

    tokens: Tensor
    counts: Tensor
    summaries: Tensor
    session: Tensor
    merchant: Tensor
    pairs: int
    stratum: Tensor
    converted: Tensor
    whole: Tensor
    previous: Tensor
    owner: Tensor
    targets: Tensor


class BatchSource:
    """Endless, seeded batches over a session log. Equal seeds give equal batches."""

    def __init__(
        self, log: SessionLog, size: int, seed: int, device: torch.device, beginning_share: float = BEGINNING_SHARE
    ) -> None:
        self.log = log
        self.size = size
        self.device = device
        self.beginning_share = beginning_share
        self._random = np.random.default_rng(seed)
        self._stratum, self._converted = outcomes(log)
        self._pairs = _PairIndex(log)

    def __len__(self) -> int:
        """Batches after which every session was drawn about once."""
        return max(len(self.log) // self.size, 1)

    @property
    def random_state(self) -> str:
        """Where the draws are: given back, the same batches follow."""
        return json.dumps(self._random.bit_generator.state)

    @random_state.setter
    def random_state(self, state: str) -> None:
        self._random.bit_generator.state = json.loads(state)

    def epoch(self) -> Iterator[Batch]:
        """Yield as many batches as see every session about once."""
        for _ in range(len(self)):
            pairs = self._pairs.draw(self.size // 4, self._random)  # half of the rows
            singles = self._random.integers(len(self.log), size=self.size - pairs.size)
            yield self._make(np.concatenate([pairs.ravel(), singles]), len(pairs))

    def _make(self, rows: I64, pairs: int) -> Batch:
        log, random = self.log, self._random
        lengths = log.lengths[rows]
        whole = session_features(log.events, log.starts[rows], lengths).summaries
        begun = np.flatnonzero(random.random(len(rows)) < self.beginning_share)
        shown = np.concatenate([lengths, random.integers(1, lengths[begun] + 1)])
        shown = np.minimum(shown, EVENTS_READ)
        session = np.concatenate([np.arange(len(rows)), begun])
        rows = rows[session]
        # Nobody knows of a beginning whether it is all that there will be, so even one of all events has not ended.
        ended = (shown == log.lengths[rows]) & (np.arange(len(rows)) == session)
        seen = session_features(log.events, log.starts[rows], shown, ended)
        previous, owner, targets = next_events(torch.from_numpy(seen.tokens), shown, ended)
        return Batch(
            tokens=torch.from_numpy(seen.tokens).to(self.device),
            counts=torch.from_numpy(shown + ended),
            summaries=torch.from_numpy(seen.summaries).to(self.device),
            session=torch.from_numpy(session).to(self.device),
            merchant=torch.from_numpy(log.merchant[rows]).to(self.device),
            pairs=pairs,
            stratum=torch.from_numpy(self._stratum[rows].astype(np.int64)).to(self.device),
            converted=torch.from_numpy(self._converted[rows].astype(np.float32)).to(self.device),
            whole=torch.from_numpy(whole[session]).to(self.device),
            previous=previous.to(self.device),
            owner=owner.to(self.device),
            targets=targets.to(self.device),
        )


def outcomes(log: SessionLog) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return each session's deepest funnel stratum (n,) uint8 and whether it bought (n,) bool."""
    codes = np.append(log.events["event"], np.uint8(0))
    spans = np.stack([log.starts, log.starts + log.lengths], axis=1).ravel()
    stratum = np.maximum.reduceat(STRATUM_OF_EVENT[np.minimum(codes, len(STRATUM_OF_EVENT) - 1)], spans)[::2]
    converted = np.logical_or.reduceat(codes == EVENT_CODES["checkout_completed"], spans)[::2]
    return stratum, converted


def next_events(tokens: Tensor, counts: I64, ended: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (previous (N, F), owner (N,), targets (N, groups)) of the ``counts`` (B,) events in tokens (T, B, F)."""
    steps, size, width = tokens.shape
    limit = torch.from_numpy(counts)
    before = torch.cat([torch.zeros(1, size, width), tokens])  # (T + 1, B, F)
    classes = event_targets(tokens.reshape(-1, width)).view(steps, size, -1)
    after = torch.cat([classes, torch.zeros_like(classes[:1])])
    step = torch.arange(steps + 1)[:, None]
    told = (step < limit) | ((step == limit) & torch.from_numpy(ended))
    owner = told.nonzero()[:, 1]
    return before[told], owner, after[told]


class _PairIndex:
    """Which sessions belong to buyers that have at least two, by merchant."""

    def __init__(self, log: SessionLog) -> None:
        first = np.flatnonzero(np.append(True, log.key[1:] != log.key[:-1])) if len(log) else np.empty(0, np.int64)
        counts = np.diff(first, append=len(log))
        several = counts >= 2
        order = np.argsort(log.merchant[first[several]], kind="stable")
        self._first = first[several][order]
        self._count = counts[several][order]
        merchant = log.merchant[self._first]
        self._edges = np.flatnonzero(np.append(True, merchant[1:] != merchant[:-1])) if len(merchant) else merchant
        self._edges = np.append(self._edges, len(merchant)).astype(np.int64)
        self._weights = np.diff(self._edges) / max(len(merchant), 1)

    def draw(self, pairs: int, random: np.random.Generator) -> I64:
        """Return up to ``pairs`` pairs of rows (P, 2): different buyers, two different sessions of each."""
        if len(self._edges) < 2:
            return np.empty((0, 2), np.int64)
        merchants = random.choice(
            len(self._weights), size=min(PAIR_MERCHANTS, len(self._weights)), replace=False, p=self._weights
        )
        each = max(pairs // len(merchants), 2)
        buyers = np.concatenate(
            [
                self._edges[m] + random.permutation(self._edges[m + 1] - self._edges[m])[:each]
                for m in merchants
                if self._edges[m + 1] - self._edges[m] >= 2  # a lone buyer has no rival
            ]
            or [np.empty(0, np.int64)]
        )
        count = self._count[buyers]
        one = random.integers(0, count)
        other = (one + random.integers(1, count)) % count
        rows: I64 = self._first[buyers][:, None] + np.stack([one, other], axis=1)
        return rows
