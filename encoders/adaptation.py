"""A challenger codebook from recent sessions: moving averages that begin at the running codebook, births, retirements.

The moving average is that of training (van den Oord et al. 2017, arXiv 1711.00937, appendix A.1), gone on with where
training left it, over whole sessions in the order of their time; the network stands still. Pure, no torch.

A type keeps its place in the codebook for as long as it lives: a born type gets a new place behind the others, a
retired one leaves its place closed. So codes of two successive versions mean the same wherever both exist.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from encoders.codebook import F32, F64, Codebook
from schemas.events import I64

#: Sessions whose codes are looked up before the vectors move.
BATCH = 256
#: A type with less than this part of an even share is dead (the share under which training restarts a code) …
DEAD_SHARE = 0.02
#: … if that share would have been at least so many sessions: fewer say nothing.
LEAST_EXPECTED = 10
#: Sessions further from their nearest vector than this many times the median are looked at for a new type.
FAR = 2.0
#: A new type is born if it takes at least this share of the sessions …
BIRTH_SHARE = 0.01
#: … and saves at least this part of an even type's part of the distance between sessions and their types. (One vector
#: more always saves something: among sessions of which nothing is new up to 0.53 of it, see ``docs/log.md``.)
BIRTH_GAIN = 0.8
#: Groups that the far sessions are parted into, each of which may be a new type.
CANDIDATES = 6
#: Steps in which a new type finds its place among its sessions, and old ones theirs for comparison.
LLOYD_STEPS = 8
#: A closed place holds a vector of this length: no latent is ever nearest to it, and its posterior is 0.
CLOSED_LENGTH = 10.0


@dataclass(frozen=True, slots=True)
class AdaptationOptions:
    """Dials of one adaptation.

    half_life  sessions after which what was there before counts half
    births     new types at most
    seed       of the search for new types
    """

    half_life: int = 2_000
    births: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A challenger, not calibrated yet, and the places of types that were born and retired."""

    codebook: Codebook
    born: tuple[int, ...]
    retired: tuple[int, ...]


def open_types(codebook: Codebook) -> npt.NDArray[np.bool_]:
    """Return which places of a codebook hold a living type, (C,) bool."""
    alive: npt.NDArray[np.bool_] = np.linalg.norm(codebook.coarse, axis=1) < CLOSED_LENGTH / 2
    return alive


def close_types(codebook: Codebook, places: npt.NDArray[np.bool_]) -> Codebook:
    """Return the codebook with these places (C,) closed."""
    coarse = codebook.coarse.copy()
    coarse[places] = 0.0
    coarse[places, 0] = CLOSED_LENGTH
    return replace(codebook, coarse=coarse)


def adapt(
    champion: Codebook,
    latents: F32,
    options: AdaptationOptions,
    progress: Callable[[int], None] = lambda done: None,
) -> Adaptation:
    """Return the challenger that recent sessions make of the running codebook.

    ``latents`` (n, D1 + D2) of whole sessions, oldest first, by the champion's own network. ``progress`` is told the
    sessions of every step.
    """
    width = champion.coarse.shape[1]
    # Births first: new sessions would else draw the nearest type away from its own.
    widened, born = _give_birth(champion, latents, options)
    codebook = _moving_average(widened, latents, options.half_life, progress)
    shares = np.bincount(_nearest(codebook.coarse, latents[:, :width])[0], minlength=len(codebook.coarse))
    dead = open_types(codebook) & (shares < DEAD_SHARE * len(latents) / open_types(champion).sum())
    if DEAD_SHARE * len(latents) / open_types(champion).sum() < LEAST_EXPECTED:
        dead[:] = False
    return Adaptation(close_types(codebook, dead), born, tuple(np.flatnonzero(dead).tolist()))


def quantisation_error(codebook: Codebook, latents: F32) -> F64:
    """Return each session's squared distance to the vectors of its code, both levels together, (n,)."""
    width, fine_size = codebook.coarse.shape[1], codebook.fine.shape[1]
    code = codebook.assign(latents, np.ones(len(latents), np.int64)).code
    coarse, fine = np.divmod(code, fine_size)
    kind = np.square(latents[:, :width] - codebook.coarse[coarse]).sum(1, dtype=np.float64)
    style = np.square(latents[:, width:] - codebook.fine[coarse, fine]).sum(1, dtype=np.float64)
    return np.asarray(kind + style)


def _moving_average(champion: Codebook, latents: F32, half_life: int, progress: Callable[[int], None]) -> Codebook:
    (types, width), fine_size = champion.coarse.shape, champion.fine.shape[1]
    decay = 0.5 ** (BATCH / half_life)
    memory = BATCH / (1.0 - decay)
    lengths = np.ones(len(latents), np.int64)  # nearest codes do not depend on them
    shares = np.bincount(champion.assign(latents, lengths).code, minlength=champion.size) / max(len(latents), 1)
    # What the past weighs in sessions, spread over the codes as the recent sessions are.
    fine_counts = np.maximum(shares * memory, 1e-3).reshape(types, fine_size)
    coarse_counts = fine_counts.sum(1)
    coarse_sums = champion.coarse.astype(np.float64) * coarse_counts[:, None]
    fine_sums = champion.fine.astype(np.float64) * fine_counts[..., None]
    codebook = champion
    for first in range(0, len(latents), BATCH):
        batch = latents[first : first + BATCH]
        codes = codebook.assign(batch, lengths[: len(batch)]).code
        coarse, fine = np.divmod(codes, fine_size)
        for total in (coarse_counts, coarse_sums, fine_counts, fine_sums):
            total *= decay
        np.add.at(coarse_counts, coarse, 1.0)
        np.add.at(coarse_sums, coarse, batch[:, :width])
        np.add.at(fine_counts, (coarse, fine), 1.0)
        np.add.at(fine_sums, (coarse, fine), batch[:, width:])
        codebook = replace(codebook, coarse=_unit(coarse_sums), fine=_unit(fine_sums))
        progress(len(batch))
    closed = ~open_types(champion)
    return close_types(codebook, closed)


def _give_birth(codebook: Codebook, latents: F32, options: AdaptationOptions) -> tuple[Codebook, tuple[int, ...]]:
    """Add a type wherever many sessions lie far from all there are; return the codebook and the new places."""
    kinds, styles = np.split(latents, [codebook.coarse.shape[1]], axis=1)
    born: list[int] = []
    while len(born) < options.births:
        # Far from the types as they are and as they would be if they followed their sessions at once: a type that only
        # lags behind is no reason for another, nor is one that a new type's sessions have drawn away.
        distances = np.minimum(
            _nearest(codebook.coarse, kinds)[1], _nearest(_followed(codebook.coarse, kinds), kinds)[1]
        )
        far = kinds[distances > FAR * np.median(distances)]
        if len(far) < max(BIRTH_SHARE * len(kinds), CANDIDATES):
            break
        groups = KMeans(CANDIDATES, n_init=2, random_state=options.seed).fit(far)
        best: tuple[float, F32, npt.NDArray[np.bool_]] | None = None
        for centre in groups.cluster_centers_:
            vector, own = _settled(_unit(centre.astype(np.float64)), kinds, distances)
            saved = float((distances[own] - _squared(vector, kinds[own])).sum() / distances.sum())
            enough = own.mean() >= BIRTH_SHARE and saved >= BIRTH_GAIN / open_types(codebook).sum()
            if enough and (best is None or saved > best[0]):
                best = saved, vector, own
        if best is None:
            break
        _, vector, own = best
        born.append(len(codebook.coarse))
        codebook = _with_type(codebook, vector, _fine_of(styles[own], codebook.fine.shape[1], options.seed))
    return codebook, tuple(born)


def _followed(coarse: F32, kinds: F32) -> F32:
    """Return coarse vectors moved into the midst of their sessions by Lloyd's steps; closed places stay."""
    for _ in range(LLOYD_STEPS):
        nearest, _ = _nearest(coarse, kinds)
        sums = np.zeros(coarse.shape)
        np.add.at(sums, nearest, kinds)
        has_some = np.bincount(nearest, minlength=len(coarse)) > 0
        coarse = np.where(has_some[:, None], _unit(sums), coarse)
    return coarse


def _settled(vector: F32, kinds: F32, distances: F64) -> tuple[F32, npt.NDArray[np.bool_]]:
    """Move a new vector into the midst of the sessions that it takes from the others; return both."""
    own = _squared(vector, kinds) < distances
    for _ in range(LLOYD_STEPS):
        if not own.any():
            break
        vector = _unit(kinds[own].sum(0, dtype=np.float64))
        own = _squared(vector, kinds) < distances
    return vector, own


def _fine_of(styles: F32, size: int, seed: int) -> F32:
    if len(np.unique(styles, axis=0)) < size:
        return styles[np.arange(size) % len(styles)]
    return _unit(KMeans(size, n_init=2, random_state=seed).fit(styles).cluster_centers_.astype(np.float64))


def _with_type(codebook: Codebook, vector: F32, fine: F32) -> Codebook:
    """Return the codebook with one more place; what it says of the calibration means nothing yet."""
    return Codebook.uncalibrated(
        np.concatenate([codebook.coarse, vector[None]]), np.concatenate([codebook.fine, fine[None]])
    )


def _nearest(coarse: F32, kinds: F32) -> tuple[I64, F64]:
    distances = np.stack([_squared(vector, kinds) for vector in coarse], axis=1)
    nearest = distances.argmin(1)
    return nearest, distances[np.arange(len(kinds)), nearest]


def _squared(vector: F32, kinds: F32) -> F64:
    return np.asarray(np.square(kinds - vector).sum(1, dtype=np.float64))


def _unit(vectors: F64) -> F32:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32)
