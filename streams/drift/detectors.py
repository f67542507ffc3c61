"""Has a merchant's mix of buyer types changed? Detectors over blocks of final sessions. Pure.

Sessions are taken in blocks of a fixed number. For each block the baseline forecasts the mix of its hours and weekdays
(``drift.forecast``), and three detectors look at how far what came lies from what was forecast, less what chance alone
would show (``drift.divergence``):

    window        the last blocks together, several numbers of blocks, against a threshold that rises with the number
                  of looks, so that no merchant, however busy, rings more often than its budget when nothing changes
    page_hinkley  Page's cumulative sum of the blocks' deviations (Page 1954)
    adwin         a window of deviations that notices when its newer part lies higher (Bifet and Gavaldà 2007)

The last two ring only if one of the windows is odd too.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.drift.adwin import Adwin
from streams.drift.attribution import movers
from streams.drift.baseline import Baseline, Block, Look
from streams.drift.forecast import DAY_MS, Pull
from streams.drift.page_hinkley import PageHinkley

YEAR_MS = 365 * DAY_MS
DETECTORS = WINDOW, PAGE_HINKLEY, ADWIN = "window_js", "page_hinkley_js", "adwin_js"


@dataclass(frozen=True, slots=True)
class DriftRules:
    """Dials of the detectors; the defaults are measured in docs/distributions.md."""

    #: Sessions in a block: small enough to react within a few hundred sessions, large enough to hold 16 to 64 codes.
    block_sessions: int = 100
    #: Blocks that are looked at together: few for large changes, many for small ones.
    windows: tuple[int, ...] = (3, 10, 30)
    #: Blocks kept out of the baseline until that many newer ones have come, so that a slow change stands out;
    #: no more than half as many as the baseline has.
    recent_blocks: int = 10
    #: Least blocks of a baseline before anything is judged.
    baseline_blocks: int = 5
    #: A baseline takes in blocks until it spans this long in event time, so that it knows every weekday twice.
    baseline_ms: int = 14 * DAY_MS
    #: A day (UTC) is cut into this many parts: evenings are not mornings.
    parts_of_day: int = 8
    #: How much rhythm is thought possible before it was seen.
    pull: Pull = field(default_factory=Pull)
    #: False alarms that a merchant without any change may ring in a year, whatever its traffic.
    alarms_a_year: float = 0.25
    #: The most of them that one look may cost, though years without a session should have saved up for more.
    most_of_a_look: float = 0.05
    #: Least divergence, in nats, that anybody should be told about: some four points of the mix moved.
    floor_nats: float = 0.002
    #: Which detectors may ring.
    detectors: frozenset[str] = frozenset(DETECTORS)
    #: Chance, without change, of a window as odd as one that confirms Page-Hinkley or ADWIN.
    confirmation: float = 1e-4
    #: Page-Hinkley: what a block may deviate for free, and the sum of the rest that rings, in standard deviations.
    allowance: float = 1.0
    threshold: float = 8.0
    #: Blocks without any deviation that the cumulative sum starts from, as if they had been seen.
    presumed_blocks: int = 30
    #: One block counts for this much at most, so that a single odd block never rings alone.
    block_limit: float = 6.0
    #: ADWIN: significance of one comparison.
    adwin_delta: float = 0.002


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """A change of mix, and who noticed. Times are event times in ms UTC; ``statistic`` and ``threshold`` are nats.

    ``movers`` holds (code, share expected from the baseline, share in the recent blocks) of the codes that moved, the
    largest change first; ``types`` the same of buyer types by name.
    """

    detector: str
    detected_at_ms: int
    statistic: float
    threshold: float
    n_effective: float
    baseline_start_ms: int
    baseline_end_ms: int
    baseline_sessions: int
    recent_sessions: int
    movers: list[tuple[int, float, float]]
    types: list[tuple[str, float, float]]


class _Series:
    """Page-Hinkley and ADWIN on the deviations of successive blocks."""

    def __init__(self, rules: DriftRules) -> None:
        self._cusum = _fresh_cusum(rules)
        self._adwin = Adwin(rules.adwin_delta)

    def update(self, deviation: float) -> set[str]:
        """Take in one deviation; return the names of the tests that ring at it."""
        self._cusum.update(deviation)
        rang = {PAGE_HINKLEY: self._cusum.drift_detected, ADWIN: self._adwin.update(deviation)}
        return {name for name, rings in rang.items() if rings}


class DriftDetector:
    """Watches one merchant's final sessions of one codebook version; deterministic in their sequence.

    ``update(code, ended_ms, type_name)`` for each session; it returns an alarm when the mix has changed and then starts
    a new baseline from the block that rang. Alarms need sessions, not time: a merchant without traffic never rings.
    """

    def __init__(self, rules: DriftRules) -> None:
        self._rules = rules
        self._baseline = Baseline(rules.parts_of_day, rules.pull, max(rules.windows))
        self._block: list[tuple[int, int]] = []
        self._judged_ms = 0
        self._start_anew()

    def update(self, code: int, ended_ms: int, type_name: str = "") -> DriftAlarm | None:
        """Take in one final session; return the alarm it rang, if any. Without ``type_name`` each code is a type."""
        self._block.append((self._baseline.column(code, type_name or str(code)), ended_ms))
        if len(self._block) < self._rules.block_sessions:
            return None
        columns, ended = np.array(self._block, np.int64).T
        self._block.clear()
        return self._judge(Block(columns, ended))

    def _judge(self, block: Block) -> DriftAlarm | None:
        alarm, looks = None, []
        if self._baseline.blocks >= self._rules.baseline_blocks:
            deviation = max(look.shift.deviation for look in self._baseline.judge(block))
            rang = self._series.update(min(deviation, self._rules.block_limit))
            sizes = [blocks for blocks in self._rules.windows if blocks <= self._baseline.judged_blocks]
            looks = [look for blocks in sizes for look in self._baseline.looks(blocks)]
            alarm = self._alarm(looks, rang, block)
        self._judged_ms = block.end_ms
        if alarm is not None:
            self._start_anew()
            self._baseline.absorb(block)
            return alarm
        self._waiting.append((block, looks))
        held_back = min(self._rules.recent_blocks, self._baseline.blocks // 2)
        if len(self._waiting) > held_back or self._baseline.blocks < self._rules.baseline_blocks:
            self._absorb(*self._waiting.popleft())
        return None

    def _absorb(self, block: Block, looks: list[Look]) -> None:
        """Let the baseline grow until it has enough blocks and spans two weeks; from then on it stands still."""
        spans_ms = self._baseline.end_ms - self._baseline.start_ms
        if self._baseline.blocks < self._rules.baseline_blocks or spans_ms < self._rules.baseline_ms:
            self._baseline.absorb(block, looks)

    def _alarm(self, looks: list[Look], rang: set[str], block: Block) -> DriftAlarm | None:
        """Return an alarm if a window is further from its forecast than the budget allows, or odd when a test rang."""
        rules = self._rules
        if not looks:
            return None
        # Looks are paid for by the time since the last ones: a year's looks together cost a year's budget.
        due = rules.alarms_a_year * max(block.end_ms - self._judged_ms, 1) / YEAR_MS / len(looks)
        spent = min(due, rules.most_of_a_look)
        for detector, chance in ((WINDOW, spent), *((name, rules.confirmation) for name in sorted(rang))):
            if detector in rules.detectors:
                least = [max(look.shift.least(chance), rules.floor_nats) for look in looks]
                threshold, clearest = max(
                    zip(least, looks, strict=True), key=lambda pair: pair[1].shift.divergence / pair[0]
                )
                if clearest.shift.divergence > threshold:
                    return self._told(detector, clearest, threshold, block)
        return None

    def _told(self, detector: str, look: Look, threshold: float, block: Block) -> DriftAlarm:
        by_code, *by_type = self._baseline.looks(look.blocks)
        return DriftAlarm(
            detector=detector,
            detected_at_ms=block.end_ms,
            statistic=look.shift.divergence,
            threshold=threshold,
            n_effective=look.shift.n_effective,
            baseline_start_ms=self._baseline.start_ms,
            baseline_end_ms=self._baseline.end_ms,
            baseline_sessions=self._baseline.sessions,
            recent_sessions=look.sessions,
            movers=[(int(name), before, now) for name, before, now in _movers(by_code)],
            types=_movers(by_type[0] if by_type else by_code),
        )

    def _start_anew(self) -> None:
        self._baseline.restart()
        self._waiting: deque[tuple[Block, list[Look]]] = deque()
        self._series = _Series(self._rules)


def _movers(look: Look) -> list[tuple[str, float, float]]:
    return movers(look.names, look.expected, look.worth, look.observed, float(look.sessions))


def _fresh_cusum(rules: DriftRules) -> Any:
    # alpha = 1: river's forgetting factor also shrinks the sum itself, which would let small steady losses ring.
    cusum = PageHinkley(min_instances=2, delta=rules.allowance, threshold=rules.threshold, alpha=1.0, mode="up")
    # river measures from the mean of what it saw; without change that is 0, and it must not learn it from a change.
    for _ in range(rules.presumed_blocks):
        cusum.update(0.0)
    return cusum
