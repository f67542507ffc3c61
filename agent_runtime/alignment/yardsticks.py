"""What a simulation has to beat: wrong buyer types, no types, other mixes, and real sessions of other shops again."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from agent_runtime.population.population import Mix
from agent_runtime.traces.behaviour import Behaviour
from agent_runtime.traces.held_out import Recorded
from schemas.events import I32

Bools = npt.NDArray[np.bool_]

#: Random permutations tried, each mended by swaps; with many coarse types the first does.
_TRIES = 1_000


def mix_of(merchant_id: str, codebook_version: str, codes: I32, as_of_ms: int) -> Mix:
    """Return the mix of some sessions' types."""
    found, counts = np.unique(codes, return_counts=True)
    weights = {int(code): count / len(codes) for code, count in zip(found, counts, strict=True)}
    return Mix(merchant_id, codebook_version, as_of_ms, float(len(codes)), weights)


def uniform_mix(mix: Mix, size: int) -> Mix:
    """Return a mix in which every one of ``size`` codes is as likely."""
    return replace(mix, weights=dict.fromkeys(range(size), 1 / size))


def derangement(code_paths: Sequence[str], seed: int, whole_types: bool) -> I32:
    """Return for every code another one, (K,): a random permutation in which no code keeps its coarse type.

    whole_types  coarse types change places with all that is under them (every one has as many fine codes); else each
                 full code goes where it likes. Without two coarse types the codes are turned round by one.
    """
    coarse = np.unique([path.partition(".")[0] for path in code_paths], return_inverse=True)[1]
    types, random = int(coarse.max()) + 1, np.random.default_rng(seed)
    fine = len(coarse) // types
    items = np.arange(types) if whole_types else coarse
    for _ in range(_TRIES if types > 1 else 0):
        order = random.permutation(len(items))
        for place in np.flatnonzero(items[order] == items):  # mend: swap with anyone
            other = random.integers(len(items))
            order[[place, other]] = order[[other, place]]
        if (items[order] != items).all():
            return (np.add.outer(order * fine, np.arange(fine)).ravel() if whole_types else order).astype(np.int32)
    return np.roll(np.arange(len(coarse)), 1).astype(np.int32)


def replay(codes: I32, training: Recorded, allowed: Bools, seed: int) -> Behaviour:
    """Return a real training session of the same type for every one of ``codes`` (n,), drawn with replacement.

    allowed  (training sessions,) which of them may be drawn; a type that has none among them draws from all of its
    own, and one that was never seen from all.
    """
    random = np.random.default_rng(seed)
    rows = np.empty(len(codes), np.int64)
    for code in np.unique(codes):
        own = training.traces.code == code
        pool = np.flatnonzero(own & allowed)
        if not len(pool):
            pool = np.flatnonzero(own) if own.any() else np.arange(len(own))
        wanted = codes == code
        rows[wanted] = random.choice(pool, int(wanted.sum()))
    return training.behaviour.select(rows)
