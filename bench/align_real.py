"""Simulated buyers on real storefronts: each real click log in turn is the one that nothing was trained on.

A log is one storefront, as its format names the merchant; its sessions are cut at the median of their starts into a
past, of which everything about the storefront comes, and a future, which is what the simulated sessions are held to.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from agent_runtime.alignment.gone_on import gone_on
from agent_runtime.alignment.pool import Results, compare_all
from agent_runtime.alignment.run import AlignmentPlan
from agent_runtime.alignment.table import AlignmentTable
from agent_runtime.traces.held_out import PAST_FILE, read_held_out
from bench.align import AlignBench, learn, report_of
from bench.real_logs import read_logs
from bench.report import Report
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from infra.errors import BenchError
from schemas.settings import settings

#: Without two of them there is nothing to learn on.
LEAST_LOGS = 2


def bench_align_real(
    folder: Path, data: Path, bench: AlignBench, plan: AlignmentPlan, say: Callable[[str], None]
) -> tuple[Report, AlignmentTable]:
    """Import the logs below ``data``, train without each of them, compare, and return the figures of all.

    Of ``bench``, the sizes of generated merchants mean nothing here. A storefront with too few sessions is trained on
    and not judged. What is made is kept in ``folder``. Raises BenchError when fewer than two logs are there.
    """
    logs = list(read_logs(folder / "logs", data, say))
    if len(logs) < LEAST_LOGS:
        raise BenchError(f"{data} holds {len(logs)} real click logs and two are needed; set SIMPERSONA_DATA.")
    events = {name: folder / "logs" / f"{name}.parquet" for name in logs}
    results: Results = {}
    dials = settings()
    left_out: list[str] = []
    sessions = 0
    for name, path in events.items():
        most = int(np.bincount(read_sessions([path], plan.gap_ms, dials.session_max_events).merchant).max())
        if most < bench.least_sessions:
            say(f"{name} has only {most:,} sessions: it is learnt from and not judged")
            left_out.append(name)
            continue
        made = folder / f"without-{name}-{bench.training}"
        say(f"{name} is the storefront never seen")
        casting = learn(made, [events[other] for other in logs if other != name], bench, say)
        encoder = Encoder.load(casting.encoder)
        held = read_held_out([path], encoder, plan.gap_ms, casting.max_events, bench.least_sessions, made)
        if bench.own_past:
            casting = gone_on(casting, made / PAST_FILE, made / "own-past", plan, say)
        sessions += sum(len(one.future) for one in held)
        results |= compare_all(held, casting, plan, made / "compared", 1, say)
    if not results:
        raise BenchError(f"No real click log has {bench.least_sessions:,} sessions; lower --least-sessions.")
    table = AlignmentTable(results)
    report = report_of(table, len(results), sessions)
    report.missing |= {f"{name}_ara_g": f"fewer than {bench.least_sessions:,} sessions." for name in left_out}
    for merchant, figures in results.items():
        for condition, measures in figures.items():
            if "ara_g" in measures:
                report.add(f"{merchant}_ara_g_{condition}", measures["ara_g"], "0 to 1")
    return report, table
