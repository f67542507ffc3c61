"""JSON lines in four vocabularies mean the same click."""

import json
from typing import Any

import pytest

from schemas.taxonomy import ALIASES

AT = "2026-03-01T12:00:00.250Z"
AT_MS = 1772366400250


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_canonical_events_are_kept_as_they_are(imported):
    full = {
        "event_id": "e1",
        "merchant_id": "shop",
        "client_id": "ann",
        "event_name": "product_added_to_cart",
        "occurred_at": AT_MS,
        "received_at": AT_MS + 40,
        "product_id": "p1",
        "category": "shoes",
        "price_minor": 4999,
        "currency": "EUR",
        "quantity": 2,
        "query": "boots",
        "url_path": "/p/1",
        "referrer_kind": "email",
        "device": "mobile",
        "is_bot": True,
        "schema_version": 1,
        "properties": {"campaign": "spring"},
    }
    least = {"client_id": "bob", "event_name": "page_viewed", "occurred_at": AT}
    result = imported("jsonl", {"log.jsonl": lines(full, least, least)}, merchant="other")
    assert {name: result.events[0][name] for name in full} == full | {
        "occurred_at": result.events[0]["occurred_at"],
        "received_at": result.events[0]["received_at"],
    }
    assert result.column("merchant_id", "client_id", "ms") == [
        ("shop", "ann", AT_MS),
        ("other", "bob", AT_MS),
        ("other", "bob", AT_MS),
    ]
    assert (result.events[0]["received_at"] - result.events[0]["occurred_at"]).total_seconds() == 0.04
    assert len(set(result.column("event_id"))) == 3
    assert (result.report.merchants, result.report.clients) == (2, 2)


SEGMENT = {
    "messageId": "m1",
    "anonymousId": "ann",
    "type": "track",
    "event": "Product Added",
    "timestamp": AT,
    "receivedAt": "2026-03-01T12:00:01.000Z",
    "properties": {"product_id": "p1", "category": "shoes", "price": 49.99, "currency": "EUR", "quantity": 2},
    "context": {
        "page": {"path": "/p/1"},
        "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148",
        "campaign": {"medium": "email"},
        "traits": {"email": "ann@example.org"},
    },
}
GA4 = {
    "event_name": "add_to_cart",
    "event_timestamp": AT_MS * 1000,
    "user_pseudo_id": "ann",
    "device": {"category": "mobile", "language": "en"},
    "traffic_source": {"medium": "email"},
    "event_params": [
        {"key": "page_location", "value": {"string_value": "https://shop.example/p/1?email=ann@example.org"}},
        {"key": "value", "value": {"double_value": 99.98}},
        {"key": "currency", "value": {"string_value": "EUR"}},
    ],
    "items": [{"item_id": "p1", "item_category": "shoes", "price": 49.99, "quantity": 2}],
}
SHOPIFY = {
    "id": "sh-1",
    "clientId": "ann",
    "name": "product_added_to_cart",
    "type": "standard",
    "timestamp": AT,
    "data": {
        "cartLine": {
            "quantity": 2,
            "merchandise": {
                "price": {"amount": 49.99, "currencyCode": "EUR"},
                "product": {"id": "p1", "type": "shoes"},
            },
        }
    },
    "context": {
        "document": {"location": {"pathname": "/p/1"}},
        "navigator": {"userAgent": "Mozilla/5.0 (Linux; Android 14) Mobile Safari"},
    },
}


@pytest.mark.parametrize(("event", "referrer"), [(SEGMENT, "email"), (GA4, "email"), (SHOPIFY, None)])
def test_each_vocabulary_says_the_same_click(imported, event, referrer):
    result = imported("jsonl", {"log.jsonl": lines(event)}, merchant="shop")
    said = {name: result.events[0][name] for name in ("merchant_id", "client_id", "event_name", "ms", "product_id")}
    assert said == {
        "merchant_id": "shop",
        "client_id": "ann",
        "event_name": "product_added_to_cart",
        "ms": AT_MS,
        "product_id": "p1",
    }
    assert result.column("category", "price_minor", "currency", "quantity", "url_path", "device") == [
        ("shoes", 4999, "EUR", 2, "/p/1", "mobile")
    ]
    assert result.column("referrer_kind") == [referrer]
    assert result.events[0]["properties"] == {}


@pytest.mark.parametrize(
    "event",
    [
        {
            "messageId": "m",
            "anonymousId": "ann",
            "type": "track",
            "event": "Order Completed",
            "timestamp": AT,
            "properties": {"total": 120.5, "currency": "EUR", "products": [{"product_id": "a"}, {"product_id": "b"}]},
        },
        {
            "event_name": "purchase",
            "event_timestamp": AT_MS * 1000,
            "user_pseudo_id": "ann",
            "event_params": [
                {"key": "value", "value": {"double_value": 120.5}},
                {"key": "currency", "value": {"string_value": "EUR"}},
            ],
            "items": [{"item_id": "a", "price": 100, "quantity": 1}, {"item_id": "b", "price": 20.5, "quantity": 1}],
        },
        {
            "id": "s",
            "clientId": "ann",
            "name": "checkout_completed",
            "timestamp": AT,
            "data": {"checkout": {"totalPrice": {"amount": 120.5}, "currencyCode": "EUR"}},
        },
    ],
    ids=["segment", "ga4", "shopify"],
)
def test_an_orders_price_is_its_total(imported, event):
    result = imported("jsonl", {"log.jsonl": lines(event)})
    assert result.column("event_name", "price_minor", "quantity", "currency", "product_id") == [
        ("checkout_completed", 12050, 1, "EUR", None)
    ]


@pytest.mark.parametrize(("vocabulary", "alias"), [(v, alias) for v, names in ALIASES.items() for alias in names])
def test_every_alias_is_understood(imported, vocabulary, alias):
    event = {"client_id": "ann", "event": alias, "timestamp": AT} | ({"type": "page"} if alias == "page" else {})
    result = imported("jsonl", {"log.jsonl": lines(event)})
    assert result.column("event_name") == [ALIASES[vocabulary][alias]]


def test_segments_named_page_call_is_a_page_view(imported):
    event = {"messageId": "m", "anonymousId": "ann", "type": "page", "name": "Home", "timestamp": AT}
    assert imported("jsonl", {"log.jsonl": lines(event)}).column("event_name") == ["page_viewed"]


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 1234500), ("jpy ", 12345), ("KWD", 12345000), (None, 1234500)])
def test_minor_units_follow_the_currency(imported, currency, minor):
    event = {"client_id": "a", "event_name": "product_viewed", "occurred_at": AT, "price": 12345, "currency": currency}
    found = imported("jsonl", {"log.jsonl": lines(event)})
    assert found.column("price_minor") == [minor]
    assert found.column("currency") == [currency and currency.strip().upper()]


GOOD = {"client_id": "ann", "event_name": "page_viewed", "occurred_at": AT_MS}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "malformed_row"),
        ("[1, 2]", "malformed_row"),
        ('"text"', "malformed_row"),
        (GOOD | {"client_id": ""}, "missing_client_id"),
        (GOOD | {"client_id": "x" * 257}, "oversized_id"),
        (GOOD | {"event_name": None}, "missing_event_name"),
        (GOOD | {"event_name": "page_eaten"}, "unknown_event"),
        (GOOD | {"occurred_at": None}, "missing_occurred_at"),
        (GOOD | {"occurred_at": "yesterday"}, "bad_time"),
        (GOOD | {"occurred_at": 10**30}, "bad_time"),
        (GOOD | {"occurred_at": 0}, "bad_time"),
        (GOOD | {"received_at": "later"}, "bad_time"),
        (GOOD | {"price": "cheap"}, "bad_price"),
        (GOOD | {"price_minor": -1}, "bad_price"),
        (GOOD | {"price": "nan"}, "bad_price"),
        (GOOD | {"quantity": "some"}, "bad_quantity"),
        (GOOD | {"quantity": 1e12}, "bad_quantity"),
    ],
)
def test_a_bad_line_is_rejected_with_its_reason(imported, line, reason):
    text = line if isinstance(line, str) else json.dumps(line)
    result = imported("jsonl", {"log.jsonl": lines(GOOD) + text + "\n"}, rejects=True)
    assert (result.report.accepted, result.report.rejected) == (1, {reason: 1})
    assert json.loads(result.target.rejects.read_text()) == {"file": 0, "row": 2, "reason": reason, "raw": text}
