"""From a trained network to a finished encoder: export, calibration, figures on held-out sessions, descriptors.

Everything is measured on the ONNX encoder that will be served, not on the network it came from.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from encoders.batches import outcomes
from encoders.calibration import calibrate, draw_beginnings, fits_calibration
from encoders.codebook import Codebook, Codes
from encoders.export import to_onnx
from encoders.metrics import agreement_by_length, calibration_error, explained, nmi, perplexity, same_buyer_agreement
from encoders.personas import describe
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from encoders.training import TrainedEncoder
from schemas.events import I64

#: Lengths at which the report says how often the code is already the final one.
EARLY = (1, 2, 3, 5, 10)


@dataclass(frozen=True, slots=True)
class FittedEncoder:
    """All that an artefact is written from."""

    network: bytes
    codebook: Codebook
    personas: dict[str, Any]
    metrics: dict[str, Any]


def finish(
    trained: TrainedEncoder,
    training: SessionLog,
    held_out: SessionLog,
    planted: I64 | None = None,
) -> FittedEncoder:
    """Export and calibrate a trained encoder, and measure it on the held-out sessions.

    ``planted`` (held-out sessions,) are their planted types where known (-1: not), for the NMI in the report.
    """
    network = to_onnx(trained.encoder)
    coarse = trained.quantiser.coarse.vectors[0].numpy()
    plain = Codebook.uncalibrated(coarse, trained.quantiser.fine.vectors.numpy())
    raw = Encoder(network, plain, "unfinished")
    final = _codes(raw, held_out).code

    begun = draw_beginnings(held_out.lengths, trained.options.seed)
    latents = raw.latents(held_out.events, held_out.starts[begun.row], begun.lengths, still_open=True)
    fitting = fits_calibration(held_out.key[begun.row])
    if not fitting.any():
        # Too few buyers to halve: the few there are tell more of how sure to be than none.
        fitting = np.ones(len(fitting), bool)
    codebook = calibrate(plain, latents[fitting], begun.lengths[fitting], final[begun.row[fitting]])
    early = codebook.assign(latents, begun.lengths)

    fine_size = codebook.fine.shape[1]
    coarse_final, coarse_early = final // fine_size, early.code // fine_size
    right = early.code == final[begun.row]
    same, chance = same_buyer_agreement(coarse_final, held_out.key, held_out.merchant)
    agreement = agreement_by_length(coarse_early, coarse_final[begun.row], begun.lengths, EARLY)
    _, converted = outcomes(held_out)
    metrics: dict[str, Any] = {
        "held_out_sessions": len(held_out),
        "held_out_loss": min(report.loss for report in trained.history),
        "epochs": len(trained.history),
        "coarse_perplexity": perplexity(coarse_final, len(coarse)),
        "perplexity": perplexity(final, codebook.size),
        "coarse_codes_in_use": len(np.unique(coarse_final)),
        "codes_in_use": len(np.unique(final)),
        "same_buyer_agreement": same,
        "same_buyer_chance": chance,
        "coarse_conversion_explained": explained(coarse_final, converted),
        "conversion_explained": explained(final, converted),
        "calibration_error": calibration_error(early.confidence[~fitting], right[~fitting]),
        "early_agreement": {str(length): share for length, (share, _) in agreement.items()},
    }
    if planted is not None and (planted >= 0).any():
        known = planted >= 0
        metrics["coarse_nmi"] = nmi(coarse_final[known], planted[known])
        metrics["nmi"] = nmi(final[known], planted[known])
    everything = _codes(Encoder(network, codebook, "unfinished"), training).code
    return FittedEncoder(network, codebook, describe(codebook, training, everything), _without_nan(metrics))


def provenance(trained: TrainedEncoder, log: SessionLog) -> dict[str, Any]:
    """Return what the manifest says of the origin: data fingerprint, seed, dials and library versions."""
    options = trained.options
    times = log.batch().events["t"]
    first, last = (datetime.fromtimestamp(int(ms) / 1000, UTC) for ms in (times.min(), times.max()))
    shape = {name: getattr(options.shape, name) for name in type(options.shape).__slots__}
    dials = {name: getattr(options, name) for name in type(options).__slots__ if name != "shape"}
    libraries = {name: version(name) for name in ("numpy", "numba", "onnx", "onnxruntime", "scikit-learn", "torch")}
    return {
        "training_data": {
            "fingerprint": fingerprint(log),
            "sessions": len(log),
            "events": int(log.lengths.sum()),
            "buyers": len(np.unique(log.key)),
            "merchants": len(np.unique(log.merchant)),
            "first_event": first.isoformat(timespec="seconds"),
            "last_event": last.isoformat(timespec="seconds"),
        },
        "shape": shape,
        "options": dials,
        "seed": options.seed,
        "libraries": {"python": platform.python_version(), **libraries},
    }


def fingerprint(log: SessionLog) -> str:
    """Return the SHA-256 of the sessions trained on: buyers and events, in order."""
    digest = hashlib.sha256(log.key.tobytes())
    digest.update(log.lengths.tobytes())
    digest.update(log.batch().events.tobytes())
    return digest.hexdigest()


def _codes(encoder: Encoder, log: SessionLog) -> Codes:
    latents = encoder.latents(log.events, log.starts, log.lengths)
    return encoder.codebook.assign(latents, log.lengths)


def _without_nan(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: a figure that does not exist is null."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in metrics.items()}
