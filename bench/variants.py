"""Is the effect of a storefront change foretold? Generated storefronts never seen, changes whose true effect is known.

The truth comes of the generator's own shoppers, walked through each storefront and its variant; the prediction knows
only logs of other storefronts, their told conditions, and the held-out storefront's own log as it is.
"""

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from agent_runtime.alignment.yardsticks import mix_of
from agent_runtime.simulators.finetune import FinetuneOptions
from agent_runtime.simulators.simulator import LOCAL, MANIFEST_FILE, load_simulator
from agent_runtime.simulators.training import RECIPES, train_simulator
from agent_runtime.storefront.shop import observe_shops, under_conditions
from agent_runtime.traces.held_out import record
from agent_runtime.variants.effects import MEASURES, OVERALL, REVENUE, Effect
from agent_runtime.variants.trial import crowd_of, outcomes_of, try_variant
from agent_runtime.variants.variant import Variant
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.rollout import Span
from bench.report import Report
from bench.told_world import FIRST_HELD_OUT, START_MS, ToldWorld, encoder_of, training_log
from encoders.generator.counterfactual import Visited, changed, shoppers
from encoders.generator.counterfactual import visit as true_visit
from encoders.generator.merchants import HOUR_MS, Merchant, build_merchant
from encoders.generator.run import GeneratorRun, conditions_path, generate
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from schemas.conditions import read_conditions
from schemas.settings import settings

PRICE, SHIPPING, STEP, RANKING = "price", "free_shipping", "step_removed", "worse_ranking"
KINDS = (PRICE, SHIPPING, STEP, RANKING)
#: How much worse lists become; storefronts whose lists are already worse than this are no case of it.
_WORSE_BY = 0.5
#: A true effect is told from zero when it is this many of its standard errors away.
_CLEAR = 1.96


@dataclass(frozen=True, slots=True)
class VariantsBench:
    """What to measure, and on how much.

    world                the first world whose log teaches answers to conditions
    worlds               how many, by the seeds from its own on: all cells of a world are foretold by one fit
    held_out, held_out_buyers  storefronts to foretell for, and the buyers whose log shows their mix and shelves
    shoppers             simulated, in each storefront and variant
    true_buyers          the generator's, in each storefront and variant
    epochs               passes of the simulator's training
    processes            storefronts foretold at the same time
    """

    world: ToldWorld = field(default_factory=ToldWorld)
    worlds: int = 1
    held_out: int = 12
    held_out_buyers: int = 800
    shoppers: int = 2_500
    true_buyers: int = 10_000
    epochs: int = 3
    seed: int = 0
    processes: int = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """One world's storefront, variant and measure: predicted and true difference, with what each is unsure of.

    Revenue is in shares of what it was, so that storefronts of dear and of cheap things count alike.
    """

    world: int
    merchant: str
    kind: str
    measure: str
    control: float
    predicted: float
    low: float
    high: float
    true_control: float
    truth: float
    true_error: float

    @property
    def is_clear(self) -> bool:
        """Whether the true effect can be told from zero."""
        return abs(self.truth) > _CLEAR * self.true_error

    @property
    def sign_right(self) -> bool:
        """Whether the prediction points the way of the truth."""
        return self.predicted * self.truth > 0.0

    @property
    def covered(self) -> bool:
        """Whether the predicted interval holds the truth."""
        return self.low <= self.truth <= self.high


def bench_variants(folder: Path, bench: VariantsBench, say: Callable[[str], None]) -> tuple[Report, list[Cell]]:
    """Make what is missing in ``folder``, foretell every variant, and return the figures and all cells.

    Raises GeneratorError, TrainingDataError or TraceError on sizes that make no sense.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = []
    for place in range(bench.worlds):
        world = replace(bench.world, world_seed=bench.world.world_seed + place)
        cells += _cells(folder, replace(bench, world=world), say)
    cells.sort(key=lambda cell: (KINDS.index(cell.kind), cell.world, cell.merchant, MEASURES.index(cell.measure)))
    return report_of(cells), cells


def _cells(folder: Path, bench: VariantsBench, say: Callable[[str], None]) -> list[Cell]:
    """Return the cells of one world."""
    training = training_log(folder, bench.world, say)
    encoder_folder = encoder_of(folder, bench.world, training, say)
    simulator = folder / bench.world.trained / f"persona-{bench.seed}-{bench.epochs}"
    torch.set_num_threads(1)
    if not (simulator / MANIFEST_FILE).exists():
        say("training the simulator")
        figures = _train_simulator(simulator, encoder_folder, training, bench)
        say(f"trained: {figures['held_out_nats_per_session']:.2f} nats a held-out session")
    sizes = f"{bench.held_out_buyers}-{bench.shoppers}-{bench.true_buyers}"
    kept = simulator.with_name(f"foretold-{simulator.name}-{sizes}")
    kept.mkdir(exist_ok=True)
    cells: list[Cell] = []
    with ProcessPoolExecutor(bench.processes, multiprocessing.get_context("spawn")) as pool:
        numbers = range(FIRST_HELD_OUT, FIRST_HELD_OUT + bench.held_out)
        running = [pool.submit(foretell, kept, encoder_folder, simulator, bench, number) for number in numbers]
        for left, future in enumerate(as_completed(running), 1):
            cells += future.result()
            say(f"world {bench.world.world_seed}: {left} of {bench.held_out} storefronts foretold")
    return cells


def _train_simulator(folder: Path, encoder_folder: Path, events: Path, bench: VariantsBench) -> dict[str, float]:
    dials, encoder = settings(), Encoder.load(encoder_folder)
    everything = record(read_sessions([events], dials.gap_ms, dials.session_max_events), encoder)
    rows = np.flatnonzero(everything.traces.merchant < bench.world.trained_merchants)
    training = replace(everything, traces=everything.traces.select(rows))
    seen = under_conditions(observe_shops([events], dials.gap_ms), read_conditions([conditions_path(events)]))
    words = Vocabulary(encoder.version, tuple(encoder.code_paths))
    options = FinetuneOptions(epochs=bench.epochs, seed=bench.seed)
    shops, device = {shop.merchant_id: shop for shop in seen}, torch.device("cpu")
    return dict(
        train_simulator(folder, RECIPES["persona"], training, shops, words, options, device, answers=everything.traces)
    )


def foretell(kept: Path, encoder_folder: Path, simulator: Path, bench: VariantsBench, number: int) -> list[Cell]:
    """Return one storefront's cells: what the simulator foretells of its variants, beside what comes true.

    They are kept in a file of the folder ``kept``, and not made again.
    """
    done = kept / f"{number}.json"
    if done.exists():
        return [Cell(**cell) for cell in json.loads(done.read_text())]
    cells = _foretell(kept, encoder_folder, simulator, bench, number)
    done.write_text(json.dumps([asdict(cell) for cell in cells]) + "\n")
    return cells


def _foretell(kept: Path, encoder_folder: Path, folder: Path, bench: VariantsBench, number: int) -> list[Cell]:
    torch.set_num_threads(1)
    world, dials, encoder = bench.world, settings(), Encoder.load(encoder_folder)
    end_ms = START_MS + round(world.hours * HOUR_MS)
    merchant = build_merchant(world.world_seed, number, START_MS, end_ms, with_drift=False, with_conditions=True)
    log = kept / f"{number}.parquet"
    run = GeneratorRun(
        1,
        bench.held_out_buyers,
        world.hours,
        world.world_seed,
        START_MS,
        number,
        drift=False,
        conditions=True,
    )
    generate(run, log, log.with_suffix(".truth.parquet"), lambda done, total: None)
    recorded = record(read_sessions([log], dials.gap_ms, dials.session_max_events), encoder)
    shop = under_conditions(observe_shops([log], dials.gap_ms), read_conditions([conditions_path(log)]))[0]
    mix = mix_of(shop.merchant_id, encoder.version, recorded.traces.code, START_MS)
    simulator = load_simulator(folder)
    crowd = crowd_of(
        simulator.backend(LOCAL),
        simulator.vocabulary,
        simulator.response(),
        mix,
        bench.shoppers,
        Span(START_MS, end_ms),
        bench.seed,
        dials.gap_ms,
    )
    control = outcomes_of(crowd, shop)
    visits = shoppers(merchant, world.world_seed + 1, bench.true_buyers, START_MS, end_ms)
    before = true_visit(merchant, visits)
    cells = []
    for kind, variant in variants_of(merchant):
        after = true_visit(_truly(merchant, variant), visits)
        for effect in try_variant(crowd, shop, variant, control):
            if effect.persona == OVERALL:
                cells.append(_cell(world.world_seed, shop.merchant_id, kind, effect, before, after))
    return cells


def _cell(world: int, merchant: str, kind: str, effect: Effect, before: Visited, after: Visited) -> Cell:
    truth, error, true_control = true_effect(before, after, effect.measure)
    ours, theirs = (effect.control, true_control) if effect.measure == REVENUE else (1.0, 1.0)
    return Cell(
        world=world,
        merchant=merchant,
        kind=kind,
        measure=effect.measure,
        control=effect.control,
        predicted=effect.difference / ours,
        low=effect.low / ours,
        high=effect.high / ours,
        true_control=true_control,
        truth=truth / theirs,
        true_error=error / theirs,
    )


def variants_of(merchant: Merchant) -> list[tuple[str, Variant]]:
    """Return the changes that are changes at a storefront: no second banner, no step removed that is not there."""
    told = merchant.conditions
    assert told is not None
    found = [(PRICE, Variant("prices +10 %", price_factor=1.1))]
    if not told.free_shipping:
        found.append((SHIPPING, Variant("free-shipping banner", free_shipping=True)))
    if merchant.has_payment:
        found.append((STEP, Variant("payment step removed", remove_steps=("payment_info_submitted",))))
    if told.ranking >= _WORSE_BY:
        found.append((RANKING, Variant("worse ranking", ranking=told.ranking - _WORSE_BY)))
    return found


def _truly(merchant: Merchant, variant: Variant) -> Merchant:
    told = merchant.conditions
    assert told is not None
    conditions = replace(
        told,
        price_level=told.price_level * variant.price_factor,
        free_shipping=told.free_shipping if variant.free_shipping is None else variant.free_shipping,
        ranking=told.ranking if variant.ranking is None else variant.ranking,
    )
    return changed(merchant, conditions, merchant.has_payment and not variant.remove_steps)


def true_effect(before: Visited, after: Visited, measure: str) -> tuple[float, float, float]:
    """Return the mean difference of the same visits, its standard error (buyers are clusters), and the mean before."""
    columns = {"conversion": "converted", "add_to_cart": "added", "depth": "events", "revenue": "revenue_minor"}
    old, new = (getattr(side, columns[measure]) for side in (before, after))
    off = (new - old) - (new - old).mean()
    by_buyer = np.bincount(before.buyer, off)
    error = float(np.sqrt((by_buyer**2).sum()) / len(old))
    return float((new - old).mean()), error, float(old.mean())


def _worlds(cells: list[Cell]) -> list[int]:
    return sorted({cell.world for cell in cells})


def report_of(cells: list[Cell]) -> Report:
    """Return shares over all cells, by world, by variant, by measure and by the last two together."""
    report = Report()
    groups = {"": cells}
    groups |= {f"_world_{world}": [cell for cell in cells if cell.world == world] for world in _worlds(cells)}
    groups |= {f"_{measure}": [cell for cell in cells if cell.measure == measure] for measure in MEASURES}
    groups |= {f"_{kind}": [cell for cell in cells if cell.kind == kind] for kind in KINDS}
    for kind in KINDS:
        groups |= {
            f"_{kind}_{measure}": [cell for cell in cells if (cell.kind, cell.measure) == (kind, measure)]
            for measure in MEASURES
        }
    for name, group in groups.items():
        clear = [cell for cell in group if cell.is_clear]
        report.add(f"cells{name}", float(len(group)), "cells")
        report.add(f"clear{name}", float(len(clear)), "cells")
        if clear:
            report.add(f"sign_right{name}", float(np.mean([cell.sign_right for cell in clear])), "0 to 1")
        else:
            report.missing[f"sign_right{name}"] = "no true effect can be told from zero."
        if group:
            report.add(f"covered{name}", float(np.mean([cell.covered for cell in group])), "0 to 1")
            spread = float(np.mean([abs(cell.truth) for cell in group]))
            report.add(f"mean_true{name}", float(np.mean([cell.truth for cell in group])), "a session")
            report.add(f"mean_predicted{name}", float(np.mean([cell.predicted for cell in group])), "a session")
            error = float(np.mean([abs(cell.predicted - cell.truth) for cell in group]))
            report.add(f"error{name}", error / spread if spread else 0.0, "of true size")
    return report
