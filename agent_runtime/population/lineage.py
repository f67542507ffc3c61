"""A mix of a newer (or older) codebook told in the types that a simulator knows.

Types live on when a codebook is adapted or trained anew: its map says what every earlier code is called now (see
``encoders.type_map``). A simulator goes on with the types that it knows; those that were born since have no token yet.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent_runtime.errors import ModelError
from agent_runtime.population.population import Mix, Reader

_CODEBOOKS = "SELECT codebook_version, previous_version, code_map FROM codebooks FINAL"
_PATHS = "SELECT code, code_path FROM personas FINAL WHERE codebook_version = %(version)s AND code >= 0"
#: Maps followed one after another, at most: a chain that is longer is a mistake.
_LONGEST_CHAIN = 100
#: Born types named in a sentence.
_NAMED = 5

#: What a code is called in another codebook, None where its type is no more.
CodeMap = Mapping[int, int | None]


@dataclass(frozen=True, slots=True)
class Translated:
    """A mix in known types. ``born`` code path -> share of the original mix that has no token; ``said`` says so."""

    mix: Mix
    born: Mapping[str, float]
    said: str


class Lineage:
    """Tells mixes in the types of codebook ``known_version``, by the maps that the store has; each is read once."""

    def __init__(self, store: Reader, known_version: str) -> None:
        self._store, self._known_version = store, known_version
        self._read: dict[str, tuple[dict[int, str], dict[int, tuple[int, ...]]]] = {}

    def __call__(self, mix: Mix) -> Translated:
        """Return a mix in known types, as it is where it is of the known codebook.

        Raises ModelError when no chain of maps leads from one to the other (it is asked for again the next time), or
        when no type of the mix is known.
        """
        version, known_version = mix.codebook_version, self._known_version
        if version == known_version:
            return Translated(mix, {}, "")
        if version not in self._read:
            self._read[version] = _names(self._store, version), _back(self._store, version, known_version)
        names, back = self._read[version]
        known = _known_types(back, names)
        weights: dict[int, float] = {}
        born: dict[str, float] = {}
        for code, weight in mix.weights.items():
            coarse = names.get(code, f"code {code}").partition(".")[0]
            # a code without a namesake of its own shares those of its type
            olds = back.get(code) or known.get(coarse, ())
            for old in olds:
                weights[old] = weights.get(old, 0.0) + weight / len(olds)
            if not olds and weight > 0:
                born[coarse] = born.get(coarse, 0.0) + weight
        total, whole = sum(weights.values()), sum(mix.weights.values())
        if not total > 0:
            raise ModelError(
                f"{mix.merchant_id}: no type of its mix (codebook {version}) is one of codebook {known_version}, "
                "which the simulator knows; finetune it with that encoder."
            )
        told = replace(
            mix,
            codebook_version=known_version,
            n_effective=mix.n_effective * total / whole,
            weights={code: weight / total for code, weight in sorted(weights.items())},
        )
        shares = {name: weight / whole for name, weight in sorted(born.items(), key=lambda one: -one[1])}
        return Translated(told, shares, _sentence(mix, known_version, len(weights), shares))


def _sentence(mix: Mix, known_version: str, kept: int, born: Mapping[str, float]) -> str:
    begin = f"{mix.merchant_id}: its mix is of codebook {mix.codebook_version}, told in {kept} codes of {known_version}"
    if not born:
        return f"{begin}; no type was born since."
    names = ", ".join(list(born)[:_NAMED]) + (", …" if len(born) > _NAMED else "")
    return (
        f"{begin}; {names} ({sum(born.values()):.1%} of it) {'were' if len(born) > 1 else 'was'} born since and "
        f"{'have' if len(born) > 1 else 'has'} no token yet: finetune to teach {'them' if len(born) > 1 else 'it'}."
    )


def _names(store: Reader, version: str) -> dict[int, str]:
    rows = store.select(_PATHS, {"version": version}).to_pylist()
    return {int(row["code"]): str(row["code_path"]) for row in rows}


def _known_types(back: Mapping[int, tuple[int, ...]], names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Return for each coarse type of the mix's codebook the known codes that lead into it."""
    found: dict[str, set[int]] = {}
    for code, olds in back.items():
        found.setdefault(names.get(code, "").partition(".")[0], set()).update(olds)
    return {name: tuple(sorted(olds)) for name, olds in found.items() if name}


def _back(store: Reader, version: str, known_version: str) -> dict[int, tuple[int, ...]]:
    """Return for every code of ``version`` the codes of ``known_version`` that are its type. Raises ModelError."""
    rows = store.select(_CODEBOOKS).to_pylist()
    maps = {str(row["codebook_version"]): (str(row["previous_version"]), _map_of(row["code_map"])) for row in rows}
    if (forward := _chain(maps, version, known_version)) is not None:
        found: dict[int, set[int]] = {}
        for old, new in forward.items():
            if new is not None:
                found.setdefault(new, set()).add(old)
        return {code: tuple(sorted(olds)) for code, olds in found.items()}
    if (forward := _chain(maps, known_version, version)) is not None:  # the workers went back to an earlier one
        return {old: (new,) for old, new in forward.items() if new is not None}
    raise ModelError(
        f"The simulator knows codebook {known_version}, the mix is of {version}, and no map leads from one to the "
        "other; run `simpersona finetune` with that encoder."
    )


def _chain(maps: Mapping[str, tuple[str, CodeMap]], newer: str, older: str) -> CodeMap | None:
    """Return what the codes of ``older`` are called in ``newer``, which descends from it; None when it does not."""
    steps: list[CodeMap] = []
    version = newer
    while version != older:
        previous, step = maps.get(version, ("", {}))
        if not previous or not step or len(steps) == _LONGEST_CHAIN:
            return None
        steps.append(step)
        version = previous
    names: dict[int, int | None] = {code: code for code in (steps[-1] if steps else {})}
    for step in reversed(steps):
        names = {code: None if now is None else step.get(now) for code, now in names.items()}
    return names


def _map_of(text: str) -> dict[int, int | None]:
    return {int(old): None if new is None else int(new) for old, new in json.loads(text or "{}").items()}
