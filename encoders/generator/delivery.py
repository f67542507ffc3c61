"""How events reach the edge: mostly at once, some delayed and so out of order, some late, some twice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.generator.drifts import Floats
from encoders.generator.randomness import keys, uniforms
from schemas.events import I64, U64

#: Ordinary transport: 20 ms plus an exponential of this mean.
_TRANSPORT_MS, _TRANSPORT_MEAN_MS = 20, 120.0
#: A delayed event waits this long (within the default allowed lateness of 5 minutes).
_DELAY_MS = (2_000, 280_000)
#: A late one waits this long: beyond it.
_LATE_MS = (330_000, 3 * 3_600_000)
#: A retry arrives this long after the first copy.
_RETRY_MS = (500, 60_000)
#: Streams of an event's random numbers.
_FATE, _WAIT, _TWICE, _RETRY = 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of events that are delivered out of order, late (beyond the allowed lateness) and twice."""

    delayed: float = 0.05
    late: float = 0.002
    duplicated: float = 0.01


@dataclass(frozen=True, slots=True)
class Deliveries:
    """``n`` rows as they reach the edge, sorted by the events' own time.

    event        (n,) int64, row of the event delivered; a duplicate follows its first copy
    received_ms  (n,) int64
    delayed, late, duplicates  how many rows were delayed within the allowed lateness, late, and second copies
    """

    event: I64
    received_ms: I64
    delayed: int
    late: int
    duplicates: int


def deliver(t_ms: I64, event_key: U64, faults: Faults) -> Deliveries:
    """Return when the events (n,) arrive and which arrive twice; depends on each event's own key alone."""
    fate, wait = uniforms(event_key, _FATE), uniforms(event_key, _WAIT)
    late = fate < faults.late
    delayed = ~late & (fate < faults.late + faults.delayed)
    latency = _TRANSPORT_MS - _TRANSPORT_MEAN_MS * np.log1p(-wait)
    latency = np.where(delayed, _log_between(_DELAY_MS, wait), latency)
    latency = np.where(late, _log_between(_LATE_MS, wait), latency)
    received_ms = t_ms + latency.astype(np.int64)
    twice = uniforms(event_key, _TWICE) < faults.duplicated
    again_ms = received_ms[twice] + _log_between(_RETRY_MS, uniforms(event_key[twice], _RETRY)).astype(np.int64)
    copies = 1 + twice.astype(np.int64)
    event = np.repeat(np.arange(len(t_ms)), copies)
    received_all = received_ms[event]
    second = np.cumsum(copies)[twice] - 1
    received_all[second] = again_ms
    return Deliveries(event, received_all, int(delayed.sum()), int(late.sum()), int(twice.sum()))


def event_keys(visit_key: U64, sequence: npt.NDArray[np.int16]) -> U64:
    """Return one key per event from its visit's key and its place in the visit."""
    return keys(0, visit_key, sequence.astype(np.uint64))


def _log_between(bounds_ms: tuple[int, int], u: Floats) -> Floats:
    """Return times log-uniform between two bounds: short waits are common, long ones rare."""
    low, high = bounds_ms
    return np.asarray(low * (high / low) ** u)
