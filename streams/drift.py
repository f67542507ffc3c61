"""Has a merchant's mix of buyer types changed? A first detector over blocks of final sessions. Pure.

Sessions are taken in blocks of a fixed number. Each block is compared by Jensen–Shannon divergence with what the
merchant's baseline leads to expect at those hours of the day; what two samples of one and the same mix would show
anyway is taken off, and the rest, in standard deviations, is watched by Page's cumulative sum (Page 1954; river's
PageHinkley). An alarm needs both: the sum over its threshold, and the last blocks together further from the baseline
than their size and a practical floor explain.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import lgamma, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.page_hinkley import PageHinkley

F64 = npt.NDArray[np.float64]

DETECTOR = "page_hinkley_js"
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class DriftRules:
    """Dials of the detector; the defaults are measured in docs/distributions.md."""

    #: Sessions in a block: small enough to react within a few hundred sessions, large enough to hold 16 to 64 codes.
    block_sessions: int = 100
    #: Blocks pooled into the "recent" side of an alarm, and kept out of the baseline until they are older than that.
    recent_blocks: int = 3
    #: Least blocks of a baseline before anything is judged.
    baseline_blocks: int = 5
    #: A baseline takes in blocks until it spans this long in event time, so that it knows every hour of the day.
    baseline_ms: int = DAY_MS
    #: The day (UTC) is cut into this many parts, each with a mix of its own: evenings are not mornings.
    parts_of_day: int = 8
    #: Sessions that the mix of the whole day is worth as evidence about one part of it. The more, the less rhythm is
    #: thought possible: with few, nothing much is said about hours that the baseline has not seen.
    whole_day_sessions: float = 25.0
    #: Least divergence, in nats, that anybody should be told about: some ten points of the mix moved.
    floor_nats: float = 0.01
    #: Standard deviations that the pooled recent blocks must be away from the baseline.
    least_deviations: float = 4.0
    #: Page-Hinkley: what a block may deviate for free, and the sum of the rest that rings, in standard deviations.
    allowance: float = 1.0
    threshold: float = 8.0
    #: Blocks without any deviation that the cumulative sum starts from, as if they had been seen.
    presumed_blocks: int = 30
    #: One block counts for this much at most, so that a single odd block never rings alone.
    block_limit: float = 6.0


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two samples of codes lie apart. ``n_effective`` is the harmonic size that sets their noise.

    divergence  Jensen–Shannon divergence in nats less its expectation for two samples of one mix
    spread      standard deviation of that divergence for two samples of one mix, in nats
    """

    divergence: float
    spread: float
    n_effective: float

    @property
    def deviation(self) -> float:
        """The divergence in standard deviations."""
        return self.divergence / self.spread


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """A change of mix. Times are event times in ms UTC; ``statistic`` and ``threshold`` are nats.

    ``movers`` holds (code, share expected from the baseline, share in the recent blocks), largest change first.
    """

    detected_at_ms: int
    statistic: float
    threshold: float
    n_effective: float
    baseline_start_ms: int
    baseline_end_ms: int
    baseline_sessions: int
    recent_sessions: int
    movers: list[tuple[int, float, float]]


class _Block:
    """How many sessions have a code in a part of the day, and the time they span."""

    __slots__ = ("counts", "end_ms", "sessions", "start_ms")

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()
        self.sessions = 0
        self.start_ms = 0
        self.end_ms = 0

    def add(self, part: int, code: int, ended_ms: int) -> None:
        self.start_ms = min(self.start_ms, ended_ms) if self.sessions else ended_ms
        self.end_ms = max(self.end_ms, ended_ms)
        self.counts[part, code] += 1
        self.sessions += 1

    def merge(self, other: "_Block") -> None:
        self.start_ms = min(self.start_ms, other.start_ms) if self.sessions else other.start_ms
        self.end_ms = max(self.end_ms, other.end_ms)
        self.counts.update(other.counts)
        self.sessions += other.sessions


class DriftDetector:
    """Watches one merchant's final sessions of one codebook version; deterministic in their sequence.

    ``update(code, ended_ms)`` for each session; it returns an alarm when the mix has changed and then starts a new
    baseline from the block that rang. Alarms need sessions, not time: a merchant without traffic never rings.
    """

    def __init__(self, rules: DriftRules) -> None:
        self._rules = rules
        self._block = _Block()
        self._recent: deque[_Block] = deque()
        self._baseline = _Block()
        self._absorbed = 0
        self._cusum = self._fresh_cusum()

    def update(self, code: int, ended_ms: int) -> DriftAlarm | None:
        """Take in one final session; return the alarm it rang, if any."""
        self._block.add(ended_ms % DAY_MS * self._rules.parts_of_day // DAY_MS, code, ended_ms)
        if self._block.sessions < self._rules.block_sessions:
            return None
        block, self._block = self._block, _Block()
        return self._judge(block)

    def _judge(self, block: _Block) -> DriftAlarm | None:
        self._recent.append(block)
        if len(self._recent) > self._rules.recent_blocks:
            self._absorb(self._recent.popleft())
        alarm = None
        if self._absorbed >= self._rules.baseline_blocks:
            deviation = self._compare(block)[0].deviation
            self._cusum.update(min(deviation, self._rules.block_limit))
            if self._cusum.drift_detected:
                alarm = self._alarm()
                self._cusum = self._fresh_cusum()
        if alarm is not None:
            self._recent.clear()
            self._baseline = block
            self._absorbed = 1
        return alarm

    def _absorb(self, block: _Block) -> None:
        """Let the baseline grow until it has enough blocks and spans a day; from then on it stands still."""
        spans_ms = self._baseline.end_ms - self._baseline.start_ms
        if self._absorbed < self._rules.baseline_blocks or spans_ms < self._rules.baseline_ms:
            self._baseline.merge(block)
            self._absorbed += 1

    def _alarm(self) -> DriftAlarm | None:
        """Return an alarm if the recent blocks together are far enough from the baseline to be worth telling."""
        recent = _Block()
        for block in self._recent:
            recent.merge(block)
        found, moved = self._compare(recent)
        threshold = max(self._rules.floor_nats, self._rules.least_deviations * found.spread)
        if found.divergence <= threshold:
            return None
        return DriftAlarm(
            detected_at_ms=recent.end_ms,
            statistic=found.divergence,
            threshold=threshold,
            n_effective=found.n_effective,
            baseline_start_ms=self._baseline.start_ms,
            baseline_end_ms=self._baseline.end_ms,
            baseline_sessions=self._baseline.sessions,
            recent_sessions=recent.sessions,
            movers=moved,
        )

    def _compare(self, block: _Block) -> tuple[Shift, list[tuple[int, float, float]]]:
        """Compare sessions with what the baseline leads to expect at their parts of the day."""
        codes = sorted({code for _, code in self._baseline.counts} | {code for _, code in block.counts})
        expected, m = expectation(
            self._table(self._baseline, codes), self._table(block, codes).sum(1), self._rules.whole_day_sessions
        )
        found = self._table(block, codes).sum(0)
        observed = found / found.sum()
        return shift(expected, m, observed, float(block.sessions)), movers(codes, expected, observed)

    def _table(self, block: _Block, codes: list[int]) -> F64:
        """Return a block's sessions by part of the day and code, (parts_of_day, len(codes))."""
        column = {code: i for i, code in enumerate(codes)}
        table = np.zeros((self._rules.parts_of_day, len(codes)))
        for (part, code), sessions in block.counts.items():
            table[part, column[code]] = sessions
        return table

    def _fresh_cusum(self) -> Any:
        # alpha = 1: river's forgetting factor also shrinks the sum itself, which would let small steady losses ring.
        rules = self._rules
        cusum = PageHinkley(min_instances=2, delta=rules.allowance, threshold=rules.threshold, alpha=1.0, mode="up")
        # river measures from the mean of what it saw; without change that is 0, and it must not learn it from a change.
        for _ in range(rules.presumed_blocks):
            cusum.update(0.0)
        return cusum


def expectation(baseline: F64, parts: F64, whole_day_sessions: float) -> tuple[F64, float]:
    """Return the mix (K,) that a baseline leads to expect, and the number of sessions that this knowledge is worth.

    ``baseline`` (P, K) are its sessions by part of the day and code, ``parts`` (P,) the sessions of the other sample by
    part of the day. A part's mix is pulled towards the whole day's as by ``whole_day_sessions`` Dirichlet
    pseudo-sessions, and the parts are weighted as in the other sample. Variances of independent means add up by the
    squares of their weights, which gives the worth; a baseline as large and as spread as the sample loses nothing.
    """
    whole = baseline.sum()
    pull = min(whole_day_sessions, whole / len(baseline))
    sizes = baseline.sum(1) + pull
    mixes = (baseline + pull * baseline.sum(0) / whole) / sizes[:, None]
    weights = parts / parts.sum()
    mix: F64 = weights @ mixes
    return mix, float(1.0 / (weights**2 / sizes).sum())


def shift(p: F64, m: float, q: F64, n: float) -> Shift:
    """Return how far two mixes (K,), found in m and n sessions, lie apart, beyond what chance alone would show.

    For sessions of one mix, 8·JS / (1/m + 1/n) is about chi-square with K − 1 degrees of freedom (second-order
    expansion of JS; for m → ∞ its mean gives (K − 1) / (8n)). That holds for codes drawn often; what a rarer code adds
    in mean and variance is taken from ``_chance``. Every code must occur in one of the mixes.
    """
    n_effective = m * n / (m + n)
    expected = np.log(n_effective * (m * p + n * q) / (m + n))
    chance = max(float(np.interp(expected, _LOG_DRAWS, _CHANCE_MEAN).sum()) - 1.0, 0.0)
    spread = sqrt(float(np.interp(expected, _LOG_DRAWS, _CHANCE_VARIANCE).sum()))
    beyond = 8.0 * n_effective * js_divergence(p, q) - chance
    return Shift(beyond / (8.0 * n_effective), spread / (8.0 * n_effective), n_effective)


def js_divergence(p: F64, q: F64) -> float:
    """Return the Jensen–Shannon divergence of two (K,) mixes in nats, between 0 and ln 2 (Lin 1991)."""
    middle = 0.5 * (p + q)
    return 0.5 * (_kl(p, middle) + _kl(q, middle))


def movers(codes: list[int], before: F64, now: F64, most: int = 5) -> list[tuple[int, float, float]]:
    """Return the codes whose share changed most: (code, share before, share now), largest change first."""
    ranked = sorted(zip(codes, before.tolist(), now.tolist(), strict=True), key=lambda r: (-abs(r[2] - r[1]), r[0]))
    return ranked[:most]


def _kl(p: F64, q: F64) -> float:
    present = p > 0
    return float((p[present] * np.log(p[present] / q[present])).sum())


def _chance(draws: float) -> tuple[float, float]:
    """Return mean and variance of what a code expected to be drawn so often adds to 8·n·JS without any change.

    The number drawn is Poisson; against its own expectation it adds 4·draws·(u·ln(2u / (1 + u)) + ln(2 / (1 + u))) with
    u = drawn / draws. For many draws that is chi-square with one degree of freedom: mean 1, variance 2.
    """
    drawn = np.arange(int(draws + 12 * sqrt(draws) + 20), dtype=np.float64)
    chances = np.exp(drawn * log(draws) - draws - np.array([lgamma(k + 1) for k in drawn]))
    u = drawn / draws
    own = np.where(drawn > 0, u * np.log(np.where(drawn > 0, 2 * u / (1 + u), 1.0)), 0.0)
    adds = 4 * draws * (own + np.log(2 / (1 + u)))
    mean = float((chances * adds).sum())
    return mean, float((chances * adds * adds).sum()) - mean * mean


_DRAWS = np.geomspace(1e-3, 1e3, 61)
_LOG_DRAWS = np.log(_DRAWS)
_CHANCE_MEAN, _CHANCE_VARIANCE = (np.array(column) for column in zip(*map(_chance, _DRAWS.tolist()), strict=True))
