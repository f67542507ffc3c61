"""Do simulated shoppers behave like the real ones? Rates, distributions and codes; formulas in ``docs/alignment.md``.

Pure and symmetric where that makes sense: ``reference`` is the real side, which alone decides what is compared.
"""

import numpy as np
import numpy.typing as npt

from agent_runtime.crowds.fidelity import jensen_shannon
from agent_runtime.traces.behaviour import EVENT_OF_ACTION, STRATUM_OF_ACTION, Behaviour
from schemas.events import I32, U8
from schemas.taxonomy import STRATA

F64 = npt.NDArray[np.float64]

#: An action is compared when the real sessions show it at least this often, and once per so many sessions: below that
#: the two halves of one merchant's own traffic do not agree on its rate.
LEAST_COUNT, LEAST_RATE = 10, 0.01

#: Every measure of ``measures``, in the order of a report, and what it is.
MEASURES = {
    "ara_g": "action rates per session, grouped by stratum",
    "ara_s": "action rates within the sessions of a stratum",
    "ara_t": "joint rates of stratum and action",
    "ara_events": "as G, over the ten event names",
    "conversion": "share of sessions that buy",
    "strata": "shares of the deepest strata",
    "depth_w1": "distance of session lengths, in mean lengths",
    "dwell_w1": "distance of session durations, in mean durations",
    "distinct": "share of sessions like no other",
}


def aligned(a: F64, b: F64) -> F64:
    """Return the alignment of two rates, 1 - |a - b| / max(a, b), elementwise: 1 when equal, 0 when one is missing.

    Two rates of zero agree.
    """
    top = np.maximum(a, b)
    return np.asarray(1.0 - np.abs(a - b) / np.where(top > 0, top, 1.0))


def measures(reference: Behaviour, other: Behaviour) -> dict[str, float]:
    """Return all measures of ``MEASURES`` of ``other`` against the real ``reference``; NaN without support."""
    return {
        "ara_g": grouped_rates(reference, other),
        "ara_s": rates_within(reference, other),
        "ara_t": joint_rates(reference, other),
        "ara_events": event_rates(reference, other),
        "conversion": conversion(reference, other),
        "strata": strata_shares(reference, other),
        "depth_w1": relative_w1(reference.events.astype(np.float64), other.events.astype(np.float64)),
        "dwell_w1": relative_w1(reference.dwell_s, other.dwell_s),
        "distinct": distinct_alignment(reference, other),
    }


def grouped_rates(reference: Behaviour, other: Behaviour) -> float:
    """Return G: actions' rates per session over all sessions, averaged within each stratum, then over the strata."""
    return _over_strata(_totals(reference), _totals(other), len(reference), len(other), STRATUM_OF_ACTION)


def event_rates(reference: Behaviour, other: Behaviour) -> float:
    """Return G over event names: what the coarser alphabet of ten events gives."""
    names = np.unique(EVENT_OF_ACTION)
    strata = np.array([STRATUM_OF_ACTION[name == EVENT_OF_ACTION][0] for name in names], np.uint8)

    def totals(behaviour: Behaviour) -> F64:
        counts = _totals(behaviour)
        return np.array([counts[name == EVENT_OF_ACTION].sum() for name in names])

    return _over_strata(totals(reference), totals(other), len(reference), len(other), strata)


def rates_within(reference: Behaviour, other: Behaviour) -> float:
    """Return S: mean counts of each action within the sessions whose deepest stratum it is, averaged likewise."""
    return _cells(reference, other, within=True)


def joint_rates(reference: Behaviour, other: Behaviour) -> float:
    """Return T: as S, but per session of all: a stratum that too few sessions reach counts against every action."""
    return _cells(reference, other, within=False)


def conversion(reference: Behaviour, other: Behaviour) -> float:
    """Return the alignment of the shares of sessions that buy; NaN when no real session did."""
    real = reference.converted.mean()
    return float(aligned(np.array(real), np.array(other.converted.mean()))) if real > 0 else float("nan")


def strata_shares(reference: Behaviour, other: Behaviour) -> float:
    """Return the alignment of the shares of sessions whose deepest stratum is A, B, C or D."""
    real, found = _shares(reference.stratum), _shares(other.stratum)
    return float(aligned(real, found)[real > 0].mean())


def relative_w1(reference: F64, other: F64) -> float:
    """Return the 1-Wasserstein distance of two samples, divided by the mean of ``reference``.

    The area between the two empirical distribution functions (Vallender 1974).
    """
    points = np.sort(np.concatenate([reference, other]))
    below = np.searchsorted(np.sort(reference), points[:-1], side="right") / len(reference)
    under = np.searchsorted(np.sort(other), points[:-1], side="right") / len(other)
    mean = reference.mean()
    return float(np.sum(np.abs(below - under) * np.diff(points)) / mean) if mean > 0 else float("nan")


def distinct_alignment(reference: Behaviour, other: Behaviour) -> float:
    """Return the alignment of diversity: the shares of sessions whose actions no other session repeats, at equal n."""
    size = min(len(reference), len(other))
    real, found = (_alone(behaviour.sequence[:size]) for behaviour in (reference, other))
    return float(aligned(np.array(real), np.array(found))) if real > 0 else float("nan")


def code_divergence(reference: I32, other: I32, size: int) -> float:
    """Return the Jensen–Shannon divergence (nats) of the shares of two lists of codes below ``size``."""
    shares = [np.bincount(codes, minlength=size) / len(codes) for codes in (reference, other)]
    return jensen_shannon(shares[0], shares[1])


def _totals(behaviour: Behaviour) -> F64:
    return np.asarray(behaviour.counts.sum(axis=0), np.float64)


def _shares(stratum: U8) -> F64:
    return np.bincount(stratum, minlength=len(STRATA)) / len(stratum)


def _alone(sequence: npt.NDArray[np.uint64]) -> float:
    return float((np.unique(sequence, return_counts=True)[1] == 1).sum() / len(sequence))


def _supported(counts: F64, sessions: int) -> npt.NDArray[np.bool_]:
    return np.asarray(counts >= max(LEAST_COUNT, LEAST_RATE * sessions))


def _over_strata(real: F64, found: F64, real_sessions: int, found_sessions: int, strata: U8) -> float:
    agreement = aligned(real / real_sessions, found / found_sessions)
    supported = _supported(real, real_sessions)
    return _mean([agreement[supported & (strata == stratum)] for stratum in range(len(STRATA))])


def _cells(reference: Behaviour, other: Behaviour, within: bool) -> float:
    groups = []
    for stratum in range(len(STRATA)):
        real_rows, found_rows = reference.stratum == stratum, other.stratum == stratum
        real, found = reference.counts[real_rows].sum(axis=0), other.counts[found_rows].sum(axis=0)
        real_size = real_rows.sum() if within else len(reference)
        found_size = max(found_rows.sum(), 1) if within else len(other)
        supported = _supported(real.astype(np.float64), len(reference))
        groups.append(aligned(real / max(real_size, 1), found / found_size)[supported])
    return _mean(groups)


def _mean(groups: list[F64]) -> float:
    """Return the mean over the groups' means; groups without support do not count, none at all is NaN."""
    means = [group.mean() for group in groups if len(group)]
    return float(np.mean(means)) if means else float("nan")
