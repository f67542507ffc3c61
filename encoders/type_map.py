"""Which type of a new codebook is which of the old one: the same sessions, coded by both, matched by Kuhn's method.

The assignment that leaves most sessions with the type they had (Kuhn 1955; scipy's ``linear_sum_assignment``). It needs
no common latent, so it also holds between an encoder and one that was trained anew, whose codes come in any order.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from encoders.adaptation import close_types, open_types
from encoders.codebook import Codebook

Ints = npt.NDArray[np.integer]
#: Two types are one only if they share at least this part of their sessions (the geometric mean of both parts).
LEAST_OVERLAP = 0.3
#: What nearness is worth, in sessions, where no session tells which type is which.
_NEARNESS = 1e-3


@dataclass(frozen=True, slots=True)
class TypeMap:
    """What became of the places of the old codebook.

    kept      pairs (old place, new place) of types that live on
    retired   old places whose type is no more
    born      new places whose type is new
    """

    kept: tuple[tuple[int, int], ...]
    retired: tuple[int, ...]
    born: tuple[int, ...]


def match_types(champion: Codebook, challenger: Codebook, before: Ints, after: Ints, one_network: bool) -> TypeMap:
    """Match coarse types by the sessions (n,) that both codebooks coded; ``before`` and ``after`` are coarse codes.

    With ``one_network`` vectors may be compared: types without any session then stay where they are.
    """
    old, new = np.flatnonzero(open_types(champion)), np.flatnonzero(open_types(challenger))
    shared = np.zeros((len(champion.coarse), len(challenger.coarse)))
    np.add.at(shared, (before, after), 1.0)
    value = shared[np.ix_(old, new)]
    if one_network:
        value = value + _NEARNESS * (champion.coarse[old] @ challenger.coarse[new].T)
    kept = []
    sizes_before, sizes_after = shared.sum(1), shared.sum(0)
    for row, column in zip(*linear_sum_assignment(value, maximize=True), strict=True):
        one, other = int(old[row]), int(new[column])
        larger = np.sqrt(sizes_before[one] * sizes_after[other])
        unseen = one_network and sizes_before[one] == 0 and sizes_after[other] == 0
        if unseen or (larger > 0 and shared[one, other] / larger >= LEAST_OVERLAP):
            kept.append((one, other))
    living, known = {one for one, _ in kept}, {other for _, other in kept}
    return TypeMap(
        tuple(sorted(kept)),
        tuple(place for place in old.tolist() if place not in living),
        tuple(place for place in new.tolist() if place not in known),
    )


def aligned(champion: Codebook, challenger: Codebook, types: TypeMap) -> tuple[Codebook, TypeMap]:
    """Return the challenger with every kept type in its old place, retired places closed and born types behind.

    Also the map in the new places. Fine codes stay in the order that the challenger has them; see ``match_fine``.
    """
    size = len(champion.coarse) + len(types.born)
    source = np.full(size, -1, np.int64)
    for one, other in types.kept:
        source[one] = other
    source[len(champion.coarse) :] = types.born
    empty = source < 0
    rows = np.where(empty, 0, source)
    codebook = replace(
        challenger,
        coarse=challenger.coarse[rows],
        fine=challenger.fine[rows],
        coarse_bias=np.where(empty, np.float32(0.0), challenger.coarse_bias[:, rows]),
    )
    places = tuple(range(len(champion.coarse), size))
    return close_types(codebook, empty), TypeMap(tuple((one, one) for one, _ in types.kept), types.retired, places)


def match_fine(champion: Codebook, challenger: Codebook, before: Ints, after: Ints) -> Codebook:
    """Return an aligned challenger with the fine codes under each kept type in their old order.

    ``before`` and ``after`` (n,) are full codes of the same sessions. Changes nothing where the numbers differ.
    """
    size = champion.fine.shape[1]
    if challenger.fine.shape[1] != size:
        return challenger
    fine = challenger.fine.copy()
    both = min(len(champion.coarse), len(challenger.coarse))
    for place in range(both):
        own = (before // size == place) & (after // size == place)
        shared = np.zeros((size, size))
        np.add.at(shared, (before[own] % size, after[own] % size), 1.0)
        # where no session tells, each stays where it is
        rows, columns = linear_sum_assignment(shared + _NEARNESS * np.eye(size), maximize=True)
        fine[place, rows] = challenger.fine[place, columns]
    return replace(challenger, fine=fine)


def code_map(champion: Codebook, challenger: Codebook, types: TypeMap) -> dict[str, int | None]:
    """Return what an old full code is called now, None for codes of retired types; for an aligned challenger.

    Without as many fine codes as before, a full code leads to the first of its type's.
    """
    old_size, new_size = champion.fine.shape[1], challenger.fine.shape[1]
    kept = dict(types.kept)
    mapped: dict[str, int | None] = {}
    for code in range(champion.size):
        place = kept.get(code // old_size)
        fine = code % old_size if old_size == new_size else 0
        mapped[str(code)] = None if place is None else place * new_size + fine
    return mapped


def kept_share(before: Ints, after: Ints) -> float:
    """Return the share of sessions (n,) whose type, or code, is the one they had."""
    return float((before == after).mean()) if len(before) else 1.0
