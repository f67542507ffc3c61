"""A mix of another codebook in the types that a simulator knows, by the maps in a real store."""

import json

import pytest

from agent_runtime.errors import ModelError
from agent_runtime.population.lineage import Lineage
from agent_runtime.population.population import Mix
from streams.store.connection import Store
from streams.store.sink import CodebookRow, PersonaRow, Sink

#: Two types of two codes; then the first lives on, the second is retired and a third is born; then fine codes are one.
FIRST, SECOND, THIRD = "cb-1", "cb-2", "cb-3"
PATHS = {
    FIRST: {0: "c00.f0", 1: "c00.f1", 2: "c01.f0", 3: "c01.f1"},
    SECOND: {0: "c00.f0", 1: "c00.f1", 4: "c02.f0", 5: "c02.f1"},
    THIRD: {0: "c00", 2: "c02"},
}
MAPS = {
    FIRST: ("", {}),
    SECOND: (FIRST, {"0": 1, "1": 0, "2": None, "3": None}),
    THIRD: (SECOND, {"0": 0, "1": 0, "4": 2, "5": 2}),
}


@pytest.fixture
def store(clickhouse: str) -> Store:
    store = Store(clickhouse)
    sink = Sink(store)
    for version, (previous, codes) in MAPS.items():
        personas = [PersonaRow(version, code, path, path, "", "{}", 0.25) for code, path in PATHS[version].items()]
        sink.codebook(CodebookRow(version, 0, len(personas), 2, "{}", previous, json.dumps(codes)), personas)
    sink.flush()
    return store


def mix(version: str, weights: dict[int, float]) -> Mix:
    return Mix("shop", version, 5, 200.0, weights)


def test_kept_types_go_on_and_born_ones_are_named(store: Store) -> None:
    told = Lineage(store, FIRST)(mix(SECOND, {0: 0.5, 1: 0.25, 4: 0.15, 5: 0.1}))
    assert (told.mix.codebook_version, told.mix.as_of_ms, told.mix.n_effective) == (FIRST, 5, pytest.approx(150.0))
    assert told.mix.weights == {0: pytest.approx(1 / 3), 1: pytest.approx(2 / 3)}
    assert told.born == {"c02": pytest.approx(0.25)}
    assert told.said == (
        "shop: its mix is of codebook cb-2, told in 2 codes of cb-1; c02 (25.0% of it) was born since and has no token "
        "yet: finetune to teach it."
    )


def test_maps_are_followed_one_after_another(store: Store) -> None:
    told = Lineage(store, FIRST)(mix(THIRD, {0: 0.6, 2: 0.4}))
    assert told.mix.weights == {0: pytest.approx(0.5), 1: pytest.approx(0.5)}
    assert set(told.born) == {"c02"}


def test_workers_that_went_back_are_followed_back(store: Store) -> None:
    told = Lineage(store, SECOND)(mix(FIRST, {0: 0.3, 1: 0.3, 2: 0.4}))
    assert told.mix.weights == {0: pytest.approx(0.5), 1: pytest.approx(0.5)}
    assert told.born == {"c01": pytest.approx(0.4)}


def test_the_known_codebook_is_left_as_it_is(store: Store) -> None:
    known = mix(FIRST, {0: 1.0})
    told = Lineage(store, FIRST)(known)
    assert (told.mix, told.said) == (known, "")


def test_what_no_map_leads_to_is_said_in_one_sentence(store: Store) -> None:
    with pytest.raises(ModelError, match="knows codebook cb-0, the mix is of cb-2, and no map leads from one to the"):
        Lineage(store, "cb-0")(mix(SECOND, {0: 1.0}))
    with pytest.raises(ModelError, match=r"shop: no type of its mix \(codebook cb-2\) is one of codebook cb-1"):
        Lineage(store, FIRST)(mix(SECOND, {4: 1.0}))
