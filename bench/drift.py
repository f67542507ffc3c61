"""Are shifts of a merchant's mix noticed soon, rightly named, and not when there is none? The product's own detectors.

Simulated final assignments of the generator's shops (``bench.drift_traffic``) go through ``streams.drift.watch``, shop
by shop. Steady shops count false alarms; others shift once, after two weeks, by so many points of their mix.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

import numpy as np

from bench.drift_traffic import DAY_MS, START_MS, Shifted, TrafficPlan, plan_shift, sessions_of, type_of
from bench.report import Report
from streams.drift.detectors import ADWIN, PAGE_HINKLEY, WINDOW, DriftRules
from streams.drift.forecast import Pull
from streams.drift.watch import DriftWatch

#: Shops that shift are numbered from here, so that no shop is both.
FIRST_SHIFTED = 5_000
#: A shift comes within two days after this many days.
QUIET_DAYS = 14
_YEAR_DAYS = 365.0
_NEVER = 1e15
#: The detectors without each of their parts: what is changed in the rules.
ABLATIONS: dict[str, Callable[[DriftRules], DriftRules]] = {
    "window_alone": lambda rules: replace(rules, detectors=frozenset({WINDOW})),
    "page_hinkley_alone": lambda rules: replace(rules, detectors=frozenset({PAGE_HINKLEY})),
    "adwin_alone": lambda rules: replace(rules, detectors=frozenset({ADWIN})),
    "no_rhythm": lambda rules: replace(rules, parts_of_day=1, pull=Pull(weekday=_NEVER, cell=_NEVER)),
    "hours_only": lambda rules: replace(rules, pull=replace(rules.pull, weekday=_NEVER)),
}
#: Concentration of the daily mixes of restless shops: a type of a fifth of the mix varies by 2.3 points a day.
RESTLESS = 300.0


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """What to measure.

    steady, days         shops without a shift, and for how long their alarms are counted
    shifted, after_days  shops per size of shift, and how long they are watched after it
    points               sizes of shifts, in points of the mix
    ablations            whether each detector alone, forecasts without rhythm, codes without types, and restless shops
                         are measured too
    """

    steady: int = 200
    days: int = 30
    shifted: int = 60
    after_days: int = 28
    points: tuple[int, ...] = (5, 10, 20)
    ablations: bool = False
    traffic: TrafficPlan = field(default_factory=TrafficPlan)
    rules: DriftRules = field(default_factory=DriftRules)


@dataclass(frozen=True, slots=True)
class Watched:
    """One shop watched: its sessions, days, alarms where nothing had changed, and what became of its shift.

    delay         sessions from the shift to the first alarm after it; None when it was missed or there was none
    planted       types whose share the shift changed
    named, right  types that the alarm named, and how many of these were planted
    """

    sessions: int
    quiet_days: float
    false_alarms: int
    delay: int | None
    planted: int
    named: int
    right: int
    detector: str


@dataclass(frozen=True, slots=True)
class _Task:
    traffic: TrafficPlan
    rules: DriftRules
    number: int
    days: float
    points: int
    types: bool


def bench_drift(plan: DriftPlan, processes: int, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; ``processes`` work at a time."""
    report = Report()
    # A started process inherits no threads of this one.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:

        def watched(name: str, traffic: TrafficPlan, rules: DriftRules, points: int, types: bool) -> list[Watched]:
            first, shops = (FIRST_SHIFTED, plan.shifted) if points else (0, plan.steady)
            days = QUIET_DAYS + 2 + plan.after_days if points else plan.days
            tasks = [_Task(traffic, rules, first + i, days, points, types) for i in range(shops)]
            results = []
            for result in pool.map(_watch, tasks, chunksize=4):
                results.append(result)
                if len(results) % 20 == 0 or len(results) == shops:
                    say(f"{name}, {f'shift of {points} points' if points else 'steady'}: {len(results)}/{shops} shops")
            return results

        def measure(name: str, traffic: TrafficPlan, rules: DriftRules, types: bool = True) -> None:
            prefix = f"{name}_" if name else ""
            _add_steady(report, prefix, watched(name or "all detectors", traffic, rules, 0, types))
            for points in plan.points:
                _add_shift(
                    report, f"{prefix}shift_{points}", watched(name or "all detectors", traffic, rules, points, types)
                )

        measure("", plan.traffic, plan.rules)
        if plan.ablations:
            for name, change in ABLATIONS.items():
                measure(name, plan.traffic, change(plan.rules))
            measure("no_types", plan.traffic, plan.rules, types=False)
            measure("restless", replace(plan.traffic, restless=RESTLESS), plan.rules)
    return report


def _watch(task: _Task) -> Watched:
    """Send one shop's sessions through the watch until its shift was noticed, or to their end."""
    shift = _shift(task) if task.points else None
    sessions = sessions_of(task.traffic, task.number, task.days, shift)
    shift_ms = shift.at_ms if shift is not None else START_MS + int(task.days * DAY_MS)
    before = int(np.searchsorted(sessions.ended_ms, shift_ms))
    false_alarms = 0
    planted = shift.types if shift is not None else frozenset()
    quiet_days = (shift_ms - START_MS) / DAY_MS
    for position, types, detector in _alarms(task, sessions.codes.tolist(), sessions.ended_ms.tolist()):
        if position < before:
            false_alarms += 1
        else:
            return Watched(
                sessions=len(sessions.codes),
                quiet_days=quiet_days,
                false_alarms=false_alarms,
                delay=position + 1 - before,
                planted=len(planted),
                named=len(types),
                right=len(types & planted),
                detector=detector,
            )
    return Watched(len(sessions.codes), quiet_days, false_alarms, None, len(planted), 0, 0, "")


def _shift(task: _Task) -> Shifted:
    within = np.random.default_rng([task.traffic.seed, task.number, task.points]).uniform(0.0, 2.0)
    return plan_shift(task.traffic, task.number, task.points / 100.0, START_MS + int((QUIET_DAYS + within) * DAY_MS))


def _alarms(task: _Task, codes: Sequence[int], ended_ms: Sequence[int]) -> Iterator[tuple[int, set[int], str]]:
    """Yield the position of each alarm, the types it names, and who rang."""
    watch = DriftWatch(task.rules)
    for position, (code, at_ms) in enumerate(zip(codes, ended_ms, strict=True)):
        kind = type_of(task.traffic, code) if task.types else code
        ring = watch.update("shop", "bench", code, at_ms, str(kind))
        if ring is not None:
            named = {int(name) if task.types else type_of(task.traffic, int(name)) for name, _, _ in ring.alarm.types}
            yield position, named, ring.alarm.detector


def _add_steady(report: Report, prefix: str, results: list[Watched]) -> None:
    years = sum(result.quiet_days for result in results) / _YEAR_DAYS
    alarms = sum(result.false_alarms for result in results)
    report.add(f"{prefix}steady_merchants", float(len(results)), "merchants")
    report.add(f"{prefix}steady_sessions", float(sum(result.sessions for result in results)), "sessions")
    report.add(f"{prefix}false_alarms", float(alarms), "alarms")
    report.add(f"{prefix}false_alarms_a_year", alarms / years, "alarms/merchant-year")


def _add_shift(report: Report, name: str, results: list[Watched]) -> None:
    found = [result for result in results if result.delay is not None]
    # A missed shift is one that would have taken longer than any that was found.
    delays = np.array([np.inf if result.delay is None else result.delay for result in results])
    years = sum(result.quiet_days for result in results) / _YEAR_DAYS
    report.add(f"{name}_found", len(found) / len(results), "of shifts")
    for part, quantile in (("median", 0.5), ("p90", 0.9)):
        delay = float(np.quantile(delays, quantile, method="higher"))
        if np.isfinite(delay):
            report.add(f"{name}_delay_{part}", delay, "sessions")
        else:
            report.missing[f"{name}_delay_{part}"] = f"only {len(found)} of {len(results)} shifts were found."
    if found:
        report.add(f"{name}_types_named", sum(r.right for r in found) / sum(r.planted for r in found), "of planted")
        report.add(f"{name}_named_rightly", sum(r.right for r in found) / sum(r.named for r in found), "of named")
        for detector in (WINDOW, PAGE_HINKLEY, ADWIN):
            rang = sum(result.detector == detector for result in found)
            report.add(f"{name}_by_{detector}", rang / len(found), "of found")
    report.add(f"{name}_false_alarms_a_year", sum(r.false_alarms for r in results) / years, "alarms/merchant-year")
