"""How soon a living population has followed a drift of the real shoppers: planted, streamed, and watched.

One merchant's traffic is made of its own recorded sessions. At a known moment its crowd is replaced by the buyers of
half of its types. A worker keeps the mix, ``simpersona agents`` follows it; what is watched is the store: the mix that
the worker announces, and the types of the shoppers whom the population sends in.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agent_runtime.crowds.fidelity import jensen_shannon
from bench.crowd import Crowd, make_crowd
from bench.report import Report
from bench.simulated_world import SimulatedWorld, command
from bench.stand import Program, Stand
from encoders.event_log import EventLogWriter
from infra.errors import BenchError
from streams.store.connection import Store

#: "Has followed" means this near to the new mix, in nats of Jensen–Shannon divergence of coarse types.
NEAR_NATS = 0.02
_GAP_MS = 1_800_000
_POLL_S = 0.5
#: Shoppers of this much clock time are the population's mix at a moment.
_NEWCOMERS_S = 20.0

_MIX = """
SELECT code_path AS path, weight FROM latest_mix AS m
LEFT JOIN (SELECT code, codebook_version, code_path FROM personas FINAL) AS p
ON p.code = m.code AND p.codebook_version = m.codebook_version
WHERE merchant_id = %(merchant)s AND source = 'live'
"""
_NEWCOMERS = """
SELECT intended_path AS path, toUnixTimestamp64Milli(started_at) AS t FROM simulated_sessions FINAL
WHERE merchant_id = %(merchant)s
"""
_REAL_SINCE = """
SELECT count() AS n FROM sessions
WHERE source = 'live' AND is_final AND NOT is_bot AND ended_at >= fromUnixTimestamp64Milli(%(since)s, 'UTC')
"""

Shares = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """Hours of event time before and after the drift, at ``speed`` times the clock; ``half_life_ms`` of the mix."""

    before_h: float = 2.0
    after_h: float = 5.0
    events_per_s: float = 1.5
    speed: float = 180.0
    half_life_ms: int = 3_600_000
    rate_per_min: float = 900.0
    seed: int = 3


@dataclass(frozen=True, slots=True)
class Sight:
    """What the store showed at one moment: seconds since the drift, divergences from the new mix, sessions since."""

    at_s: float
    mix_nats: float
    population_nats: float
    newcomers: int
    sessions: int


def bench_follow(folder: Path, world: SimulatedWorld, plan: FollowPlan, say: Callable[[str], None]) -> Report:
    """Stream, watch, and report. Raises BenchError when a part ends early or nothing is followed at all."""
    say("making the traffic")
    merchant, log, shown, old, new, drift_ms = _traffic(folder, world, plan)
    say("starting Kafka, store and worker")
    with Stand.open(folder / "stand", world.encoder) as stand:
        stand.start_worker("worker", decay_half_life_ms=plan.half_life_ms).wait_joined()
        seconds = (plan.before_h + plan.after_h) * 3600 / plan.speed
        agents = stand.start_command(
            "agents", "agents", "--merchant", merchant, "--events", str(shown), "--model", str(world.simulator),
            "--backend", "markov", "--rate", str(plan.rate_per_min), "--speed", str(plan.speed), "--every", "0.5",
        )  # fmt: skip
        replay = stand.start_command(
            "replay", "replay", "--events", str(log), "--speed", str(plan.speed), "--no-close", "--order", "received"
        )
        store = Store(stand.settings.clickhouse)
        say(f"streaming {plan.before_h + plan.after_h:g} hours in {seconds:.0f} s")
        sights, spawned_s = _watch(store, merchant, new, drift_ms, plan, lambda: _ended(agents, replay))
        store.close()
    return follow_report(sights, spawned_s, _apart(old, new), plan)


def _ended(agents: Program, replay: Program) -> bool:
    """Return whether the traffic is over. Raises the failure of a program that ended badly."""
    if agents.child.exit_code() is not None:
        raise agents.child.failure()
    code = replay.child.exit_code()
    if code:
        raise replay.child.failure()
    return code is not None


def _traffic(folder: Path, world: SimulatedWorld, plan: FollowPlan) -> tuple[str, Path, Path, Shares, Shares, int]:
    """Return merchant, log, the log that shows its shop, old and new shares of coarse types, and when they change."""
    table = pq.read_table(world.held_out)
    merchant = sorted(set(table.column("merchant_id").to_pylist()))[0]
    table = table.filter(pc.equal(table.column("merchant_id"), merchant))
    shown = folder / "shown.parquet"
    pq.write_table(table, shown)
    assigned = _assigned(folder, "shown", shown, world.encoder)
    coarse = np.array([path.partition(".")[0] for path in assigned.column("code_path").to_pylist()])
    names, counts = np.unique(coarse, return_counts=True)
    chosen = set(names[np.argsort(-counts)][::2].tolist())  # every second type, the commonest first
    of_client: dict[str, str] = dict(zip(assigned.column("client_id").to_pylist(), coarse.tolist(), strict=True))
    staying = pa.array([of_client.get(client, "") in chosen for client in table.column("client_id").to_pylist()])
    parts = folder / "everybody.parquet", folder / "chosen.parquet"
    pq.write_table(table, parts[0])
    pq.write_table(table.filter(staying), parts[1])
    crowds = []
    for place, (part, hours) in enumerate(zip(parts, (plan.before_h, plan.after_h), strict=True)):
        out = folder / f"crowd-{place}.parquet"
        make_crowd(part, _GAP_MS, Crowd(plan.events_per_s, hours * 3600, 1.0, 1.0, f"c{place}", plan.seed + place), out)
        crowds.append(out)
    shares = [_shares(_assigned(folder, f"crowd-{place}", crowd, world.encoder)) for place, crowd in enumerate(crowds)]
    shift_ms = round(plan.before_h * 3_600_000)
    log, first, second = (
        folder / "traffic.parquet",
        pq.read_table(crowds[0]),
        _later(pq.read_table(crowds[1]), shift_ms),
    )
    with EventLogWriter(log) as writer:
        writer.write(first)
        writer.write(second)
    drift_ms = int(pc.cast(pc.min(second.column("occurred_at")), pa.int64()).as_py())
    return merchant, log, shown, shares[0], shares[1], drift_ms


def _later(table: pa.Table, shift_ms: int) -> pa.Table:
    for name in ("occurred_at", "received_at"):
        place = table.schema.get_field_index(name)
        moved = pc.add(pc.cast(table.column(name), pa.int64()), shift_ms).cast(table.schema.field(name).type)
        table = table.set_column(place, table.schema.field(name), moved)
    return table


def _assigned(folder: Path, name: str, log: Path, encoder: Path) -> pa.Table:
    out = folder / f"{name}.assigned.parquet"
    command("assign", "--events", log, "--encoder", encoder, "--out", out)
    table = pq.read_table(out)
    return table.filter(pc.invert(table.column("is_bot")))


def _shares(assigned: pa.Table) -> Shares:
    return _counted([path.partition(".")[0] for path in assigned.column("code_path").to_pylist()])


def _counted(names: Sequence[str]) -> Shares:
    found, counts = np.unique(np.array(names, dtype=np.str_), return_counts=True)
    return {str(name): count / len(names) for name, count in zip(found, counts, strict=True)}


def _apart(one: Shares, other: Shares) -> float:
    names = sorted({*one, *other})
    p, q = (np.array([shares.get(name, 0.0) for name in names]) for shares in (one, other))
    if not (p.sum() > 0 and q.sum() > 0):
        return float("inf")
    return jensen_shannon(p / p.sum(), q / q.sum())


def _watch(
    store: Store, merchant: str, new: Shares, drift_ms: int, plan: FollowPlan, over: Callable[[], bool]
) -> tuple[list[Sight], float]:
    """Return what was seen after the drift, and how long the first shopper took after the first mix."""
    begin, sights = time.monotonic(), []
    first_mix_s = first_shopper_s = float("nan")
    of: npt.NDArray[np.int64]
    while not over():
        now_s = time.monotonic() - begin
        at_s = now_s - plan.before_h * 3600 / plan.speed
        mix: dict[str, float] = {}
        for row in store.select(_MIX, {"merchant": merchant}).to_pylist():
            coarse = str(row["path"]).partition(".")[0]
            mix[coarse] = mix.get(coarse, 0.0) + row["weight"]
        come = store.select(_NEWCOMERS, {"merchant": merchant}).to_pylist()
        if mix and np.isnan(first_mix_s):
            first_mix_s = now_s
        if come and np.isnan(first_shopper_s):
            first_shopper_s = now_s
        of = np.array([row["t"] for row in come], np.int64)
        recent = of > of.max(initial=0) - _NEWCOMERS_S * plan.speed * 1000
        names = [row["path"].partition(".")[0] for row, fresh in zip(come, recent, strict=True) if fresh]
        since = int(store.select(_REAL_SINCE, {"since": drift_ms}).to_pylist()[0]["n"])
        population = _apart(_counted(names), new) if names else float("inf")
        sights.append(Sight(at_s, _apart(mix, new), population, len(names), since))
        time.sleep(_POLL_S)
    if not sights or np.isnan(first_shopper_s):
        raise BenchError("No simulated shopper came before the traffic was over; give it a lower --speed.")
    return sights, max(0.0, first_shopper_s - first_mix_s)


def follow_report(sights: Sequence[Sight], spawned_s: float, apart: float, plan: FollowPlan) -> Report:
    """Return what was seen: ``spawned_s`` from first mix to first shopper, ``apart`` old mix from new (nats)."""
    report = Report()
    report.add("drift_size", 1000 * apart, "mnats")
    report.add("half_life", plan.half_life_ms / 3_600_000, "h of event time")
    report.add("speed", plan.speed, "event s/s")
    report.add("first_shopper_after_first_mix", spawned_s, "s")
    before = [sight for sight in sights if sight.at_s < 0 and np.isfinite(sight.population_nats)]
    if before:
        report.add("population_before", 1000 * before[-1].population_nats, "mnats")
    for name in ("mix", "population"):
        near = [sight for sight in sights if sight.at_s > 0 and getattr(sight, f"{name}_nats") <= NEAR_NATS]
        if not near:
            last = getattr(sights[-1], f"{name}_nats")
            report.missing[f"{name}_followed"] = (
                f"was {last:.3f} nats off at the end, {sights[-1].at_s:.0f} s after it."
            )
            continue
        report.add(f"{name}_followed", near[0].at_s, "s")
        report.add(f"{name}_followed_event_time", near[0].at_s * plan.speed / 60, "min of event time")
        report.add(f"{name}_followed_sessions", float(near[0].sessions), "real sessions closed since")
    last = sights[-1]
    report.add("population_at_the_end", 1000 * last.population_nats, "mnats")
    report.add("population_newcomers_at_the_end", float(last.newcomers), "shoppers")
    return report
