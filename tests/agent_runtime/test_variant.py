"""Storefront changes: what a file may say, and what a storefront is afterwards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_runtime.errors import VariantError
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.variants.variant import Variant, read_variant
from schemas.conditions import Conditions

pytestmark = pytest.mark.fast


def written(folder: Path, text: str) -> Path:
    """Return a file with this text."""
    path = folder / "change.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("price_factor: 1.1", Variant("change", price_factor=1.1)),
        ('{"name": "a banner", "free_shipping": true}', Variant("a banner", free_shipping=True)),
        ("remove_steps: cart_viewed", Variant("change", remove_steps=("cart_viewed",))),
        (
            "name: all\nranking: 0\npage_delay_s: -1\nremove_steps: [payment_info_submitted, cart_viewed]",
            Variant("all", 1.0, None, 0.0, ("payment_info_submitted", "cart_viewed"), -1.0),
        ),
    ],
)
def test_a_file_says_a_change_in_yaml_or_json(tmp_path: Path, text: str, variant: Variant) -> None:
    assert read_variant(written(tmp_path, text)) == variant


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("price_factor: 0", "price_factor is 0, expected a number from 0.2 to 5"),
        ("price_factor: yes", "price_factor is True, expected a number"),
        ("ranking: best", "ranking is 'best', expected a number"),
        ("free_shipping: 1", "free_shipping is 1, expected true or false"),
        ("remove_steps: [checkout_completed]", "expected some of collection_viewed"),
        ("remove_steps: []", "expected some of collection_viewed"),
        ("name: 3", "name is 3, expected a few words"),
        ("price: 1.1", "'price' is not known; known are name, price_factor"),
        ("- 1", "expected keys and values"),
        ("{", "neither YAML nor JSON"),
    ],
)
def test_a_bad_file_is_refused_with_what_was_expected(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(VariantError, match=words):
        read_variant(written(tmp_path, text))


def test_a_missing_file_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(VariantError) as raised:
        read_variant(tmp_path / "nowhere.yaml")
    missing = tmp_path / "nowhere.yaml"
    assert str(raised.value) == f"{missing}: no variant there (No such file or directory); name another file."


def test_dearer_goods_cost_more_and_the_level_says_so(shop: Shop) -> None:
    after = Variant("dearer", price_factor=1.5).apply(replace(shop, conditions=Conditions(price_level=0.9)))
    assert [p.price_minor for p in after.products] == [round(1.5 * (p.price_minor or 0)) for p in shop.products]
    assert after.conditions.price_level == pytest.approx(1.35)


def test_a_removed_step_is_not_served_and_nothing_waits_for_it(shop: Shop) -> None:
    strict = {"checkout_completed": frozenset({"checkout_started", "payment_info_submitted"})}
    before = replace(shop, capabilities=replace(shop.capabilities, requires=strict))
    after = Variant("short", remove_steps=("payment_info_submitted",)).apply(before)
    assert "payment_info_submitted" not in after.capabilities.events | set(after.capabilities.fields)
    assert after.capabilities.requires == {"checkout_completed": frozenset({"checkout_started"})}
    assert after.capabilities.flags() != before.capabilities.flags()
    assert Visit(Storefront(after), 0, 0).moves().any()


def test_a_worse_ranking_spreads_clicks_over_products(shop: Shop) -> None:
    after = Variant("worse", ranking=0.0).apply(shop)
    assert len({product.views for product in after.products}) == 1
    half = Variant("half", ranking=0.5).apply(shop)
    spreads = [np.std([product.views for product in one.products]) for one in (shop, half, after)]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        (Variant("same", free_shipping=False), "changes nothing at shop"),
        (Variant("neutral"), "changes nothing at shop"),
        (Variant("beyond", page_delay_s=-1.0), "beyond what can be told: page_delay_s is -1.0"),
    ],
)
def test_a_change_that_is_none_or_cannot_be_is_refused(shop: Shop, variant: Variant, words: str) -> None:
    with pytest.raises(VariantError, match=words):
        variant.apply(shop)


def test_a_step_that_is_not_there_cannot_be_removed(shop: Shop) -> None:
    short = Variant("short", remove_steps=("cart_viewed",))
    with pytest.raises(VariantError, match="has no cart_viewed that could be removed"):
        short.apply(short.apply(shop))


def test_words_say_what_changes() -> None:
    told = Variant("all", 1.1, True, 0.4, ("payment_info_submitted", "cart_viewed"), 0.5).words()
    assert told == (
        "prices +10%, free-shipping banner, ranking 0.4, without the payment step, without cart viewed, pages +0.5 s"
    )
