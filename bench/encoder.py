"""Do codes tell planted buyer types apart on merchants never seen? Beside a ceiling, baselines and the encoder's parts.

Generated merchants, one set to train on and one to be asked about. The supervised ceiling comes first, then our encoder
by the product's own training and fitting, then what stands beside it, all on the same sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import adjusted_mutual_info_score

from bench.encoder_ceiling import PREFIXES, measure_ceiling
from bench.encoder_coders import Coder, ServedCoder, TrainedCoder, fit_kmeans, fit_mixture
from bench.encoder_fsq import FsqQuantiser
from bench.encoder_scores import score
from bench.encoder_speed import measure_speed
from bench.encoder_world import World, WorldPlan, make_world
from bench.report import Report
from encoders.fitting import finish
from encoders.quantiser import Quantiser, TreeQuantiser
from encoders.serving import Encoder
from encoders.training import TrainingOptions, split_held_out, train, train_with

#: The encoder without each of its parts: what is changed in its options.
ABLATIONS: dict[str, Callable[[TrainingOptions], TrainingOptions]] = {
    "no_contrast": lambda options: replace(options, pair_weight=0.0),
    "no_reconstruction": lambda options: replace(options, event_weight=0.0),
    "no_behaviour": lambda options: replace(options, outcome_weight=0.0),
    "no_beginnings": lambda options: replace(options, beginning_share=0.0),
    "no_quantiser_in_training": lambda options: replace(options, warmup_share=1.0),
    "no_summary": lambda options: replace(options, shape=replace(options.shape, reads_summary=False)),
}
#: Sizes of a single level at which seeds are compared, and how many seeds.
SEED_SIZES, SEEDS = (16, 32, 64), 3


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """What to measure.

    world      what is generated
    options    of the encoder; the recurrent ceiling gets as many epochs
    rounds     of the boosted ceiling
    baselines  whether k-means++, the Gaussian mixture and FSQ are measured too
    ablations  whether the encoder is trained without each of its parts
    seeds      whether seeds are compared at ``SEED_SIZES`` codes
    speed_sessions  sessions that speed is measured on, at most
    """

    world: WorldPlan = field(default_factory=WorldPlan)
    options: TrainingOptions = field(default_factory=TrainingOptions)
    rounds: int = 100
    baselines: bool = True
    ablations: bool = False
    seeds: bool = False
    speed_sessions: int = 10_000


def bench_encoder(folder: Path, plan: EncoderPlan, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; the generated merchants stay below ``folder``.

    ``<coder>_nmi_coarse``, ``_as_types`` (``_after_<k>`` events) are on unseen merchants, and the ratio to
    ``ceiling_nmi`` of the same beginning is the share of the ceiling. Runs on one thread of the processor. Raises
    GeneratorError or TrainingDataError on sizes that make no sense.
    """
    world = make_world(folder, plan.world, say)
    report = Report()
    _add_world(report, world)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _add_ceiling(report, world, plan, say)
        _add_ours(report, world, plan, say)
        if plan.baselines:
            _add_baselines(report, world, plan, say)
        if plan.ablations:
            for name, change in ABLATIONS.items():
                say(f"the encoder, {name.replace('_', ' ')}")
                options = change(plan.options)
                score(report, name, _trained(world, options, _tree(options)), world, options.shape)
        if plan.seeds:
            _add_seeds(report, world, plan.options, say)
    finally:
        torch.set_num_threads(threads)
    return report


def _add_world(report: Report, world: World) -> None:
    for name, part in (("training", world.training), ("unseen", world.unseen)):
        report.add(f"{name}_merchants", float(len(np.unique(part.log.merchant))), "merchants")
        report.add(f"{name}_sessions", float(len(part.log)), "sessions")
        report.add(f"{name}_conversion", float(part.converted.mean()), "of sessions")
    report.add("planted_types", float(len(np.unique(world.unseen.types))), "types")


def _add_ceiling(report: Report, world: World, plan: EncoderPlan, say: Callable[[str], None]) -> None:
    ceiling = measure_ceiling(world, plan.rounds, plan.options.epochs, plan.options.seed, say)
    for length in (0, *PREFIXES):
        after = f"_after_{length}" if length else ""
        report.add(f"boosting_nmi{after}", ceiling.boosting[length], "NMI")
        report.add(f"classifier_nmi{after}", ceiling.network[length], "NMI")
        report.add(f"ceiling_nmi{after}", ceiling.best(length), "NMI")


def _add_ours(report: Report, world: World, plan: EncoderPlan, say: Callable[[str], None]) -> None:
    say("training our encoder")
    training, held_out = split_held_out(world.training.log, plan.options.seed)
    trained = train(training, held_out, plan.options, torch.device("cpu"))
    say("finishing our encoder")
    fitted = finish(trained, training, held_out)
    encoder = Encoder(fitted.network, fitted.codebook, "bench")
    report.add("epochs", float(len(trained.history)), "epochs")
    report.add("calibration_error", float(fitted.metrics["calibration_error"]), "probability")
    say("our encoder on unseen merchants")
    score(report, "ours", ServedCoder(encoder), world, plan.options.shape)
    say("speed")
    measure_speed(report, trained.encoder, encoder, world.unseen, plan.speed_sessions)


def _add_baselines(report: Report, world: World, plan: EncoderPlan, say: Callable[[str], None]) -> None:
    shape, seed = plan.options.shape, plan.options.seed
    fits: dict[str, Callable[[], Coder]] = {
        "kmeans": lambda: fit_kmeans(world.training.log, shape, seed),
        "mixture": lambda: fit_mixture(world.training.log, shape, seed),
        "fsq": lambda: _trained(world, plan.options, FsqQuantiser(shape, seed)),
    }
    for name, fit in fits.items():
        say(f"beside it: {name}")
        score(report, name, fit(), world, shape)


def _add_seeds(report: Report, world: World, options: TrainingOptions, say: Callable[[str], None]) -> None:
    """Note the mean adjusted mutual information of the unseen sessions' codes over pairs of seeds."""
    log = world.unseen.log
    for size in SEED_SIZES:
        codes = []
        for seed in range(options.seed, options.seed + SEEDS):
            say(f"{size} codes, seed {seed}")
            own = replace(options, shape=replace(options.shape, coarse=size, fine=1), seed=seed)
            coder = _trained(world, own, _tree(own))
            codes.append(coder.codes(coder.latents(log, log.lengths))[0])
        agreement = [adjusted_mutual_info_score(one, other) for one, other in combinations(codes, 2)]
        report.add(f"seeds_ami_{size}", float(np.mean(agreement)), "AMI")


def _tree(options: TrainingOptions) -> TreeQuantiser:
    shape = options.shape
    return TreeQuantiser(shape.coarse, shape.fine, shape.type_width, shape.style_width)


def _trained(world: World, options: TrainingOptions, quantiser: Quantiser) -> TrainedCoder:
    training, held_out = split_held_out(world.training.log, options.seed)
    encoder, _ = train_with(quantiser, training, held_out, options, torch.device("cpu"))
    return TrainedCoder(encoder, quantiser, options.shape.fine)
