"""What following a drift is worth: storefronts whose mix of buyers changes at once, peopled by those who know and not.

Everything about a storefront was learnt before its drift. After it some sessions are seen, and the sessions behind
those are what the simulated ones are held to.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agent_runtime.alignment.measures import measures
from agent_runtime.alignment.pool import Stage
from agent_runtime.alignment.run import AlignmentPlan, Cast, Comparison, Figures
from agent_runtime.alignment.table import AlignmentTable
from agent_runtime.alignment.yardsticks import mix_of
from agent_runtime.population.population import quotas
from agent_runtime.population.prior import steadied
from agent_runtime.traces.behaviour import of_played
from agent_runtime.traces.held_out import HeldOut, Recorded, read_held_out, record
from agent_runtime.walk.rollout import Span
from bench.align import FIRST_HELD_OUT, START_MS, AlignBench, generated, learn_world
from bench.report import Report
from encoders.generator.drifts import HOUR_MS, SCHEDULE
from encoders.generator.run import GeneratorRun
from encoders.serving import Encoder
from schemas.events import I64

#: Hours since the drift that are known; what is foretold lies behind the most. Types keep hours of their own, so a few
#: hours show whose hours they were as well.
SEEN_H = (6, 12, 24, 48)
#: Storefronts are watched this many times as long as those of the training.
_LONGER = 2.0
#: Nothing has been seen of the drift.
BEFORE = 0
MEASURES = ("ara_g", "conversion", "depth_w1")


@dataclass(frozen=True, slots=True)
class DriftedStorefront:
    """``known`` is all of the time before the drift, and as its future what lies behind ``seen``."""

    known: HeldOut
    seen: Recorded


def bench_align_drift(
    folder: Path, bench: AlignBench, storefronts: int, plan: AlignmentPlan, say: Callable[[str], None]
) -> Report:
    """Make what is missing in ``folder``, people every storefront before and after, and return the figures."""
    casting = learn_world(folder, bench, say)
    stage = Stage(replace(casting, training=(), earlier=None), plan)
    results = {}
    for place in range(storefronts):
        one = storefront(folder, bench, place, plan, stage.cast.encoder, casting.max_events, say)
        results[one.known.merchant_id] = compared(one, stage.cast, plan)
        say(f"{one.known.merchant_id} compared, {storefronts - place - 1} to go")
    return report_of(AlignmentTable(results), storefronts)


def storefront(
    folder: Path,
    bench: AlignBench,
    place: int,
    plan: AlignmentPlan,
    encoder: Encoder,
    max_events: int,
    say: Callable[[str], None],
    most_h: float = max(SEEN_H),
) -> DriftedStorefront:
    """Return the place-th of the held-out storefronts whose mix changes suddenly, ``most_h`` hours of it seen."""
    number = FIRST_HELD_OUT + SCHEDULE.index("sudden") + len(SCHEDULE) * place
    hours = _LONGER * bench.hours
    path = folder / f"drifted-{number}-{bench.held_out_buyers}-{hours:g}h-world-{bench.world_seed}.parquet"
    generated(path, GeneratorRun(1, bench.held_out_buyers, hours, bench.world_seed, START_MS, number), say)
    (drift,) = json.loads(path.with_suffix(".truth.json").read_text())["drifts"]
    cuts = {drift["merchant_id"]: drift["at_ms"]}
    (held,) = read_held_out([path], encoder, plan.gap_ms, max_events, 1, folder, cuts=cuts)
    begin = held.span.start_ms + round(most_h * HOUR_MS)
    early = _starts(held.future) < begin
    seen, future = (record(held.future.log.select(rows), encoder) for rows in (early, ~early))
    return DriftedStorefront(replace(held, future=future, span=Span(begin, held.span.end_ms)), seen)


def _starts(sessions: Recorded) -> I64:
    """Return when the sessions began, Unix ms."""
    return np.asarray(sessions.log.events["t"][sessions.log.starts])


def compared(
    one: DriftedStorefront, cast: Cast, plan: AlignmentPlan, seen_h: Sequence[float] = SEEN_H
) -> dict[str, Figures]:
    """Return condition -> measure -> value: real sessions, personas and none, by the hours since the drift."""
    comparison = Comparison(one.known, cast, plan)
    real, size = comparison.future, comparison.size
    nobody, without = np.zeros(size, np.int32), cast.others["no_persona"]
    before = comparison.adapter("persona", cast.persona)
    drift_ms = _starts(one.seen).min()
    figures: dict[str, Figures] = {}
    for hours in (BEFORE, *seen_h):
        sessions = one.known.past if hours == BEFORE else one.seen
        rows = np.flatnonzero((hours == BEFORE) | (_starts(sessions) < drift_ms + hours * HOUR_MS))
        traces = sessions.traces.select(rows)
        mix = mix_of(one.known.merchant_id, cast.encoder.version, traces.code, one.known.span.start_ms)
        own = comparison.adapter("no_persona", without, traces)
        figures[f"real_{hours:g}h"] = measures(real, sessions.behaviour.select(rows)) | {"sessions": float(len(rows))}
        crowd = comparison.played(cast.persona, quotas(steadied(mix, cast.prior), size, plan.seed), before)
        figures[f"persona_{hours:g}h"] = measures(real, of_played(crowd))
        figures[f"no_persona_{hours:g}h"] = measures(real, of_played(comparison.played(without, nobody, own)))
    return figures


def report_of(table: AlignmentTable, storefronts: int, known_h: Sequence[float] = (BEFORE, *SEEN_H)) -> Report:
    """Return every mean with its interval, and how far personas are above none that have seen as much."""
    report = Report()
    report.add("drifted_storefronts", float(storefronts), "storefronts")
    for measure in MEASURES:
        unit = "of mean" if measure == "depth_w1" else "0 to 1"
        for condition in table.conditions():
            report.estimate(f"{measure}_{condition}", table.mean(condition, measure), unit)
    for hours in known_h:
        above = table.above(f"persona_{hours:g}h", f"no_persona_{hours:g}h", "ara_g")
        report.estimate(f"ara_g_above_no_persona_{hours:g}h", above, "0 to 1")
        report.estimate(f"sessions_{hours:g}h", table.mean(f"real_{hours:g}h", "sessions"), "sessions")
    return report
