"""How well a coder's codes tell planted types, use their codebook and keep the outcome, on unseen merchants."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import calinski_harabasz_score

from bench.encoder_ceiling import PREFIXES, shown
from bench.encoder_coders import Coder
from bench.encoder_world import Part, World
from bench.report import Report
from encoders.feature_spec import SUMMARY_WIDTH
from encoders.features import described_features
from encoders.metrics import nmi, perplexity
from encoders.model import Shape
from encoders.sessionise import SessionLog
from schemas.events import I64


@dataclass(frozen=True, slots=True)
class Reading:
    """What the training merchants say of full codes: the commonest planted type and the purchase rate of each (K,)."""

    types: I64
    rates: npt.NDArray[np.float64]
    base: float

    @staticmethod
    def of(training: Part, codes: I64, size: int) -> "Reading":
        """Learn from the training merchants' finished sessions and their full codes (n,)."""
        known = training.types >= 0
        counts = np.zeros((size, int(training.types.max(initial=0)) + 1), np.int64)
        np.add.at(counts, (codes[known], training.types[known]), 1)
        converted = training.converted
        shown_, bought = np.bincount(codes, minlength=size), np.bincount(codes, converted, minlength=size)
        # half an outcome each way, as in ``metrics.explained``, so that codes hardly seen promise nothing
        return Reading(counts.argmax(1), (bought + 0.5) / (shown_ + 1.0), float(converted.mean()))


def score(report: Report, name: str, coder: Coder, world: World, shape: Shape) -> None:
    """Note all figures of one coder under ``name``; shares of the ceiling need the ``ceiling_nmi`` figures before."""
    size = shape.coarse * shape.fine
    training, unseen = world.training, world.unseen
    _, seen_codes = coder.codes(coder.latents(training.log, training.log.lengths))
    reading = Reading.of(training, seen_codes, size)
    for length in (0, *PREFIXES):
        part = unseen.at_least(length)
        latents = coder.latents(part.log, shown(part, length), still_open=length > 0)
        coarse, full = coder.codes(latents)
        after = f"_after_{length}" if length else ""
        for level, found in (("coarse", nmi(coarse, part.types)), ("as_types", nmi(reading.types[full], part.types))):
            report.add(f"{name}_nmi_{level}{after}", found, "NMI")
            report.compare(f"{name}_nmi_{level}{after}", f"ceiling_nmi{after}")
        if length == 0:
            _add_buyers(report, name, coder, part, latents)
            _add_codebook(report, name, part.log, latents, coarse, full, shape)
            report.add(f"{name}_conversion_saved", _saved(reading, full, part.converted), "of base log loss")


def _add_buyers(report: Report, name: str, coder: Coder, part: Part, latents: npt.NDArray[np.float32]) -> None:
    """Note the NMI of buyers with two or more sessions: the code of their mean latent."""
    _, first, of_row, counts = np.unique(part.log.key, return_index=True, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), latents.shape[1]))
    np.add.at(means, of_row, latents)
    several = counts >= 2
    if not several.any():
        report.missing[f"{name}_nmi_buyers"] = "no buyer has two sessions; generate more hours."
        return
    coarse, _ = coder.codes((means[several] / counts[several, None]).astype(np.float32))
    report.add(f"{name}_nmi_buyers", nmi(coarse, part.types[first[several]]), "NMI")


def _add_codebook(
    report: Report, name: str, log: SessionLog, latents: npt.NDArray[np.float32], coarse: I64, full: I64, shape: Shape
) -> None:
    for level, codes, size in (("coarse", coarse, shape.coarse), ("full", full, shape.coarse * shape.fine)):
        counts = np.bincount(codes, minlength=size)
        report.add(f"{name}_{level}_in_use", float((counts > 0).mean()), "of codes")
        report.add(f"{name}_{level}_perplexity", perplexity(codes, size) / size, "of codes")
        report.add(f"{name}_{level}_largest", float(counts.max() / counts.sum() * size), "x even share")
    summaries = described_features(log.events, log.starts, log.lengths)[:, :SUMMARY_WIDTH]
    spread = summaries.std(0)
    if len(np.unique(coarse)) > 1:
        inputs = (summaries - summaries.mean(0)) / np.where(spread > 0, spread, 1.0)
        report.add(f"{name}_calinski_harabasz_inputs", float(calinski_harabasz_score(inputs, coarse)), "index")
        report.add(f"{name}_calinski_harabasz_latents", float(calinski_harabasz_score(latents, coarse)), "index")


def _saved(reading: Reading, codes: I64, converted: npt.NDArray[np.bool_]) -> float:
    """Return the share of the base rate's log loss that the codes' rates save, both as in training."""
    rates = reading.rates[codes]
    loss = -np.log(np.where(converted, rates, 1.0 - rates)).mean()
    base = -np.log(np.where(converted, reading.base, 1.0 - reading.base)).mean()
    return float(1.0 - loss / base)
