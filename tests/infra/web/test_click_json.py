"""One click as JSON: what is read, and the sentence for what cannot be."""

from typing import Any

import pytest

from infra.errors import ClickError
from infra.web.click_json import read_click
from schemas.click_codec import decode_click, encode_click

pytestmark = pytest.mark.fast

RECEIVED_MS = 1_788_000_000_500
CLICK: dict[str, Any] = {
    "event_id": "e-1",
    "merchant_id": "north",
    "client_id": "browser-1",
    "event_name": "Product Viewed",
    "occurred_at": 1_788_000_000_000,
}


def test_a_whole_click_keeps_every_field_of_the_contract() -> None:
    more = {
        "product_id": 17, "category": "cups", "price_minor": 4990.0, "currency": "EUR", "quantity": "2",
        "query": "blue", "url_path": "/p", "referrer_kind": "search", "device": "mobile", "is_bot": True,
        "properties": {"colour": "blue", "size": 3},
    }  # fmt: skip
    assert decode_click(encode_click(read_click({**CLICK, **more}, RECEIVED_MS))) == {
        **CLICK, **more, "event_name": "product_viewed", "received_at": RECEIVED_MS, "product_id": "17",
        "price_minor": 4990, "quantity": 2, "schema_version": 1, "properties": {"colour": "blue", "size": "3"},
    }  # fmt: skip


def test_what_is_null_is_as_if_it_were_not_there() -> None:
    nulls = dict.fromkeys(("product_id", "price_minor", "is_bot", "properties"))
    assert read_click({**CLICK, **nulls}, RECEIVED_MS) == read_click(CLICK, RECEIVED_MS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_id": ""}, "Field event_id is missing."),
        ({"client_id": None}, "Field client_id is missing."),
        ({"event_name": "danced 'n' sung"}, """Event "danced 'n' sung" is in no known vocabulary."""),
        ({"event_name": ["page_viewed"]}, 'Field event_name must be text, not ["page_viewed"].'),
        ({"merchant_id": {"a": 1}}, 'Field merchant_id must be text, not {"a": 1}.'),
        ({"client_id": "\ud800"}, "Field client_id is no text: it holds half of a character (a lone surrogate)."),
        ({"category": True}, "Field category must be text, not true."),
        ({"occurred_at": "2026-01-01"}, 'Field occurred_at must be a whole number, not "2026-01-01".'),
        ({"occurred_at": True}, "Field occurred_at must be a whole number, not true."),
        ({"occurred_at": float("nan")}, "Field occurred_at must be a whole number, not NaN."),
        ({"occurred_at": float("inf")}, "Field occurred_at must be a whole number, not Infinity."),
        ({"price_minor": 12.9}, "Field price_minor must be a whole number, not 12.9."),
        ({"price_minor": 2**63}, "Field price_minor does not fit into 64 bits."),
        ({"quantity": 2**31}, "Field quantity does not fit into 32 bits."),
        ({"quantity": "x" * 99}, f'Field quantity must be a whole number, not "{"x" * 39}….'),
        ({"is_bot": "false"}, 'Field is_bot must be true or false, not "false".'),
        ({"is_bot": 0}, "Field is_bot must be true or false, not 0."),
        ({"properties": "a=b"}, 'Field properties must be an object of texts, not "a=b".'),
        ({"properties": {"a": ["b"]}}, 'Field properties must be text, not ["b"].'),
    ],
)
def test_an_unusable_field_is_named_with_what_is_wrong_with_it(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ClickError) as refused:
        read_click({**CLICK, **changes}, RECEIVED_MS)
    assert str(refused.value) == reason


@pytest.mark.parametrize("row", ["click", 3, None, [CLICK]])
def test_what_is_no_object_is_no_event(row: Any) -> None:
    with pytest.raises(ClickError, match=r"An event must be a JSON object\."):
        read_click(row, RECEIVED_MS)
