"""Sessions per second of every backend, their memory, and what an API model would cost for as many buyers.

A session is played to its end in a merchant's own storefront: who comes, what is chosen, the click that comes of it,
and its time. Sending clicks to Kafka is not part of it.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent_runtime.models.cost import Prices, preview
from agent_runtime.models.endpoint import Address, Endpoint
from agent_runtime.simulators.simulator import LOCAL, MARKOV, REPLAY, TEXT, load_simulator
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.rollout import Span, play
from bench.report import Report
from infra.errors import BenchError
from schemas.errors import SimpersonaError
from schemas.settings import settings

#: Any week.
_START_MS = 1_764_000_000_000
_WEEK_MS = 7 * 86_400_000
_GAP_MS = 1_800_000
#: Played before anything is measured: code is loaded, tables are made.
_WARM_UP = 256
_MIB = 1024.0
#: Batches that keep every thread at work to the end.
_BATCHES_PER_THREAD = 4
_PREVIEWED = 1_000
#: Prices of a million tokens told and answered, for orientation: a small and a large model's.
_EXAMPLE_PRICES = ((0.15, 0.6), (2.5, 10.0))
_LARGEST_BATCH = {LOCAL: 256, TEXT: 256, MARKOV: 1_024, REPLAY: 1_024}


@dataclass(frozen=True, slots=True)
class SimulateBench:
    """What is measured: sessions of each backend, played by so many threads; the best of ``repeats`` counts."""

    sessions: int = 8_000
    scripted_sessions: int = 60_000
    threads: int = 2
    repeats: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One backend in a process of its own. memory_mib is the process's peak, before_mib that before it played."""

    sessions: int
    wall_s: list[float]
    cpu_s: list[float]
    events: int
    memory_mib: float
    before_mib: float


def bench_simulate(
    simulator: Path, plan: SimulateBench, say: Callable[[str], None], backends: Sequence[str] | None = None
) -> Report:
    """Measure the backends of a simulator's folder, or those that are named, each in a process of its own."""
    report = Report()
    for name in backends_of(simulator) if backends is None else backends:
        sessions = plan.sessions if name in (LOCAL, TEXT) else plan.scripted_sessions
        say(f"{name}: {sessions:,} sessions, {plan.repeats} times")
        measured = _in_a_process(simulator, name, sessions, plan)
        for run, (wall_s, cpu_s) in enumerate(zip(measured.wall_s, measured.cpu_s, strict=True), start=1):
            report.add(f"{name}_run_{run}", sessions / wall_s, "sessions/s")
            report.add(f"{name}_run_{run}_cpu", sessions / cpu_s, "sessions/CPU-s")
        report.add(f"{name}_sessions_per_s", sessions / min(measured.wall_s), "sessions/s")
        report.add(f"{name}_sessions_per_cpu_s", sessions / min(measured.cpu_s), "sessions/CPU-s")
        report.add(f"{name}_events_per_session", measured.events / sessions, "events")
        report.add(f"{name}_memory", measured.memory_mib, "MiB")
        report.add(f"{name}_memory_while_playing", measured.memory_mib - measured.before_mib, "MiB")
    _preview(report, simulator, plan)
    return report


def backends_of(simulator: Path) -> tuple[str, ...]:
    """Return what there is to measure: the language model by its form, and the scripted ones."""
    return TEXT if load_simulator(simulator).form == TEXT else LOCAL, MARKOV, REPLAY


def _preview(report: Report, simulator: Path, plan: SimulateBench) -> None:
    """Add what an API model would be asked for the same buyers; money at the prices of the settings."""
    known, dials = load_simulator(simulator), settings()
    endpoint = Endpoint(Address(dials.endpoint, dials.endpoint_model), known.chain(), {})
    codes = np.arange(len(known.vocabulary.code_paths), dtype=np.int32)
    prices = Prices(dials.endpoint_price_in, dials.endpoint_price_out)
    span = Span(_START_MS, _START_MS + _WEEK_MS)
    asked = preview(endpoint, Storefront(next(iter(known.shops.values()))), codes, span, _GAP_MS, prices, _PREVIEWED)
    report.add("api_requests_per_1000_buyers", asked.requests, "requests")
    report.add("api_input_tokens_per_1000_buyers", asked.input_tokens, "tokens")
    report.add("api_output_tokens_per_1000_buyers", asked.output_tokens, "tokens")
    report.add("api_cost_per_1000_buyers", asked.cost, "at the prices set")
    for told, answered in _EXAMPLE_PRICES:
        cost = (asked.input_tokens * told + asked.output_tokens * answered) / 1e6
        report.add(f"api_cost_per_1000_buyers_at_{told:g}_and_{answered:g}", cost, "per million tokens in, out")


def _in_a_process(simulator: Path, name: str, sessions: int, plan: SimulateBench) -> Measured:
    asked = json.dumps({**asdict(plan), "simulator": str(simulator), "name": name, "sessions": sessions})
    done = subprocess.run([sys.executable, "-m", "bench.simulate", asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"The backend {name} could not be measured: {done.stderr.strip().splitlines()[-1]}")
    measured = Measured(**json.loads(done.stdout.splitlines()[-1]))
    if measured.sessions != sessions:
        raise BenchError(f"The backend {name} played {measured.sessions:,} sessions instead of {sessions:,}.")
    return measured


def measure(simulator: Path, name: str, sessions: int, threads: int, repeats: int, seed: int) -> Measured:
    """Play ``sessions`` with one backend ``repeats`` times: types in equal numbers, at the simulator's first shop."""
    known = load_simulator(simulator)
    backend, storefront = known.backend(name), Storefront(next(iter(known.shops.values())))
    agents = np.arange(sessions)
    codes = (agents % len(known.vocabulary.code_paths)).astype(np.int32)
    span = Span(_START_MS, _START_MS + _WEEK_MS)
    batch = max(1, min(_LARGEST_BATCH[name], sessions // (threads * _BATCHES_PER_THREAD)))

    def run(count: int) -> int:
        played = play(
            backend, known.vocabulary, storefront, agents[:count], codes[:count], span, seed, _GAP_MS,
            batch=batch, threads=threads,
        )  # fmt: skip
        return len(played.clicks)

    run(min(_WARM_UP, sessions))
    before_mib, wall, cpu, events = _peak_mib(), [], [], 0
    for _ in range(repeats):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        events = run(sessions)
        wall.append(time.perf_counter() - wall_s)
        cpu.append(time.process_time() - cpu_s)
    return Measured(sessions, wall, cpu, events, _peak_mib(), before_mib)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def _main() -> None:
    asked = json.loads(sys.argv[1])
    simulator = Path(asked.pop("simulator"))
    del asked["scripted_sessions"]
    try:
        print(json.dumps(asdict(measure(simulator, **asked))))
    except SimpersonaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
