"""A merchant's mix out of the store: the latest, or that of any time before."""

from collections.abc import Iterator

import pytest

from agent_runtime.errors import PopulationError
from agent_runtime.population.population import latest_mix
from streams.mixes.decay import Mix
from streams.mixes.rows import MixKey, MixRows
from streams.store.connection import Store
from streams.store.sink import Sink

HOUR_MS = 3_600_000
NOON_MS = 1_750_075_200_000  # 2025-06-16 12:00 UTC


@pytest.fixture
def store(clickhouse: str) -> Iterator[Store]:
    """A store that knows two hours of one merchant, its codebook swapped in between, and a simulated crowd."""
    told = Store(clickhouse)
    sink = Sink(told)
    rows = MixRows()
    rows.add(MixKey("shop", "live"), "v1", "decayed", NOON_MS, Mix.of_counts({0: 3, 1: 1}))
    rows.add(MixKey("shop", "live"), "v2", "decayed", NOON_MS + HOUR_MS, Mix.of_counts({2: 5}))
    rows.add(MixKey("shop", "live"), "v2", "1h", NOON_MS + 2 * HOUR_MS, Mix.of_counts({3: 5}))
    rows.add(MixKey("shop", "simulated"), "v2", "decayed", NOON_MS + 2 * HOUR_MS, Mix.of_counts({3: 9}))
    sink.distributions(rows, emitted_ms=NOON_MS)
    sink.flush()
    yield told
    told.close()


@pytest.mark.parametrize(
    ("after_ms", "version", "weights"),
    [
        (0, "v1", {0: 0.75, 1: 0.25}),
        (HOUR_MS - 1, "v1", {0: 0.75, 1: 0.25}),
        (HOUR_MS, "v2", {2: 1.0}),
        (9 * HOUR_MS, "v2", {2: 1.0}),
    ],
)
def test_the_mix_of_a_time_is_the_newest_that_was_there(
    store: Store, after_ms: int, version: str, weights: dict[int, float]
) -> None:
    mix = latest_mix(store, "shop", NOON_MS + after_ms)
    assert (mix.codebook_version, mix.weights) == (version, weights)
    assert mix.as_of_ms <= NOON_MS + after_ms


def test_without_a_time_it_is_the_latest(store: Store) -> None:
    assert latest_mix(store, "shop") == latest_mix(store, "shop", NOON_MS + HOUR_MS)


def test_what_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(PopulationError, match="had no mix of buyer types by then; its latest is of 2025-06-16T13:00Z"):
        latest_mix(store, "shop", NOON_MS - 1)
    with pytest.raises(PopulationError, match="Merchant nowhere has no mix of buyer types; known are shop"):
        latest_mix(store, "nowhere", NOON_MS)
