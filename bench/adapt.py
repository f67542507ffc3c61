"""Does a codebook follow shoppers who change their ways, and leave everything in place when they do not?

An encoder is trained on one week of generated merchants. The next week comes in three makes: nothing changed, the types
half way to new habits, wholly gone over (``encoders.generator.new_habits``: the same shops, the same mix of types,
other clicks). Each is adapted to, and asked about on merchants that neither training nor adaptation saw.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from bench.encoder_world import FIRST_UNSEEN, START_MS, Part
from bench.report import Report
from encoders.adaptation import AdaptationOptions
from encoders.artefact import write_artefact
from encoders.batches import outcomes
from encoders.calibration import draw_beginnings
from encoders.fitting import finish
from encoders.gate import judge, split_held_back
from encoders.generator.run import GeneratorRun, generate
from encoders.metrics import calibration_error, explained, nmi
from encoders.serving import Encoder
from encoders.sessionise import SessionLog, read_sessions
from encoders.succession import Challenger, challenge, challenge_trained_on, challenge_with
from encoders.training import TrainingOptions, split_held_out, train
from encoders.truth import planted_types, read_truth
from schemas.events import I64
from schemas.settings import settings

WEEK_MS = 7 * 86_400_000
#: How far the types have gone over to new habits in the second week.
CHANGES = {"unchanged": 0.0, "half": 0.5, "whole": 1.0}


@dataclass(frozen=True, slots=True)
class AdaptPlan:
    """What to measure.

    merchants, unseen_merchants, buyers, unseen_buyers, hours, seed  of the generated world, of each week
    options     of the first training, and of a training anew on the new week as what could be had
    adaptation  dials of the moving averages
    epochs      of training the network on, on the new week; 0 leaves that and the training anew out
    """

    merchants: int = 24
    unseen_merchants: int = 20
    buyers: int = 300
    unseen_buyers: int = 200
    hours: float = 168.0
    seed: int = 5
    options: TrainingOptions = field(default_factory=TrainingOptions)
    adaptation: AdaptationOptions = field(default_factory=AdaptationOptions)
    epochs: int = 4


def bench_adapt(folder: Path, plan: AdaptPlan, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; what is generated stays below ``folder``.

    ``<make>_<which>_<figure>``: the makes of ``CHANGES``; ``champion`` (no adaptation), ``adapted`` (moving averages),
    ``trained_on`` (the network too) and ``trained_anew``. Raises GeneratorError or TrainingDataError on sizes that make
    no sense.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = Report()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first = _part(folder, plan, 0.0, START_MS, False, say)
        say("training the champion")
        champion = _trained(folder / "champion", first.log, plan)
        before = _part(folder, plan, 0.0, START_MS, True, say).known()
        _score(report, "before_champion", champion, before)
        meant = _meanings(champion, before)
        for name, change in CHANGES.items():
            week = _part(folder, plan, change, START_MS + WEEK_MS, False, say)
            unseen = _part(folder, plan, change, START_MS + WEEK_MS, True, say)
            _adapt(report, name, folder, champion, meant, week.log, unseen.known(), plan, say)
    finally:
        torch.set_num_threads(threads)
    return report


def _adapt(
    report: Report,
    name: str,
    folder: Path,
    champion: Encoder,
    meant: I64,
    week: SessionLog,
    unseen: Part,
    plan: AdaptPlan,
    say: Callable[[str], None],
) -> None:
    recent, held_back = split_held_back(week, plan.adaptation.seed)
    report.add(f"{name}_sessions", float(len(recent)), "sessions")
    _score(report, f"{name}_champion", champion, unseen)
    report.add(f"{name}_champion_meaning_kept", _meaning_kept(champion, meant, unseen), "of sessions")
    own = folder / "champion"
    ways: dict[str, Callable[[], Challenger]] = {"adapted": lambda: challenge(champion, own, recent, plan.adaptation)}
    if plan.epochs and name != "half":
        ways["trained_on"] = lambda: challenge_trained_on(champion, own, recent, plan.epochs, plan.adaptation.seed)
    if plan.epochs and name == "whole":
        ways["trained_anew"] = lambda: challenge_with(champion, _anew(folder, recent, plan), recent, 0)
    for way, make in ways.items():
        say(f"{name}: {way.replace('_', ' ')}")
        made = make()
        _score(report, f"{name}_{way}", made.encoder, unseen)
        report.compare(f"{name}_{way}_nmi", "before_champion_nmi")
        _add_identity(report, f"{name}_{way}", champion, made, unseen)
        report.add(f"{name}_{way}_meaning_kept", _meaning_kept(made.encoder, meant, unseen), "of sessions")
        verdict = judge(champion, made.encoder, recent, held_back, plan.adaptation.seed, made.one_network)
        report.add(f"{name}_{way}_accepted", float(verdict.accepted), "by the gate")


def _add_identity(report: Report, name: str, champion: Encoder, made: Challenger, unseen: Part) -> None:
    """Note the share of unseen sessions whose type, and full code, is the one that the champion gives them."""
    sessions = unseen.log.batch()
    before, after = champion.encode(sessions).code, made.encoder.encode(sessions).code
    old, new = champion.codebook.fine.shape[1], made.encoder.codebook.fine.shape[1]
    report.add(f"{name}_types_kept", float((before // old == after // new).mean()), "of sessions")
    report.add(f"{name}_codes_kept", float((before == after).mean()), "of sessions")
    report.add(f"{name}_born", float(len(made.types.born)), "types")
    report.add(f"{name}_retired", float(len(made.types.retired)), "types")


def _meanings(encoder: Encoder, part: Part) -> I64:
    """Return the commonest planted type (C,) of each type of a codebook, -1 where it has no session."""
    coarse = encoder.encode(part.log.batch()).code // encoder.codebook.fine.shape[1]
    counts = np.zeros((len(encoder.codebook.coarse), int(part.types.max()) + 1), np.int64)
    np.add.at(counts, (coarse, part.types), 1)
    return np.where(counts.any(1), counts.argmax(1), -1)


def _meaning_kept(encoder: Encoder, meant: I64, part: Part) -> float:
    """Return the share of sessions whose type still stands for the planted type that it stood for; born ones do not."""
    now = _meanings(encoder, part)
    same = np.zeros(len(now), bool)
    same[: len(meant)] = now[: len(meant)] == meant
    return float(same[encoder.encode(part.log.batch()).code // encoder.codebook.fine.shape[1]].mean())


def _score(report: Report, name: str, encoder: Encoder, part: Part) -> None:
    codes = encoder.encode(part.log.batch()).code
    fine_size = encoder.codebook.fine.shape[1]
    coarse = codes // fine_size
    begun = draw_beginnings(part.log.lengths, 0)
    latents = encoder.latents(part.log.events, part.log.starts[begun.row], begun.lengths, still_open=True)
    early = encoder.codebook.assign(latents, begun.lengths)
    right = early.code == codes[begun.row]
    report.add(f"{name}_nmi", nmi(coarse, part.types), "NMI")
    report.add(f"{name}_calibration_error", calibration_error(early.confidence, right), "probability")
    report.add(f"{name}_conversion", explained(codes, outcomes(part.log)[1]), "of base log loss")
    report.add(
        f"{name}_early",
        float((early.code // fine_size == coarse[begun.row])[begun.lengths == 3].mean()),
        "of types after 3 events",
    )


def _part(
    folder: Path, plan: AdaptPlan, change: float, start_ms: int, is_unseen: bool, say: Callable[[str], None]
) -> Part:
    first, merchants, buyers = (
        (FIRST_UNSEEN, plan.unseen_merchants, plan.unseen_buyers) if is_unseen else (0, plan.merchants, plan.buyers)
    )
    name = f"adapt-{first}-{merchants}x{buyers}-{plan.hours:g}h-{start_ms}-habits-{change:g}-seed-{plan.seed}"
    events, truth = folder / f"{name}.parquet", folder / f"{name}.truth.parquet"
    if not (events.exists() and truth.exists()):
        say(f"generating {merchants} merchants")
        run = GeneratorRun(merchants, buyers, plan.hours, plan.seed, start_ms, first, drift=False, new_habits=change)
        generate(run, events, truth, lambda done, total: None)
    dials = settings()
    log = read_sessions([events], dials.gap_ms, dials.session_max_events)
    return Part(log, planted_types(read_truth(truth), log))


def _trained(folder: Path, log: SessionLog, plan: AdaptPlan) -> Encoder:
    training, held_out = split_held_out(log, plan.options.seed)
    trained = train(training, held_out, plan.options, torch.device("cpu"))
    fitted = finish(trained, training, held_out)
    write_artefact(folder, fitted.network, fitted.codebook, fitted.personas, {"metrics": fitted.metrics})
    return Encoder.load(folder)


def _anew(folder: Path, log: SessionLog, plan: AdaptPlan) -> Path:
    _trained(folder / "anew", log, plan)
    return folder / "anew"
