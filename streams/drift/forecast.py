"""What mix a merchant's past leads to expect at an hour of a weekday: drift is told from rhythm by it. Pure.

The past is counted by weekday and part of the day. A cell that saw little is pulled towards what its part of the day
and its weekday say together (share in the part × share on the weekday / share altogether), a weekday towards the
workdays or the weekend, and these and the parts of the day towards the whole, each as by Dirichlet pseudo-sessions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.events import I64
from streams.drift.divergence import F64

DAY_MS = 86_400_000
WEEKDAYS, WORKDAYS = 7, 5
#: 1970-01-01 was a Thursday; Monday counts as day 0.
_EPOCH_WEEKDAY = 3


@dataclass(frozen=True, slots=True)
class Pull:
    """Pseudo-sessions of the prior means. The more, the less rhythm is thought possible.

    part     the whole, for a part of the day
    kind     the whole, for the workdays and for the weekend
    weekday  its kind, for a weekday
    cell     part and weekday together, for one part of one weekday; less where these are hardly known themselves
    """

    part: float = 25.0
    kind: float = 50.0
    weekday: float = 200.0
    cell: float = 50.0


def cells_of(times_ms: I64, parts_of_day: int) -> I64:
    """Return the cell of each time (n,): weekday × ``parts_of_day`` + part of the day, both UTC."""
    weekday = (times_ms // DAY_MS + _EPOCH_WEEKDAY) % WEEKDAYS
    return np.asarray(weekday * parts_of_day + times_ms % DAY_MS * parts_of_day // DAY_MS, np.int64)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected mix (K,) of some sessions, and in how many sessions each of the week's cells (C,) was seen."""

    mix: F64
    sizes: F64


def forecast(past: npt.NDArray[np.int64], sessions: I64, pull: Pull) -> Forecast:
    """Return the mix that ``past`` (C, K), sessions by cell and code, leads to expect of ``sessions`` (C,) by cell.

    ``past`` must hold a session and ``sessions`` too.
    """
    parts = len(past) // WEEKDAYS
    whole = past.sum(0).astype(np.float64)
    by_day = past.reshape(WEEKDAYS, parts, -1)
    share = whole / whole.sum()
    of_part = _pulled(by_day.sum(0), share, pull.part)
    on_weekday = by_day.sum(1)
    of_kind = np.stack([on_weekday[:WORKDAYS].sum(0), on_weekday[WORKDAYS:].sum(0)])
    kind = np.arange(WEEKDAYS) // WORKDAYS
    weekday_pull = np.minimum(of_kind.sum(1) + pull.kind, pull.weekday)[kind]
    of_weekday = _pulled(on_weekday, _pulled(of_kind, share, pull.kind)[kind], weekday_pull[:, None])
    asked = np.flatnonzero(sessions)
    together = of_part[asked % parts] * of_weekday[asked // parts]
    together = np.divide(together, share, out=np.zeros_like(together), where=share > 0)
    together /= together.sum(1, keepdims=True)
    # What part and weekday say together is known no better than either of them.
    known = 1.0 / (1.0 / (by_day.sum((0, 2)) + pull.part) + 1.0 / (on_weekday.sum(1) + weekday_pull)[:, None])
    prior = np.minimum(known, pull.cell).ravel()
    mixes = _pulled(past[asked], together, prior[asked, None])
    weights = sessions[asked] / sessions.sum()
    return Forecast(weights @ mixes, past.sum(1) + prior)


def worth(sizes: F64, sessions: I64, most: float) -> float:
    """Return how many sessions a forecast counts for that was made for ``sessions`` (C,) by cell.

    Variances of independent means add up by the squares of their weights; ``sizes`` (C,) are the forecast's. What the
    prior adds must not make more of the past than there is: ``most`` sessions.
    """
    weights = sessions / sessions.sum()
    return min(float(1.0 / (weights**2 / sizes).sum()), most)


def _pulled(counts: npt.NDArray[np.int64], mean: F64, pseudo: F64 | float) -> F64:
    """Return the posterior means of rows of counts (R, K) under a Dirichlet prior with that mean (K,) or (R, K)."""
    return np.asarray((counts + pseudo * mean) / (counts.sum(-1, keepdims=True) + pseudo))
