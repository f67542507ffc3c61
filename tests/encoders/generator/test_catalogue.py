"""Catalogues: every shop has its own, and it is what it says."""

import numpy as np
import pytest

from encoders.generator.catalogue import CATALOGUE_SCHEMA, Catalogue, build_catalogue
from encoders.generator.vocabulary import CATEGORIES, QUERIES, QUERIES_PER_CATEGORY, queries

pytestmark = pytest.mark.fast


def catalogue(seed: int) -> Catalogue:
    return build_catalogue(np.random.default_rng(seed), f"p{seed:03d}", "EUR")


@pytest.mark.parametrize("seed", range(12))
def test_a_catalogue_is_whole(seed: int) -> None:
    shop = catalogue(seed)
    assert 40 <= len(shop) <= 3_000
    assert len(set(shop.product_id)) == len(shop) == len(shop.title)
    assert (shop.price_minor > 0).all()
    assert sorted(shop.rank) == list(range(1, len(shop) + 1))
    assert shop.popularity.sum() == pytest.approx(1.0)
    assert (np.diff(shop.category) >= 0).all(), "grouped by category"
    assert 3 <= len(np.unique(shop.category)) <= 8
    same = np.diff(shop.category) == 0
    assert (np.diff(shop.popularity)[same] < 0).all(), "most popular first within a category"


def test_catalogues_depend_on_the_seed_alone() -> None:
    assert catalogue(1).to_table("m").equals(catalogue(1).to_table("m"))
    assert not catalogue(1).to_table("m").equals(catalogue(2).to_table("m"))
    assert catalogue(1).to_table("m").schema.equals(CATALOGUE_SCHEMA)


def test_every_category_has_as_many_search_terms_and_all_are_different() -> None:
    assert all(len(queries(category)) == QUERIES_PER_CATEGORY for category in CATEGORIES)
    assert len(set(QUERIES)) == len(QUERIES)
