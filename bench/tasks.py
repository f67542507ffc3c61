"""Find and buy under constraints: the simulator with persona tokens, a model of eight times its parameters without.

Both are trained on the same real purchases told as goals, for as many passes; a rule that searches and filters is the
upper bound, chance among what is served the lower one. Tasks are made of held-out catalogues; whoever has a task is of
a buyer type that bought there.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from agent_runtime.goals.goals import GoalVocabulary, Goods, goal_rows
from agent_runtime.goals.runs import ChanceDoer, GreedyDoer, ModelDoer, Result, Task, run_tasks
from agent_runtime.models.local_model import LocalModel
from agent_runtime.models.new_models import TinyShape, tiny_model
from agent_runtime.simulators.finetune import FinetuneOptions, finetune
from agent_runtime.simulators.training import EIGHTFOLD
from agent_runtime.storefront.shop import observe_shops
from agent_runtime.traces.held_out import record
from bench.report import Report
from bench.told_world import FIRST_HELD_OUT, START_MS, ToldWorld, encoder_of, training_log
from encoders.generator.run import GeneratorRun, generate
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from schemas.settings import settings

PERSONA, EIGHTFOLD_NAME, GREEDY, CHANCE = "persona", "eightfold", "greedy", "random"
#: Models by name: shape, and whether it is told buyer types.
MODELS = {PERSONA: (TinyShape(), True), EIGHTFOLD_NAME: (EIGHTFOLD, False)}
#: Share of tasks that ask for more than one.
_MANY = 0.25
_RESAMPLES = 2_000
#: There are a few thousand purchases: smaller batches than a simulator's, for more steps.
_BATCH_TOKENS = 1_024


@dataclass(frozen=True, slots=True)
class TasksBench:
    """What to measure, and on how much.

    world        whose log and encoder are used
    held_out, held_out_buyers  storefronts whose catalogues tasks are made of, and the buyers whose log shows them
    tasks        in all, evenly over those storefronts
    rounds       times every task is done, with other random numbers
    epochs       passes of every model's training over the same purchases
    """

    world: ToldWorld = field(default_factory=ToldWorld)
    held_out: int = 20
    held_out_buyers: int = 300
    tasks: int = 200
    rounds: int = 3
    epochs: int = 6
    seed: int = 0
    processes: int = 2


def bench_tasks(folder: Path, bench: TasksBench, say: Callable[[str], None]) -> Report:
    """Make what is missing in ``folder``, train every model, and return success and steps of each.

    Raises GeneratorError, TrainingDataError or TraceError on sizes that make no sense.
    """
    folder.mkdir(parents=True, exist_ok=True)
    training = training_log(folder, bench.world, say)
    encoder_folder = encoder_of(folder, bench.world, training, say)
    torch.set_num_threads(1)
    say("making tasks of held-out catalogues")
    tasks = make_tasks(folder, bench, Encoder.load(encoder_folder))
    results = {GREEDY: _rounds(lambda seed: run_tasks(GreedyDoer(), tasks, seed), bench)}
    results[CHANCE] = _rounds(lambda seed: run_tasks(ChanceDoer(seed), tasks, seed), bench)
    say(f"training {', '.join(MODELS)}")
    report = Report()
    report.add("tasks", float(len(tasks)), "tasks")
    report.add("rounds", float(bench.rounds), "times each")
    with ProcessPoolExecutor(min(bench.processes, len(MODELS)), multiprocessing.get_context("spawn")) as pool:
        running = {
            name: pool.submit(_train_and_run, name, training, encoder_folder, tasks, bench)
            for name in sorted(MODELS, key=lambda name: -MODELS[name][0].width)
        }
        for name, future in running.items():
            results[name], figures = future.result()
            say(f"{name}: done")
            report.add(f"parameters_{name}", figures["parameters"], "parameters")
            report.add(f"purchases_{name}", figures["training_sessions"], "sessions")
            report.add(f"nats_{name}", figures["held_out_nats_per_session"], "nats a session")
    for name in (PERSONA, EIGHTFOLD_NAME, GREEDY, CHANCE):
        _add(report, name, results[name])
    ours, theirs = (_success(results[name]) for name in (PERSONA, EIGHTFOLD_NAME))
    report.add("success_above_eightfold", float((ours - theirs).mean()), "0 to 1")
    low, high = _interval(ours - theirs)
    report.add("success_above_eightfold_low", low, "0 to 1")
    report.add("success_above_eightfold_high", high, "0 to 1")
    report.compare("parameters_eightfold", "parameters_persona")
    return report


def make_tasks(folder: Path, bench: TasksBench, encoder: Encoder) -> list[Task]:
    """Return tasks at storefronts never trained on, in turn over them; a storefront without a purchase has none."""
    world, dials, random = bench.world, settings(), np.random.default_rng(bench.seed)
    log = folder / f"tasks-{bench.held_out}x{bench.held_out_buyers}-{world.hours:g}h-world-{world.world_seed}.parquet"
    if not log.exists():
        run = GeneratorRun(
            bench.held_out,
            bench.held_out_buyers,
            world.hours,
            world.world_seed,
            START_MS,
            FIRST_HELD_OUT,
            drift=False,
            conditions=True,
        )
        generate(run, log, log.with_suffix(".truth.parquet"), lambda done, total: None)
    recorded = record(read_sessions([log], dials.gap_ms, dials.session_max_events), encoder)
    names = recorded.traces.merchants
    buyers = {
        name: recorded.traces.code[(recorded.traces.merchant == place) & recorded.behaviour.converted]
        for place, name in enumerate(names)
    }
    shelves = [Goods(shop) for shop in observe_shops([log], dials.gap_ms) if len(buyers[shop.merchant_id])]
    tasks = []
    for number in range(bench.tasks):
        goods = shelves[number % len(shelves)]
        views = np.array([product.views for product in goods.shop.products], np.float64)
        place = int(random.choice(len(views), p=views / views.sum()))
        goal = goods.goal_of(place, bool(random.random() < _MANY), random)
        tasks.append(Task(goods, goal, int(random.choice(buyers[goods.shop.merchant_id]))))
    return tasks


def _train_and_run(
    name: str, training: Path, encoder_folder: Path, tasks: list[Task], bench: TasksBench
) -> tuple[list[list[Result]], dict[str, float]]:
    torch.set_num_threads(1)
    dials, encoder = settings(), Encoder.load(encoder_folder)
    shape, typed = MODELS[name]
    paths = tuple(encoder.code_paths) if typed else ("c00",)
    words = GoalVocabulary(encoder.version, paths)
    log = read_sessions([training], dials.gap_ms, dials.session_max_events)
    log = log.select(log.merchant < bench.world.trained_merchants)
    goods = {shop.merchant_id: Goods(shop) for shop in observe_shops([training], dials.gap_ms)}
    rows = goal_rows(log, encoder.encode(log.batch()).code, goods, words, typed, bench.seed)
    options = FinetuneOptions(epochs=bench.epochs, batch_tokens=_BATCH_TOKENS, seed=bench.seed)
    trained = finetune(tiny_model(words, shape, bench.seed), words, rows, options, torch.device("cpu"))
    model = LocalModel(trained.model, words)
    done = _rounds(lambda seed: run_tasks(ModelDoer(model, words, typed, seed), tasks, seed), bench)
    return done, trained.figures


def _rounds(once: Callable[[int], list[Result]], bench: TasksBench) -> list[list[Result]]:
    return [once(bench.seed + turn) for turn in range(bench.rounds)]


def _success(rounds: list[list[Result]]) -> np.ndarray:  # type: ignore[type-arg]
    """Return each task's share of rounds in which it was done, (tasks,)."""
    return np.asarray(np.array([[result.success for result in one] for one in rounds], np.float64).mean(axis=0))


def _interval(values: np.ndarray) -> tuple[float, float]:  # type: ignore[type-arg]
    """Return the 95 % of bootstrap resamples of tasks."""
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _add(report: Report, name: str, rounds: list[list[Result]]) -> None:
    share = _success(rounds)
    low, high = _interval(share)
    results = [result for one in rounds for result in one]
    report.add(f"success_{name}", float(share.mean()), "0 to 1")
    report.add(f"success_{name}_low", low, "0 to 1")
    report.add(f"success_{name}_high", high, "0 to 1")
    report.add(f"bought_{name}", float(np.mean([result.bought for result in results])), "0 to 1")
    report.add(f"steps_{name}", float(np.mean([result.steps for result in results])), "clicks a task")
    done = [result.steps for result in results if result.success]
    if done:
        report.add(f"steps_when_done_{name}", float(np.mean(done)), "clicks a task")
    else:
        report.missing[f"steps_when_done_{name}"] = "no task was done."
