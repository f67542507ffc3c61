"""Simulated final assignments: shops whose mix of buyer types follows hour and weekday, and shifts when told to.

Shops, their mixes, their busy hours and the types' favourite hours are the generator's own; only the walk through pages
and the encoder are left out: a session's code is its planted type's, or with some chance another type's, and one of
that type's finer codes at fixed odds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.generator.buyer_types import BUYER_TYPES, habits
from encoders.generator.drifts import Floats
from encoders.generator.merchants import Merchant, build_merchant
from encoders.generator.visits import taste_for_hour
from schemas.events import I64

#: A Monday, 2026-09-07.
START_MS = 1_788_739_200_000
DAY_MS = 86_400_000
TYPES = len(BUYER_TYPES)
#: Habits of the types as written.
_HABITS = habits(0.0)
#: Sessions a day of a shop are drawn between these, evenly by size.
LEAST_DAILY, MOST_DAILY = 100.0, 2_000.0
#: A type gives away at most this much of its share: no type dies out.
_MOST_GIVEN = 0.9
_BIN_MS = 900_000
#: Streams of random numbers of a shop.
_SIZE, _SESSIONS, _SHIFT, _CODES = 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What sessions look like: finer codes of each type, share coded as another type, and the world's seed.

    restless  concentration of a Dirichlet that every day's mix is drawn from; 0 keeps the mix still
    """

    fine: int = 4
    wrong: float = 0.1
    seed: int = 5
    restless: float = 0.0


@dataclass(frozen=True, slots=True)
class Shifted:
    """A planted shift: from when, to which mix (T,), and the types whose share it changes."""

    at_ms: int
    to_mix: Floats
    types: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sessions:
    """A shop's final sessions in order of time: codes (n,) and times of their end (n,), ms UTC."""

    codes: I64
    ended_ms: I64


def plan_shift(plan: TrafficPlan, number: int, points: float, at_ms: int) -> Shifted:
    """Return a shift of ``points`` (0 to 1) of a shop's mix from its commonest types to one or two others."""
    rng = np.random.default_rng([plan.seed, number, round(points * 1_000), _SHIFT])
    mix = _shop(plan, number).mix
    to_mix, left = mix.copy(), points
    losers = []
    for kind in np.argsort(-mix).tolist():
        if left <= 0.0:
            break
        taken = min(_MOST_GIVEN * float(mix[kind]), left)
        to_mix[kind] -= taken
        left -= taken
        losers.append(kind)
    others = [kind for kind in range(TYPES) if kind not in losers]
    winners = rng.choice(others, int(rng.integers(1, 3)), replace=False).tolist()
    to_mix[winners] += (points - left) / len(winners)
    return Shifted(at_ms, to_mix, frozenset([*losers, *winners]))


def sessions_of(plan: TrafficPlan, number: int, days: float, shift: Shifted | None = None) -> Sessions:
    """Return the sessions of shop ``number`` over some days; with a shift its earlier ones are those without it."""
    merchant = _shop(plan, number)
    bins = START_MS + _BIN_MS * np.arange(int(days * DAY_MS / _BIN_MS), dtype=np.int64)
    kinds = np.arange(TYPES)
    rhythm = merchant.busyness(bins)[:, None] * taste_for_hour(merchant, bins[:, None], kinds[None, :], _HABITS)
    mix = np.broadcast_to(merchant.mix, rhythm.shape)
    if shift is not None:
        mix = np.where((bins >= shift.at_ms)[:, None], shift.to_mix, mix)
    if plan.restless:
        mix = _restless(plan, number, bins, mix)
    size = np.random.default_rng([plan.seed, number, _SIZE]).uniform(np.log(LEAST_DAILY), np.log(MOST_DAILY))
    week = 7 * DAY_MS // _BIN_MS
    rates = mix * rhythm * np.exp(size) * _BIN_MS / DAY_MS / (merchant.mix * rhythm)[:week].sum(1).mean()
    rng = np.random.default_rng([plan.seed, number, _SESSIONS])
    counts = rng.poisson(rates)
    bin_index, kind = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), TYPES)
    ended_ms = bins[bin_index] + rng.integers(0, _BIN_MS, len(kind))
    codes = _codes(plan, number, kind, rng)
    order = np.argsort(ended_ms, kind="stable")
    return Sessions(codes[order], ended_ms[order])


def type_of(plan: TrafficPlan, code: int) -> int:
    """Return the type that a code stands for."""
    return code // plan.fine


def _shop(plan: TrafficPlan, number: int) -> Merchant:
    return build_merchant(plan.seed, number, START_MS, START_MS + DAY_MS, with_drift=False)


def _codes(plan: TrafficPlan, number: int, kind: I64, rng: np.random.Generator) -> I64:
    fixed = np.random.default_rng([plan.seed, number, _CODES])
    confused_with = np.cumsum(fixed.dirichlet(np.ones(TYPES), TYPES), axis=1)
    odds = np.cumsum(fixed.dirichlet(np.ones(plan.fine), TYPES), axis=1)
    wrong = rng.random(len(kind)) < plan.wrong
    seen = np.where(wrong, _pick(confused_with[kind], rng), kind)
    return np.asarray(seen * plan.fine + _pick(odds[seen], rng), np.int64)


def _pick(cumulative: Floats, rng: np.random.Generator) -> I64:
    """Return one column per row of cumulative odds (n, C)."""
    below = rng.random((len(cumulative), 1)) > cumulative[:, :-1]
    return np.asarray(below.sum(1), np.int64)


def _restless(plan: TrafficPlan, number: int, bins: I64, mix: npt.NDArray[np.float64]) -> Floats:
    rng = np.random.default_rng([plan.seed, number, _SHIFT])
    day = (bins - START_MS) // DAY_MS
    wobble = np.stack([rng.dirichlet(plan.restless * mix[i]) for i in np.flatnonzero(np.diff(day, prepend=-1))])
    return np.asarray(wobble[day] / mix[np.flatnonzero(np.diff(day, prepend=-1))][day] * mix)
