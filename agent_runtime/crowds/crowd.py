"""All merchants' living populations together: one clock, one topic, one book of who came."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.crowds.live import LivePopulation
from agent_runtime.crowds.publish import ClickPublisher
from agent_runtime.crowds.simulation import RunSink, run_name, session_rows
from agent_runtime.draws import seed_of
from agent_runtime.errors import ModelError, ShopError
from agent_runtime.population.lineage import Translated
from agent_runtime.population.population import Mix
from agent_runtime.population.prior import steadied
from agent_runtime.simulators.simulator import Simulator
from agent_runtime.storefront.shop import Shop
from schemas.simulation import SimulationRun


@dataclass(frozen=True, slots=True)
class CrowdRules:
    """What all populations share; ``merchants`` empty means all. Rate (per merchant) and window are in event time.

    steadied  whether mixes are drawn towards what merchants have in common
    """

    rate_per_ms: float
    window_ms: int
    gap_ms: int
    gap_overrides_ms: Mapping[str, int]
    lateness_ms: int
    seed: int
    backend: str
    merchants: frozenset[str]
    steadied: bool = True


class Crowd:
    """Populations by merchant, in step with the mixes they are told. Time comes in as an argument."""

    def __init__(
        self,
        simulator: Simulator,
        backend: Backend | Rowwise,
        shops: Mapping[str, Shop],
        sink: RunSink,
        rules: CrowdRules,
        start_ms: int,
        told: Callable[[Mix], Translated],
    ) -> None:
        self.populations: dict[str, LivePopulation] = {}
        self.sessions = self.clicks = self.mixes = 0
        self._simulator, self._backend, self._shops = simulator, backend, shops
        self._sink, self._rules = sink, rules
        self._told = told
        self._prior = simulator.prior() if rules.steadied else None
        self._start_ms = self._now_ms = start_ms
        self._manifests: dict[str, str] = {}
        self._said: set[tuple[str, str, str]] = set()

    def follow(self, mix: Mix) -> list[str]:
        """Take over a merchant's latest mix, opening its population at the first; return warnings, each once.

        A mix of another codebook goes on in the types that the simulator knows. One of a codebook from which no map
        leads there, or of a shop the simulator never saw, is passed over: the population there goes on as it was.
        """
        if self._rules.merchants and mix.merchant_id not in self._rules.merchants:
            return []
        version = mix.codebook_version
        try:
            if mix.merchant_id not in self._shops:
                raise ShopError(f"{mix.merchant_id}: its storefront has not been seen; show it with --events.")
            told = self._told(mix)
        except (ModelError, ShopError) as error:
            return self._once((mix.merchant_id, version, "passed over"), str(error))
        mix, said = steadied(told.mix, self._prior), told.said
        self.mixes += 1
        population = self.populations.get(mix.merchant_id)
        if population is None:
            self.populations[mix.merchant_id] = self._open(mix)
        else:
            population.follow(mix)
        return self._once((mix.merchant_id, version, "told"), said)

    def _once(self, about: tuple[str, str, str], sentence: str) -> list[str]:
        """Return a sentence if there is one and nothing was said about this merchant, codebook and matter before."""
        if not sentence or about in self._said:
            return []
        self._said.add(about)
        return [sentence]

    def step(self, now_ms: int, publisher: ClickPublisher) -> None:
        """Let event time pass up to ``now_ms``: newcomers are written down, due clicks sent, time promised.

        The promise covers every merchant, because they share the topic's partitions.
        """
        if now_ms <= self._now_ms or not self.populations:
            return
        self._now_ms = now_ms
        due = []
        for merchant_id, population in sorted(self.populations.items()):
            come = population.live(now_ms)
            self.sessions += len(come.sessions)
            due += come.clicks
            self._sink.simulation_run(self._run(merchant_id, population))
            self._sink.simulated_sessions(session_rows(population.run_id, merchant_id, come.sessions))
        self._sink.flush()
        due.sort(key=lambda click: (click["occurred_at"], click["event_id"]))
        self.clicks += publisher.send(due)
        publisher.promise(now_ms)
        publisher.flush()

    def _open(self, mix: Mix) -> LivePopulation:
        rules, merchant_id = self._rules, mix.merchant_id
        manifest = {
            "live": True,
            "merchant_id": merchant_id,
            "simulator_version": self._simulator.version,
            "start_ms": self._now_ms,
            "first_mix": asdict(mix),
            "backend": rules.backend,
            "seed": rules.seed,
            "rate_per_ms": rules.rate_per_ms,
            "window_ms": rules.window_ms,
        }
        self._manifests[merchant_id] = json.dumps(manifest, sort_keys=True)
        return LivePopulation(
            run_id=run_name(self._manifests[merchant_id]),
            vocabulary=self._simulator.vocabulary,
            backend=self._backend,
            shop=self._shops[merchant_id],
            mix=mix,
            rate_per_ms=rules.rate_per_ms,
            window_ms=rules.window_ms,
            gap_ms=rules.gap_overrides_ms.get(merchant_id, rules.gap_ms),
            seed=seed_of(rules.seed, merchant_id),
            now_ms=self._now_ms,
        )

    def _run(self, merchant_id: str, population: LivePopulation) -> SimulationRun:
        return SimulationRun(
            run_id=population.run_id,
            merchant_id=merchant_id,
            started_at=self._start_ms,
            finished_at=population.now_ms,
            codebook_version=population.mix.codebook_version,
            seed=self._rules.seed,
            buyers=population.begun,
            backend=self._rules.backend,
            manifest=self._manifests[merchant_id],
        )
