"""One simulation run: a crowd drawn from a merchant's latest mix, played, written down and sent into the stream."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.crowds.fidelity import Fidelity, fidelity
from agent_runtime.crowds.publish import ClickPublisher
from agent_runtime.errors import ModelError, PopulationError, ShopError
from agent_runtime.population.population import Mix, Reader, quotas
from agent_runtime.simulators.adapter import Adapter, adapted
from agent_runtime.storefront.session import PlayedSession, click_events, client_id
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.played import Played
from agent_runtime.walk.rollout import BATCH, TILE, Span, play
from schemas.simulation import SimulatedSession, SimulationRun


class RunSink(Protocol):
    """Where a run is written down: ``streams.store.sink.Sink`` is one."""

    def simulation_run(self, run: SimulationRun) -> None:
        """Add a run."""
        ...

    def simulated_sessions(self, sessions: Sequence[SimulatedSession]) -> None:
        """Add sessions of a run."""
        ...

    def flush(self) -> int:
        """Write what was added; return the rows."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that fixes a run's result, apart from the shop and the simulator's files, whose hashes it names.

    start_ms, span_ms  event time (UTC) in which sessions begin; gap_ms the session gap; lateness_ms the allowed one
    variant            the storefront change that is tried, as JSON; None for none
    adapter            what the storefront's own sessions say beside the model, as JSON; None for nothing
    """

    mix: Mix
    simulator_version: str
    shop_hash: str
    backend: str
    buyers: int
    seed: int
    start_ms: int
    span_ms: int
    gap_ms: int
    lateness_ms: int
    tile: int = TILE
    variant: Mapping[str, Any] | None = None
    adapter: Mapping[str, Any] | None = None

    @property
    def run_id(self) -> str:
        """Return the run's name: equal plans are the same run."""
        return run_name(self.to_json())

    def to_json(self) -> str:
        """Return the manifest from which the run can be repeated."""
        told = asdict(self)
        for name in ("variant", "adapter"):
            if told[name] is None:  # runs without one keep the names they had
                del told[name]
        return json.dumps(told, sort_keys=True)

    @staticmethod
    def of(manifest: Mapping[str, Any]) -> "Plan":
        """Return the plan of a manifest. Raises PopulationError when it is none, or a living population's."""
        if manifest.get("live"):
            raise PopulationError("The manifest is that of a living population, which follows the clock; name a run's.")
        try:
            mix = dict(manifest["mix"])
            weights = {int(code): float(weight) for code, weight in mix["weights"].items()}
            return Plan(**{**manifest, "mix": Mix(**{**mix, "weights": weights})})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PopulationError(f"The manifest is not that of a simulation run ({error!r}).") from error

    def check(self, simulator_version: str, shop: Shop) -> None:
        """Raise ModelError or ShopError when a run with these could not be the one that was planned."""
        if simulator_version != self.simulator_version:
            raise ModelError(
                f"The manifest's run was made by simulator {self.simulator_version}, this one is {simulator_version}; "
                "name the folder of that one with --model."
            )
        if shop_hash(shop) != self.shop_hash:
            raise ShopError(
                f"The storefront of {shop.merchant_id} is not as it was in the manifest's run; show it with --events "
                "from the same log."
            )
        if self.tile != TILE:
            raise ModelError(f"The manifest's run was played in tiles of {self.tile}, here they are of {TILE}.")


def run_name(manifest: str) -> str:
    """Return the id of a run with this manifest."""
    return hashlib.sha256(manifest.encode()).hexdigest()[:12]


def shop_hash(shop: Shop) -> str:
    """Return a short hash of everything a storefront is made of."""
    return hashlib.sha256(json.dumps(shop.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def check_codebooks(vocabulary: Vocabulary, mix: Mix) -> None:
    """Raise ModelError when the simulator speaks of another codebook than the mix."""
    if vocabulary.codebook_version != mix.codebook_version:
        raise ModelError(
            f"The simulator knows codebook {vocabulary.codebook_version}, but the latest mix of {mix.merchant_id} is "
            f"of {mix.codebook_version}; run `simpersona finetune` with that encoder."
        )


def simulate(
    plan: Plan,
    vocabulary: Vocabulary,
    backend: Backend | Rowwise,
    shop: Shop,
    done: Callable[[int], None] = lambda _: None,
    batch: int = BATCH,
    threads: int = 1,
) -> Played:
    """Play a plan's crowd and return its sessions; touches neither broker nor store.

    The result is the same with any ``batch`` and ``threads``.

    ``done`` is told shoppers as they finish. Raises ModelError when the codebooks differ, PopulationError when the
    plan asks for no buyers or its adapter cannot be read, ShopError when the shop cannot be walked.
    """
    check_codebooks(vocabulary, plan.mix)
    if plan.buyers < 1:
        raise PopulationError(f"{plan.buyers} buyers were asked for; ask for at least one.")
    span = Span(plan.start_ms, plan.start_ms + plan.span_ms)
    codes = quotas(plan.mix, plan.buyers, plan.seed)
    if plan.adapter is not None:
        backend = adapted(backend, vocabulary, Adapter.of(plan.adapter))
    return play(
        backend, vocabulary, Storefront(shop), np.arange(plan.buyers), codes, span, plan.seed, plan.gap_ms, done,
        batch=batch, threads=threads,
    )  # fmt: skip


def closing_ms(plan: Plan, sessions: Sequence[PlayedSession]) -> int:
    """Return the event time at which all sessions of a run are over: past the last click, the gap and the lateness."""
    return max(session.times_ms[-1] for session in sessions) + plan.gap_ms + plan.lateness_ms + 1


def write_down(sink: RunSink, plan: Plan, sessions: Sequence[PlayedSession]) -> None:
    """Store a run and what each shopper was meant to be, before any click is sent.

    In this order a run that breaks off has at least reserved its stretch of event time: the next begins after it.
    """
    sink.simulation_run(
        SimulationRun(
            run_id=plan.run_id,
            merchant_id=plan.mix.merchant_id,
            started_at=plan.start_ms,
            finished_at=closing_ms(plan, sessions),
            codebook_version=plan.mix.codebook_version,
            seed=plan.seed,
            buyers=plan.buyers,
            backend=plan.backend,
            manifest=plan.to_json(),
        )
    )
    sink.simulated_sessions(session_rows(plan.run_id, plan.mix.merchant_id, sessions))
    sink.flush()


def session_rows(run_id: str, merchant_id: str, sessions: Sequence[PlayedSession]) -> list[SimulatedSession]:
    """Return the rows of ``simulated_sessions``."""
    return [
        SimulatedSession(
            run_id=run_id,
            merchant_id=merchant_id,
            client_id=client_id(run_id, session.agent),
            agent=session.agent,
            intended_code=session.code,
            intended_path=session.code_path,
            events=len(session.clicks),
            outcome=session.outcome,
            crashed=session.crashed,
            started_at=session.times_ms[0],
            ended_at=session.times_ms[-1],
        )
        for session in sessions
    ]


def clicks_of(plan: Plan, shop: Shop, sessions: Sequence[PlayedSession]) -> list[dict[str, object]]:
    """Return a run's clicks as ClickEvents, in event-time order."""
    clicks = [
        click for session in sessions for click in click_events(session, plan.run_id, shop.merchant_id, shop.currency)
    ]
    return sorted(clicks, key=_when)


def send(publisher: ClickPublisher, plan: Plan, shop: Shop, sessions: Sequence[PlayedSession]) -> int:
    """Send a run's clicks in event-time order, close its sessions, and return the number of clicks."""
    count = publisher.send(clicks_of(plan, shop, sessions))
    publisher.promise(closing_ms(plan, sessions))
    publisher.flush()
    return count


def _when(click: dict[str, object]) -> tuple[Any, Any]:
    return click["occurred_at"], click["event_id"]


_CAME_BACK = "SELECT intended_path, code_path FROM round_trip WHERE run_id = %(run)s"


def sessions_back(store: Reader, run_id: str) -> int:
    """Return how many of a run's sessions the stream has given a final type so far."""
    return int(store.select(_CAME_BACK, {"run": run_id}).num_rows)


def stored_fidelity(store: Reader, run_id: str) -> Fidelity:
    """Return a run's round trip as far as the store has it. Raises PopulationError when no session came back yet."""
    rows = store.select(_CAME_BACK, {"run": run_id})
    return fidelity(rows.column("intended_path").to_pylist(), rows.column("code_path").to_pylist())
