"""A storefront observed from clicks alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runtime.errors import ShopError
from agent_runtime.storefront.shop import (
    LARGEST_QUANTITY,
    USUAL_QUANTITIES,
    Product,
    Shop,
    observe_shops,
    read_shops,
    write_shops,
)
from encoders.errors import EventLogError

pytestmark = pytest.mark.fast
GAP_MS = 1_800_000
START_MS = 1_764_000_000_000


def row(client: str, t_ms: int, event: str, **columns: object) -> dict[str, object]:
    names = ("product_id", "category", "price_minor", "currency", "quantity", "query", "url_path", "referrer_kind")
    values: dict[str, object] = dict.fromkeys(names) | {"event_id": f"{client}-{t_ms}", "merchant_id": "m"}
    values |= {"client_id": client, "event_name": event, "occurred_at": t_ms, "received_at": t_ms, "device": None}
    return values | {"is_bot": False, "schema_version": 1, "properties": {}} | columns


def test_products_prices_queries_and_rules_are_read_off_the_clicks(
    tmp_path: Path, write_log: Callable[..., Path]
) -> None:
    rows = []
    for buyer in range(4):
        t_ms, client = START_MS + buyer * 10_000_000, f"b{buyer}"
        shirt = {"product_id": "shirt", "category": "tops", "price_minor": 1_000 + buyer, "currency": "EUR"}
        rows += [
            row(client, t_ms, "search_submitted", query="red" if buyer else "blue"),
            row(client, t_ms + 1, "product_viewed", **shirt),
            row(client, t_ms + 2, "product_added_to_cart", product_id="shirt", quantity=1),
            row(client, t_ms + 3, "checkout_completed", price_minor=9),
            # An hour later is another session: what was owed there was not paid here.
            row(client, t_ms + 3_600_000, "cart_viewed"),
        ]
    rows.append(row("bot", START_MS, "product_viewed", product_id="trap", is_bot=True))
    (shop,) = observe_shops([write_log(tmp_path / "e.parquet", rows)], GAP_MS)
    assert (shop.merchant_id, shop.currency) == ("m", "EUR")
    assert shop.products == (Product("shirt", "tops", 1_002, 8),)
    assert shop.queries == (("red", 3), ("blue", 1))
    assert shop.capabilities.events == {
        "search_submitted",
        "product_viewed",
        "product_added_to_cart",
        "checkout_completed",
        "cart_viewed",
    }
    assert shop.capabilities.fields["product_viewed"] == {"product_id", "category", "price_minor"}
    assert shop.capabilities.fields["product_added_to_cart"] == {"product_id", "quantity"}
    assert shop.capabilities.requires == {
        "checkout_completed": {"product_added_to_cart"},
        "cart_viewed": frozenset(),
    }
    assert shop.capabilities.flags() == (4, 5, 4, 3)


def test_a_client_s_first_click_is_part_of_its_first_visit(tmp_path: Path, write_log: Callable[..., Path]) -> None:
    rows = [row("viewer", START_MS, "product_viewed", product_id="shirt", price_minor=9)]
    for buyer in range(40):
        moves = ("product_added_to_cart", "checkout_started", "checkout_completed")
        rows += [row(f"b{buyer}", START_MS + place, move, product_id="shirt") for place, move in enumerate(moves)]
    (shop,) = observe_shops([write_log(tmp_path / "e.parquet", rows)], GAP_MS)
    assert shop.capabilities.requires["checkout_started"] == {"product_added_to_cart"}
    assert shop.capabilities.requires["checkout_completed"] == {"product_added_to_cart", "checkout_started"}


def test_how_many_of_a_product_are_bought_is_read_off_the_clicks(
    tmp_path: Path, write_log: Callable[..., Path]
) -> None:
    rows = [row("b", START_MS, "product_viewed", product_id="p")]
    rows += [
        row("b", START_MS + place, "product_added_to_cart", product_id="p", quantity=quantity)
        for place, quantity in enumerate([1] * 50 + [2] * 30 + [7] * 10 + [10**6] * 10, 1)
    ]
    (shop,) = observe_shops([write_log(tmp_path / "e.parquet", rows)], GAP_MS)
    assert shop.quantities == (2,) * 60 + (7,) * 20 + (LARGEST_QUANTITY,) * 20
    write_shops(tmp_path / "shops.jsonl", [shop])
    assert read_shops(tmp_path / "shops.jsonl") == {"m": shop}


def test_a_shop_of_an_older_file_sells_the_usual_quantities(tmp_path: Path, write_log: Callable[..., Path]) -> None:
    (shop,) = observe_shops(
        [write_log(tmp_path / "e.parquet", [row("b", START_MS, "product_viewed", product_id="p")])], GAP_MS
    )
    told = {key: value for key, value in shop.to_json().items() if key != "quantities"}
    assert Shop.from_json(told).quantities == shop.quantities == USUAL_QUANTITIES


def test_products_without_what_the_shop_shows_are_left_out(tmp_path: Path, write_log: Callable[..., Path]) -> None:
    rows = [row("b", START_MS + i, "product_viewed", product_id=f"p{i}", category="c", price_minor=5) for i in range(3)]
    rows.append(row("b", START_MS + 9, "product_viewed", product_id="bare"))
    (shop,) = observe_shops([write_log(tmp_path / "e.parquet", rows)], GAP_MS)
    assert [product.product_id for product in shop.products] == ["p0", "p1", "p2"]


def test_an_unknown_merchant_is_named_beside_the_known(toy_log: tuple[Path, Path]) -> None:
    with pytest.raises(ShopError, match="Merchant nowhere is not in the event log; it knows shop"):
        observe_shops([toy_log[0]], GAP_MS, "nowhere")


def test_a_log_without_products_makes_no_storefront(tmp_path: Path, write_log: Callable[..., Path]) -> None:
    log = write_log(tmp_path / "e.parquet", [row("b", START_MS, "page_viewed")])
    with pytest.raises(ShopError, match="no product views"):
        observe_shops([log], GAP_MS)


def test_a_file_that_is_no_log_is_refused_before_sql_meets_it(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(EventLogError, match="not a Parquet event log"):
        observe_shops([tmp_path / "x.parquet"], GAP_MS)


def test_shops_survive_their_file(tmp_path: Path, shop: Shop) -> None:
    write_shops(tmp_path / "shops.jsonl", [shop])
    assert read_shops(tmp_path / "shops.jsonl") == {"shop": shop}
    assert json.loads(json.dumps(shop.to_json())) == shop.to_json()
