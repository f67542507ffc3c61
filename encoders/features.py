"""Sessions as numbers: a token per event, a summary and a context per session, without merchant or product identities.

Everything is relative to the session itself (its own earlier products, prices, queries and pauses), so that a shopper
reads alike in a shop of watches and a shop of shirts. A token depends only on events up to its own, hence the
features of a session's first ``k`` events are those of a session that has only had ``k`` events so far. That a
session is over is told by a token behind its last event.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.feature_kernel import fill_features
from encoders.feature_spec import CONTEXT_WIDTH, SUMMARY_WIDTH, TOKEN_WIDTH
from schemas.events import I32, I64, Events

F32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: Sessions whose tokens are in memory at once when only summaries are wanted.
PART = 4096


@dataclass(frozen=True, slots=True)
class Features:
    """Features of ``B`` sessions, float32.

    tokens (T, B, TOKEN_WIDTH), zero where padded; summaries (B, SUMMARY_WIDTH); contexts (B, CONTEXT_WIDTH)
    """

    tokens: F32
    summaries: F32
    contexts: F32


def session_features(
    events: Events, starts: I64, lengths: I64, ended: Bools | None = None, read: I32 | None = None
) -> Features:
    """Return the features of the sessions ``events[starts[b]:starts[b] + lengths[b]]``.

    One that has ``ended`` (B,), none by default, has one more token, which says so. Tokens of the first ``read`` (B,)
    events, if given, are left out.

    Sessions are sorted by (t, id) and not empty; they may overlap (a beginning has a shorter length). ``T`` is the
    most tokens that any of them has. Every row depends on its own session alone. Pure; releases the GIL.
    """
    ended = np.zeros(len(starts), np.bool_) if ended is None else ended
    read = np.zeros(len(starts), np.int32) if read is None else read
    steps = int((lengths - read + ended).max(initial=1))
    features = Features(
        np.zeros((steps, len(starts), TOKEN_WIDTH), np.float32),
        np.zeros((len(starts), SUMMARY_WIDTH), np.float32),
        np.zeros((len(starts), CONTEXT_WIDTH), np.float32),
    )
    fill_features(events, starts, lengths, read, ended, features.tokens, features.summaries, features.contexts)
    return features


def described_features(events: Events, starts: I64, lengths: I64) -> F32:
    """Return summaries and contexts side by side, (B, SUMMARY_WIDTH + CONTEXT_WIDTH), of any number of sessions.

    For figures over a whole log: tokens are made in small parts and dropped.
    """
    described = np.empty((len(starts), SUMMARY_WIDTH + CONTEXT_WIDTH), np.float32)
    for first in range(0, len(starts), PART):
        rows = slice(first, first + PART)
        features = session_features(events, starts[rows], lengths[rows])
        described[rows, :SUMMARY_WIDTH], described[rows, SUMMARY_WIDTH:] = features.summaries, features.contexts
    return described
