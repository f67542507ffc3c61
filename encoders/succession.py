"""From a running encoder to its successor: a challenger made of recent sessions, its types kept in their places."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoders.adaptation import AdaptationOptions, adapt
from encoders.artefact import NETWORK_FILE, Manifest, read_personas, write_artefact
from encoders.calibration import calibrate, draw_beginnings
from encoders.codebook import Codebook
from encoders.gate import Verdict
from encoders.personas import describe
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from encoders.type_map import TypeMap, aligned, code_map, kept_share, match_fine, match_types

#: Sessions that the calibration is fitted on, at most: each gives up to six beginnings.
CALIBRATION_SESSIONS = 10_000
#: Manifest entries of a running encoder that hold for its successor too.
_INHERITED = ("shape", "libraries", "training_data")


@dataclass(frozen=True, slots=True)
class Challenger:
    """A calibrated challenger whose kept types have their old places.

    network     ONNX bytes
    one_network whether that is the champion's own network
    types       what became of the champion's types, in places
    codes       what an old full code (as text) is called now, None where its type retired
    kept_types, kept_codes  share of the recent sessions whose type, and whose full code, is the one they had
    """

    encoder: Encoder
    network: bytes
    one_network: bool
    types: TypeMap
    codes: Mapping[str, int | None]
    kept_types: float
    kept_codes: float


def challenge(
    champion: Encoder,
    folder: Path,
    recent: SessionLog,
    options: AdaptationOptions,
    progress: Callable[[int], None] = lambda done: None,
) -> Challenger:
    """Return the challenger that ``recent`` sessions make of the running encoder, which was loaded from ``folder``."""
    order = np.argsort(recent.events["t"][recent.starts], kind="stable")
    latents = champion.latents(recent.events, recent.starts[order], recent.lengths[order])
    adaptation = adapt(champion.codebook, latents, options, progress)
    network = (folder / NETWORK_FILE).read_bytes()
    return _placed(champion, Encoder(network, adaptation.codebook, "challenger"), network, True, recent, options.seed)


def challenge_trained_on(
    champion: Encoder,
    folder: Path,
    recent: SessionLog,
    epochs: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Challenger:
    """Return the running encoder trained on, network and all, so many epochs over the ``recent`` sessions."""
    from encoders.further_training import train_on  # only here: it needs torch's training side

    network, codebook = train_on(
        (folder / NETWORK_FILE).read_bytes(),
        champion.codebook,
        recent,
        epochs,
        seed,
        lambda done, total, _: progress(done, total),
    )
    return _placed(champion, Encoder(network, codebook, "challenger"), network, False, recent, seed)


def challenge_with(champion: Encoder, folder: Path, recent: SessionLog, seed: int) -> Challenger:
    """Return an encoder that was trained anew as a challenger: its types matched to the champion's by ``recent``."""
    network = (folder / NETWORK_FILE).read_bytes()
    return _placed(champion, Encoder.load(folder), network, False, recent, seed)


def write_successor(
    out: Path,
    folder: Path,
    champion: Manifest,
    challenger: Challenger,
    recent: SessionLog,
    verdict: Verdict,
    fields: Mapping[str, Any],
) -> Manifest:
    """Write the challenger as an artefact whose manifest names its ``previous_version`` and the map from it.

    Kept types keep the names that ``folder``, the champion's artefact, gives them; their figures are those of the
    ``recent`` sessions. Raises ArtefactError as ``write_artefact``.
    """
    encoder, types = challenger.encoder, challenger.types
    codes = encoder.encode(recent.batch()).code
    personas = describe(encoder.codebook, recent, codes, _kept_names(folder, challenger))
    paths = [path.split(".")[0] for path in encoder.code_paths[:: encoder.codebook.fine.shape[1]]]
    manifest = {
        **{name: champion.fields[name] for name in _INHERITED if name in champion.fields},
        **fields,
        "previous_version": champion.codebook_version,
        "code_map": {
            "codes": dict(challenger.codes),
            "born": [paths[place] for place in types.born],
            "retired": [paths[place] for place in types.retired],
            "kept_types": challenger.kept_types,
            "kept_codes": challenger.kept_codes,
        },
        "gate": verdict_fields(verdict),
    }
    return write_artefact(out, challenger.network, encoder.codebook, personas, manifest)


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON."""
    return {
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "held_back_sessions": verdict.sessions,
        "criteria": {
            one.name: {"champion": one.champion, "challenger": one.challenger, "margin": one.margin}
            for one in verdict.criteria
        },
    }


def _placed(
    champion: Encoder, challenger: Encoder, network: bytes, one_network: bool, recent: SessionLog, seed: int
) -> Challenger:
    old_size = champion.codebook.fine.shape[1]
    new_size = challenger.codebook.fine.shape[1]
    sessions = recent.batch()
    before, after = champion.encode(sessions).code, challenger.encode(sessions).code
    matched = match_types(champion.codebook, challenger.codebook, before // old_size, after // new_size, one_network)
    codebook, types = aligned(champion.codebook, challenger.codebook, matched)
    after = Encoder(network, codebook, "challenger").encode(sessions).code
    codebook = match_fine(champion.codebook, codebook, before, after)
    encoder = Encoder(network, _calibrated(Encoder(network, codebook, "challenger"), recent, seed), "challenger")
    after = encoder.encode(sessions).code
    return Challenger(
        encoder,
        network,
        one_network,
        types,
        code_map(champion.codebook, encoder.codebook, types),
        kept_share(before // old_size, after // new_size),
        kept_share(before, after),
    )


def _calibrated(encoder: Encoder, recent: SessionLog, seed: int) -> Codebook:
    some = recent.limit(CALIBRATION_SESSIONS, seed)
    final = encoder.encode(some.batch()).code
    begun = draw_beginnings(some.lengths, seed)
    latents = encoder.latents(some.events, some.starts[begun.row], begun.lengths, still_open=True)
    return calibrate(encoder.codebook, latents, begun.lengths, final[begun.row])


def _kept_names(folder: Path, challenger: Challenger) -> dict[str, str]:
    """Return code path → name of the types and codes that live on."""
    personas = read_personas(folder)
    kept = {place for place, _ in challenger.types.kept}
    return {
        str(persona["code_path"]): str(persona["name"])
        for persona in (*personas["coarse"], *personas["codes"])
        if persona["coarse"] in kept and persona["statistics"].get("sessions")
    }
