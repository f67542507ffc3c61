"""What a model card shows beyond the manifest: measured on the finished encoder, mostly on sessions held out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.calibration import fits_calibration
from encoders.codebook import F32, F64, Codebook
from encoders.metrics import calibration_error
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from schemas.events import I64

#: Events after which the card says how often the code is already the final one.
PREFIXES = (2, 3, 5, 10)
#: Bins of equal count of the reliability plot.
RELIABILITY_BINS = 10
#: A share of fewer sessions than this is chance.
LEAST_SESSIONS = 30
#: Points of the embedding map, and merchants whose mixes are drawn: as many as an eye can take in.
MAP_POINTS, MIX_MERCHANTS = 1_500, 30


@dataclass(frozen=True, slots=True)
class PrefixReading:
    """Codes after ``events`` events beside the final ones, over held-out sessions of at least so many.

    final       share whose code is the final one
    final_type  share whose coarse type is the final one
    confidence  mean of what the encoder says of this share; error: expected calibration error
    bins        (confidence, share final) of sessions of like confidence
    """

    events: int
    sessions: int
    final: float
    final_type: float
    confidence: float
    error: float
    bins: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Two principal components of the type part of held-out latents.

    points (n, 2), coarse (n,) types, vectors (C, 2) of the codebook, explained (2,) shares of the variance
    """

    points: F64
    coarse: I64
    vectors: F64
    explained: F64


@dataclass(frozen=True, slots=True)
class MerchantMix:
    """A merchant's shares of the coarse types (C,), and whether training never saw it."""

    merchant: str
    sessions: int
    held_out: bool
    shares: F64


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All of it. usage (K,): share of every full code in the held-out sessions."""

    usage: F64
    prefixes: tuple[PrefixReading, ...]
    map: EmbeddingMap
    mixes: tuple[MerchantMix, ...]
    merchants: int


def card_facts(encoder: Encoder, training: SessionLog, held_out: SessionLog, seed: int) -> CardFacts:
    """Measure an encoder on the sessions it was trained on and on those held out. Draws depend on ``seed`` alone."""
    codebook = encoder.codebook
    latents = encoder.latents(held_out.events, held_out.starts, held_out.lengths)
    final = codebook.assign(latents, held_out.lengths).code.astype(np.int64)
    seen = encoder.latents(training.events, training.starts, training.lengths)
    trained_on = codebook.assign(seen, training.lengths).code.astype(np.int64)
    fine_size, coarse = codebook.fine.shape[1], len(codebook.coarse)
    mixes = [
        *_mixes(training, trained_on // fine_size, coarse, held_out=False),
        *_mixes(held_out, final // fine_size, coarse, held_out=True),
    ]
    mixes.sort(key=lambda mix: (-mix.sessions, mix.merchant))
    # Where merchants are few, a merchant's buyers are on both sides.
    merchants = len({mix.merchant for mix in mixes})
    return CardFacts(
        np.bincount(final, minlength=codebook.size) / len(final),
        tuple(_prefix(encoder, held_out, final, events) for events in PREFIXES if _reaching(held_out, events).any()),
        _map(codebook, latents, final // fine_size, seed),
        tuple(mixes[:MIX_MERCHANTS]),
        merchants,
    )


def _reaching(log: SessionLog, events: int) -> npt.NDArray[np.bool_]:
    # The other half of the buyers fitted the calibration: on it confidence would look better than it is.
    return np.asarray((log.lengths >= events) & ~fits_calibration(log.key), bool)


def _prefix(encoder: Encoder, log: SessionLog, final: I64, events: int) -> PrefixReading:
    rows = np.flatnonzero(_reaching(log, events))
    shown = np.full(len(rows), events, np.int64)
    latents = encoder.latents(log.events, log.starts[rows], shown, still_open=True)
    codes = encoder.codebook.assign(latents, shown)
    right = codes.code == final[rows]
    fine_size = encoder.codebook.fine.shape[1]
    order = np.argsort(codes.confidence, kind="stable")
    bins = [part for part in np.array_split(order, RELIABILITY_BINS) if len(part) >= LEAST_SESSIONS] or [order]
    return PrefixReading(
        events,
        len(rows),
        float(right.mean()),
        float((codes.code // fine_size == final[rows] // fine_size).mean()),
        float(codes.confidence.mean()),
        calibration_error(codes.confidence, right),
        tuple((float(codes.confidence[part].mean()), float(right[part].mean())) for part in bins),
    )


def _map(codebook: Codebook, latents: F32, coarse: I64, seed: int) -> EmbeddingMap:
    rows = np.sort(np.random.default_rng(seed).permutation(len(latents))[:MAP_POINTS])
    kinds = latents[rows, : codebook.coarse.shape[1]].astype(np.float64)
    mean = kinds.mean(0)
    _, spread, axes = np.linalg.svd(kinds - mean, full_matrices=False)
    axes = axes[:2]
    # An axis may point either way; always the same one is chosen.
    axes = axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, None]
    variance = np.square(spread)
    explained = variance[:2] / max(float(variance.sum()), 1e-12)
    return EmbeddingMap((kinds - mean) @ axes.T, coarse[rows], (codebook.coarse - mean) @ axes.T, explained)


def _mixes(log: SessionLog, coarse: I64, size: int, held_out: bool) -> list[MerchantMix]:
    counts = np.bincount(log.merchant.astype(np.int64) * size + coarse, minlength=len(log.merchants) * size)
    table = counts.reshape(-1, size)
    return [
        MerchantMix(log.merchants[index], int(row.sum()), held_out, row / row.sum())
        for index, row in enumerate(table)
        if row.sum()
    ]


def largest(mix: MerchantMix, count: int) -> list[tuple[int, float]]:
    """Return the ``count`` commonest coarse types of a merchant with their shares."""
    order: list[Any] = np.argsort(-mix.shares, kind="stable")[:count].tolist()
    return [(index, float(mix.shares[index])) for index in order if mix.shares[index] > 0]
