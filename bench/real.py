"""Do codes learnt on some real shops foretell carts and purchases in another? Beside its base rate and a ceiling.

Each real log in turn is the unseen merchant: the encoder and all that is compared with it train on the others. Asked
is, of sessions in the merchant's later half, whether a cart or a purchase comes after the first 2 (4) events. Whatever
was learnt elsewhere is corrected on the merchant's own earlier half, from which its base rate is taken as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from bench.encoder_coders import ClusterCoder, fit_kmeans
from bench.real_logs import F64, Flags, Question, ask, read_logs
from bench.real_models import adapt_logit, fit_logit, log_loss
from bench.report import Report
from encoders.features import described_features
from encoders.fitting import finish
from encoders.metrics import calibration_error
from encoders.serving import Encoder
from encoders.sessionise import SessionLog, read_sessions
from encoders.training import TrainingOptions, split_held_out, train
from schemas.events import I64
from schemas.settings import settings

#: Events shown.
PREFIXES = (2, 4)
#: A session of a buyer's past weighs half as much as the one after it.
MEMORY_DECAY = 0.5
#: How strongly weights learnt on the other merchants are held near nothing: they have few thousand sessions.
TRAINING_PULL = 10.0
MODELS = ("ours", "ours_with_memory", "kmeans", "boosting", "ceiling")
_LIMIT = 4.0


@dataclass(frozen=True, slots=True)
class RealPlan:
    """What to measure: the encoder's options, rounds of the boosted peer, resamples of the bootstrap, and its seed."""

    options: TrainingOptions = field(default_factory=TrainingOptions)
    rounds: int = 60
    resamples: int = 1_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Answers:
    """Log losses of the later half's sessions, (n,) each, by model and of the base rate; and who the buyers are."""

    base: F64
    losses: dict[str, F64]
    chances: dict[str, F64]
    wanted: Flags
    buyers: I64


def bench_real(folder: Path, data: Path, plan: RealPlan, say: Callable[[str], None]) -> Report:
    """Measure and return the figures; imported logs stay in ``folder``. Logs that are absent take no part."""
    report = Report()
    logs = read_logs(folder, data, say)
    if not logs:
        report.missing["pooled_ours_gain"] = f"no real click logs below {data}; set SIMPERSONA_DATA to their folder."
    answers: dict[int, list[_Answers]] = {prefix: [] for prefix in PREFIXES}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, log in logs.items():
            questions = {prefix: ask(log, prefix) for prefix in PREFIXES}
            if not any(question.answerable for question in questions.values()):
                report.missing[f"{name}_gain"] = (
                    "too few sessions with a cart or a purchase to come; used for training."
                )
                continue
            others = {other: logs[other] for other in logs if other != name}
            say(f"{name} is unseen: training on {', '.join(others)}")
            coders = _train(folder, sorted(others), plan)
            for prefix, question in questions.items():
                if not question.answerable:
                    report.missing[f"{name}_after_{prefix}_gain"] = (
                        "too few sessions with a cart or a purchase to come."
                    )
                    continue
                say(f"{name} after {prefix} events")
                answered = _answer(coders, log, question, others, prefix, plan)
                _add(report, f"{name}_after_{prefix}", [answered], plan)
                answers[prefix].append(answered)
    finally:
        torch.set_num_threads(threads)
    for prefix, of_prefix in answers.items():
        if of_prefix:
            _add(report, f"pooled_after_{prefix}", of_prefix, plan)
    everything = [one for of_prefix in answers.values() for one in of_prefix]
    if everything:
        _add(report, "pooled", everything, plan)
    return report


@dataclass(frozen=True, slots=True)
class _Coders:
    ours: Encoder
    kmeans: ClusterCoder

    def ours_of(self, log: SessionLog, lengths: I64) -> F64:
        """Return the posterior over full codes (n, K)."""
        posterior = self.ours.codebook.assign(
            self.ours.latents(log.events, log.starts, lengths, still_open=True), lengths, True
        ).posterior
        assert posterior is not None
        return posterior.astype(np.float64)

    def kmeans_of(self, log: SessionLog, lengths: I64) -> F64:
        """Return an indicator of the nearest of as many clusters, (n, K)."""
        codes = self.kmeans.codes(self.kmeans.latents(log, lengths, still_open=True))[1]
        return np.eye(self.kmeans.full.n_clusters)[codes]


def _train(folder: Path, others: list[str], plan: RealPlan) -> _Coders:
    dials = settings()
    log = read_sessions([folder / f"{name}.parquet" for name in others], dials.gap_ms, dials.session_max_events)
    training, held_out = split_held_out(log, plan.options.seed)
    trained = train(training, held_out, plan.options, torch.device("cpu"))
    fitted = finish(trained, training, held_out)
    return _Coders(Encoder(fitted.network, fitted.codebook, "bench"), fit_kmeans(log, plan.options.shape, plan.seed))


def _answer(
    coders: _Coders, log: SessionLog, question: Question, others: Mapping[str, SessionLog], prefix: int, plan: RealPlan
) -> _Answers:
    elsewhere = [(ask(other, prefix), other) for other in others.values()]
    elsewhere = [(asked, other) for asked, other in elsewhere if asked.wanted.any()]
    own, later = question.earlier, ~question.earlier
    chances = {}
    codings: dict[str, tuple[Callable[[SessionLog, I64], F64], bool]] = {
        "ours": (coders.ours_of, False),
        "ours_with_memory": (coders.ours_of, True),
        "kmeans": (coders.kmeans_of, False),
    }
    for name, (coding, remembers) in codings.items():
        features = _coded(coding, log, question, remembers)
        learnt = np.zeros(features.shape[1])
        if elsewhere:
            known = [_coded(coding, other, asked, remembers) for asked, other in elsewhere]
            outcome = np.concatenate([asked.wanted for asked, _ in elsewhere])
            groups = np.repeat(np.eye(len(known)), [len(rows) for rows in known], axis=0)
            learnt = fit_logit(np.concatenate(known), outcome, TRAINING_PULL, groups=groups).weights
        model = adapt_logit(features[own], question.wanted[own], learnt, plan.seed)
        chances[name] = model.chances(features[later])
    if elsewhere:
        chances["boosting"] = _boosted(question, [asked for asked, _ in elsewhere], plan)
    described = _described(question)
    mean, spread = described[own].mean(0), np.maximum(described[own].std(0), 1e-2)
    standard = np.clip((described - mean) / spread, -_LIMIT, _LIMIT)
    nothing = np.zeros(standard.shape[1])
    chances["ceiling"] = adapt_logit(standard[own], question.wanted[own], nothing, plan.seed).chances(standard[later])
    wanted = question.wanted[later]
    base = np.full(len(wanted), question.wanted[own].mean())
    losses = {name: log_loss(one, wanted) for name, one in chances.items()}
    _, buyers = np.unique(question.log.key[later], return_inverse=True)
    return _Answers(log_loss(base, wanted), losses, chances, wanted, buyers)


def _coded(coding: Callable[[SessionLog, I64], F64], log: SessionLog, question: Question, remembers: bool) -> F64:
    """Return codes of the beginnings, (n, K), and with memory also those of the buyers' earlier sessions, decayed."""
    now = coding(question.log, question.shown)
    if not remembers:
        return now
    whole = coding(log, log.lengths)
    memory = np.zeros_like(whole)
    for row in range(1, len(log)):
        if log.key[row] == log.key[row - 1]:
            memory[row] = MEMORY_DECAY * (memory[row - 1] + whole[row - 1])
    return np.concatenate([now, memory[question.rows], question.history[:, :1]], axis=1)


def _described(question: Question) -> F64:
    """Return hand-made features of the beginnings beside what their buyers did before, (n, D)."""
    described = described_features(question.log.events, question.log.starts, question.shown).astype(np.float64)
    return np.concatenate([described, question.history], axis=1)


def _boosted(question: Question, elsewhere: list[Question], plan: RealPlan) -> F64:
    """Return chances by boosting on the other merchants; two numbers from the own half correct their log-odds."""
    model = HistGradientBoostingClassifier(max_iter=plan.rounds, early_stopping=False, random_state=plan.seed)
    model.fit(np.concatenate([_described(q) for q in elsewhere]), np.concatenate([q.wanted for q in elsewhere]))
    odds = np.clip(model.decision_function(_described(question))[:, None] / 2.0, -_LIMIT, _LIMIT)
    own = question.earlier
    return adapt_logit(odds[own], question.wanted[own], np.full(1, 2.0), plan.seed).chances(odds[~own])


def _add(report: Report, name: str, parts: list[_Answers], plan: RealPlan) -> None:
    """Note gains over the base rate, the share of the ceiling's, intervals from resampled buyers, and calibration."""
    base = np.concatenate([part.base for part in parts])
    report.add(f"{name}_sessions", float(len(base)), "sessions")
    report.add(f"{name}_wanted", float(np.concatenate([part.wanted for part in parts]).mean()), "of sessions")
    weights = _resampled(parts, plan)
    totals = weights @ base
    drawn: dict[str, F64] = {}
    for model in MODELS:
        if not all(model in part.losses for part in parts):
            continue
        losses = np.concatenate([part.losses[model] for part in parts])
        report.add(f"{name}_{model}_gain", float(1.0 - losses.sum() / base.sum()), "of log loss")
        drawn[model] = 1.0 - weights @ losses / totals
        low, high = np.quantile(drawn[model], [0.025, 0.975]).tolist()
        report.add(f"{name}_{model}_gain_low", low, "of log loss")
        report.add(f"{name}_{model}_gain_high", high, "of log loss")
    report.compare(f"{name}_ours_gain", f"{name}_ceiling_gain")
    ours = np.concatenate([part.chances["ours"] for part in parts])
    wanted = np.concatenate([part.wanted for part in parts])
    report.add(f"{name}_ours_calibration_error", calibration_error(ours, wanted), "probability")


def _resampled(parts: list[_Answers], plan: RealPlan) -> F64:
    """Return how often each session counts in each resample, (resamples, n): whole buyers, within each merchant."""
    random = np.random.default_rng(plan.seed)
    blocks = []
    for part in parts:
        buyers = int(part.buyers.max()) + 1
        counts = random.multinomial(buyers, np.full(buyers, 1.0 / buyers), plan.resamples)
        blocks.append(counts[:, part.buyers])
    return np.concatenate(blocks, axis=1).astype(np.float64)
