"""Does a simulated buyer come back as who it was meant to be? Measured over the whole running system.

The past half of merchants never seen is streamed through a worker; buyers are drawn from the mix that it keeps, walk
the storefront that the past showed, and their clicks go through Kafka and the worker into ``session_assignments``. Then
the future half is streamed too, and the simulated sessions' types are held against the real future ones'. The ceiling:
the real future sessions told as actions, walked again, and encoded again.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agent_runtime.alignment.scores import POOLED, Measured, score_rows
from agent_runtime.alignment.table import ENDS, Estimate
from agent_runtime.crowds.fidelity import jensen_shannon, session_batch
from agent_runtime.models.told import play_told
from agent_runtime.simulators.simulator import load_simulator
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.held_out import HeldOut, read_held_out
from bench.group import Group
from bench.report import Report
from bench.simulated_world import SimulatedWorld
from bench.stand import Stand
from encoders.serving import Encoder
from infra.errors import BenchError
from streams.store.connection import Store
from streams.store.sink import Sink

#: The mix that buyers are drawn from is that of the whole past half, not of its last hours.
_HALF_LIFE_MS = 30 * 86_400_000
_RESAMPLES = 1_000
_WAIT_S, _POLL_S = 180.0, 0.2

_BACK = """
SELECT r.intended_path AS given, r.code_path AS found FROM round_trip AS r WHERE r.run_id = %(run)s
"""
_REAL = """
SELECT code_path AS path, started_at >= fromUnixTimestamp64Milli(%(split)s, 'UTC') AS later
FROM sessions WHERE merchant_id = %(merchant)s AND source = 'live' AND is_final AND NOT is_bot
"""
_SOURCES = "SELECT count() AS n FROM sessions WHERE source = 'simulated' AND is_final"

Names = npt.NDArray[np.str_]
_COLUMNS = ("given", "found", "past", "future", "told_given", "told_found")


@dataclass(frozen=True, slots=True)
class RoundTripPlan:
    """``buyers`` simulated at every merchant held out; ``backend`` and ``seed`` as for ``simpersona simulate``."""

    buyers: int = 600
    backend: str = "local"
    least_sessions: int = 500
    seed: int = 7


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One merchant, coarse types throughout: given, found of simulated sessions; past, future, and the told ones."""

    merchant_id: str
    given: Names
    found: Names
    past: Names
    future: Names
    told_given: Names
    told_found: Names
    full_own: float


def bench_round_trip(
    folder: Path, world: SimulatedWorld, plan: RoundTripPlan, say: Callable[[str], None]
) -> tuple[Report, list[RoundTrip]]:
    """Run it in an empty folder. Raises BenchError when something does not come back."""
    encoder = Encoder.load(world.encoder)
    say("cutting merchants in the middle")
    held = read_held_out([world.held_out], encoder, 1_800_000, 512, plan.least_sessions, folder)
    past, future = _halves(world.held_out, held, folder)
    say("starting Kafka, store and worker")
    with Stand.open(folder / "stand", world.encoder) as stand:
        worker = stand.start_worker("worker", decay_half_life_ms=_HALF_LIFE_MS)
        worker.wait_joined()
        store = Store(stand.settings.clickhouse)
        say("streaming the past half")
        _streamed(stand, "past", past, "--no-close")
        trips = {}
        for one in held:
            say(f"{plan.buyers} buyers at {one.merchant_id}")
            run_id = _simulated(stand, one.merchant_id, past, world.simulator, plan)
            trips[one.merchant_id] = run_id
        say("streaming the future half")
        _streamed(stand, "future", future, "--close")
        found = [_trip(store, one, trips[one.merchant_id], encoder, world.simulator, plan.seed) for one in held]
        returned = int(store.select(_SOURCES).to_pylist()[0]["n"])
        report, measured = round_trip_report(found, returned)
        sink = Sink(store)
        sink.alignment_scores(score_rows(",".join(sorted(trips.values())), measured, round(_now_ms())))
        sink.flush()
        written = "SELECT count() AS n FROM alignment_scores FINAL"
        report.add("alignment_scores_written", float(store.select(written).to_pylist()[0]["n"]), "rows")
        store.close()
    return report, found


def _now_ms() -> float:
    return datetime.now(UTC).timestamp() * 1000


def _halves(log: Path, held: Sequence[HeldOut], folder: Path) -> tuple[Path, Path]:
    """Write each merchant's clicks before and after its cut, those of other merchants to neither."""
    table = pq.read_table(log)
    cuts = {one.merchant_id: one.span.start_ms for one in held}
    names = table.column("merchant_id").to_pylist()
    limits = np.array([cuts.get(name, -1) for name in names], np.int64)
    times = np.asarray(pc.cast(table.column("occurred_at"), "int64"))
    paths = folder / "past.log.parquet", folder / "future.log.parquet"
    for path, chosen in zip(paths, (times < limits, (times >= limits) & (limits >= 0)), strict=True):
        pq.write_table(table.filter(chosen), path)
    return paths


def _streamed(stand: Stand, name: str, log: Path, closing: str) -> None:
    """Replay a log as fast as it goes and return when everything in it has been worked off and written."""
    group = Group(stand.settings)
    replay = stand.start_command(f"replay-{name}", "replay", "--events", str(log), "--speed", "max", closing)
    _until(lambda: replay.child.exit_code() is not None, f"the {name} half was sent")
    if replay.child.exit_code():
        raise replay.child.failure()
    store = Store(stand.settings.clickhouse)
    for topic in ("clicks.raw", "sessions.assigned"):
        _until(lambda topic=topic: group.committed(topic) >= group.produced(topic), f"{topic} was worked off")  # type: ignore[misc]
    if closing == "--close":
        open_ = "SELECT count() AS n FROM sessions WHERE source = 'live' AND NOT is_final"
        _until(lambda: store.select(open_).to_pylist()[0]["n"] == 0, "all sessions were closed")
    store.close()
    group.close()


def _simulated(stand: Stand, merchant_id: str, past: Path, simulator: Path, plan: RoundTripPlan) -> str:
    """Run ``simpersona simulate`` at a merchant and return its run's id, when all its sessions have come back."""
    out = stand.folder / f"simulate-{merchant_id}.json"
    running = stand.start_command(
        f"simulate-{merchant_id}", "simulate", "--merchant", merchant_id, "--buyers", str(plan.buyers),
        "--events", str(past), "--model", str(simulator), "--backend", plan.backend, "--seed", str(plan.seed),
        "--wait", str(round(_WAIT_S)), "--json", str(out),
    )  # fmt: skip
    _until(lambda: running.child.exit_code() is not None, f"the buyers of {merchant_id} had come back")
    if running.child.exit_code():
        raise running.child.failure()
    result = json.loads(out.read_text())
    back = result["round_trip"]["sessions"]
    if back < plan.buyers:
        raise BenchError(f"{merchant_id}: {back} of {plan.buyers} simulated sessions came back within {_WAIT_S:.0f} s.")
    return str(result["run_id"])


def _trip(store: Store, held: HeldOut, run_id: str, encoder: Encoder, simulator: Path, seed: int) -> RoundTrip:
    rows = store.select(_BACK, {"run": run_id}).to_pylist()
    real = store.select(_REAL, {"merchant": held.merchant_id, "split": held.span.start_ms}).to_pylist()
    vocabulary = load_simulator(simulator).vocabulary
    told = play_told(vocabulary, Storefront(held.shop), held.future.traces, held.span, 1_800_000, seed)
    again = encoder.encode(session_batch(told, held.merchant_id)).code
    paths = vocabulary.code_paths
    return RoundTrip(
        held.merchant_id,
        given=_coarse(row["given"] for row in rows),
        found=_coarse(row["found"] for row in rows),
        past=_coarse(row["path"] for row in real if not row["later"]),
        future=_coarse(row["path"] for row in real if row["later"]),
        told_given=_coarse(paths[session.code] for session in told),
        told_found=_coarse(paths[int(code)] for code in again),
        full_own=float(np.mean([row["given"] == row["found"] for row in rows])),
    )


def _coarse(paths: Iterable[str]) -> Names:
    return np.array([path.partition(".")[0] for path in paths])


def _divergence(one: Names, other: Names) -> float:
    """Return the Jensen–Shannon divergence (nats) of two crowds' coarse types."""
    types = np.unique(np.concatenate([one, other]))
    shares = [(names[:, None] == types).mean(axis=0) for names in (one, other)]
    return jensen_shannon(*shares)


def _own(given: Names, found: Names) -> Estimate:
    return _interval((given == found).astype(np.float64), lambda hits: float(hits.mean()))


def _interval(values: npt.NDArray[np.float64], of: Callable[[npt.NDArray[np.float64]], float]) -> Estimate:
    draws = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), ENDS)
    return Estimate(of(values), float(low), float(high))


def _apart(simulated: Names, future: Names) -> Estimate:
    """Return the divergence with the ends of its bootstrap over the sessions of both sides (biased upwards)."""
    random = np.random.default_rng(0)
    tried = [
        _divergence(random.choice(simulated, len(simulated)), random.choice(future, len(future)))
        for _ in range(_RESAMPLES // 5)
    ]
    low, high = np.percentile(tried, ENDS)
    return Estimate(_divergence(simulated, future), float(low), float(high))


def round_trip_report(trips: Sequence[RoundTrip], returned: int) -> tuple[Report, list[Measured]]:
    """Return the figures by merchant and pooled, and the measures that ``alignment_scores`` keeps of them."""
    report, measured = Report(), []
    joined = {name: np.concatenate([getattr(trip, name) for trip in trips]) for name in _COLUMNS}
    own_code = float(np.average([trip.full_own for trip in trips], weights=[len(trip.given) for trip in trips]))
    pooled = RoundTrip(POOLED, **joined, full_own=own_code)
    report.add("simulated_sessions_in_the_store", float(returned), "sessions")
    for trip in (*trips, pooled):
        name = trip.merchant_id.replace("-", "_") or "pooled"
        own, ceiling = _own(trip.given, trip.found), _own(trip.told_given, trip.told_found)
        apart, floor = _apart(trip.found, trip.future), _divergence(trip.past, trip.future)
        figures: Mapping[str, tuple[float, str]] = {
            "simulated": (len(trip.given), "sessions"),
            "real_past": (len(trip.past), "sessions"),
            "real_future": (len(trip.future), "sessions"),
            "own_type": (100 * own.value, "%"),
            "own_type_low": (100 * own.low, "%"),
            "own_type_high": (100 * own.high, "%"),
            "own_type_tokeniser": (100 * ceiling.value, "%"),
            "own_code": (100 * trip.full_own, "%"),
            "js_simulated_future": (1000 * apart.value, "mnats"),
            "js_past_future": (1000 * floor, "mnats"),
            "js_given_future": (1000 * _divergence(trip.given, trip.future), "mnats"),
        }
        for measure, (value, unit) in figures.items():
            report.add(f"{name}_{measure}", value, unit)
        measured.append(Measured(trip.merchant_id, "own_type", own, ceiling.value))
        measured.append(Measured(trip.merchant_id, "round_trip_js", apart, floor))
    return report, measured


def _until(done: Callable[[], bool], what: str) -> None:
    """Wait until ``done``. Raises BenchError when that takes too long."""
    import time

    give_up_s = time.monotonic() + 2 * _WAIT_S
    while not done():
        if time.monotonic() > give_up_s:
            raise BenchError(f"Gave up after {2 * _WAIT_S:.0f} s before {what}.")
        time.sleep(_POLL_S)
