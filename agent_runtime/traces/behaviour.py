"""What shoppers did, reduced to what alignment compares: real sessions and simulated ones in the same columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.traces.retrace import Steps
from schemas.events import I64, U8, U64
from schemas.taxonomy import EVENT_CODES, STRATUM_OF_EVENT

F64 = npt.NDArray[np.float64]

#: Funnel stratum of each of ``ACTIONS``, (A,): that of its event.
STRATUM_OF_ACTION: U8 = STRATUM_OF_EVENT[[action.event_code for action in ACTIONS]]
#: Event code of each of ``ACTIONS``, (A,).
EVENT_OF_ACTION: U8 = np.array([action.event_code for action in ACTIONS], np.uint8)
_PURCHASE = EVENT_CODES["checkout_completed"] == EVENT_OF_ACTION
#: Multiplier of the rolling hash that tells sequences of actions apart (Knuth's for 64 bits).
_HASH = np.uint64(6_364_136_223_846_793_005)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``n`` sessions in columns.

    counts    (n, A) int64, how often each of ``ACTIONS`` was done
    dwell_s   (n,) float64, seconds from the first click to the last
    sequence  (n,) uint64, hash of the actions in their order
    """

    counts: I64
    dwell_s: F64
    sequence: U64

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def events(self) -> I64:
        """Clicks of each session, (n,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def stratum(self) -> U8:
        """Deepest funnel stratum that each session reached, (n,): 0 to 3 for A to D."""
        return np.asarray(((self.counts > 0) * STRATUM_OF_ACTION).max(axis=1, initial=0), np.uint8)

    @property
    def converted(self) -> npt.NDArray[np.bool_]:
        """Whether each session bought, (n,)."""
        return np.asarray(self.counts[:, _PURCHASE].sum(axis=1) > 0)

    def select(self, rows: npt.NDArray[np.bool_] | I64) -> "Behaviour":
        """Return only these sessions."""
        return Behaviour(self.counts[rows], self.dwell_s[rows], self.sequence[rows])

    def and_more(self, other: "Behaviour") -> "Behaviour":
        """Return these sessions, then the other ones."""
        return Behaviour(
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.dwell_s, other.dwell_s]),
            np.concatenate([self.sequence, other.sequence]),
        )


def of_steps(steps: Steps, dwell_s: F64) -> Behaviour:
    """Return real sessions; ``dwell_s`` (n,) in seconds."""
    return _behaviour(steps.action.astype(np.int64), np.diff(steps.offsets), dwell_s)


def of_played(sessions: Sequence[PlayedSession]) -> Behaviour:
    """Return simulated sessions."""
    actions = np.array([action for session in sessions for action in session.actions], np.int64)
    lengths = np.array([len(session.actions) for session in sessions], np.int64)
    dwell_s = np.array([(session.times_ms[-1] - session.times_ms[0]) / 1000.0 for session in sessions])
    return _behaviour(actions, lengths, dwell_s)


def _behaviour(action: I64, lengths: I64, dwell_s: F64) -> Behaviour:
    owner = np.repeat(np.arange(len(lengths)), lengths)
    counts = np.zeros((len(lengths), len(ACTIONS)), np.int64)
    np.add.at(counts, (owner, action), 1)
    return Behaviour(counts, dwell_s, _sequences(action, lengths))


def _sequences(action: I64, lengths: I64) -> U64:
    """Return a hash of each session's actions in order: a polynomial over 64 bits, place by place."""
    hashes = np.zeros(len(lengths), np.uint64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])
    with np.errstate(over="ignore"):
        for place in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > place)
            hashes[rows] = hashes[rows] * _HASH + (action[starts[rows] + place] + 1).astype(np.uint64)
    return hashes
