"""Simulated sessions on the demo storefront's pages in a real Chromium."""

import numpy as np
import pyarrow as pa
import pytest

from agent_runtime.browser.shopper import Walk
from agent_runtime.storefront.actions import ACTIONS, Action
from agent_runtime.storefront.session import click_events
from agent_runtime.traces.retrace import retrace
from agent_runtime.vocabulary import Vocabulary
from encoders.event_log import ARROW_SCHEMA, to_event_batch
from infra.web.displays import Promotion
from infra.web.storefront import PageRules
from infra.web.troubles import Troubles
from schemas.events import SessionBatch
from tests.browser.conftest import LATE_S, Even, Go, Says, make_shop

BUYING = (
    Action("page_viewed"),
    Action("collection_viewed", category="new"),
    Action("product_viewed", "new", "same", "similar"),
    Action("product_added_to_cart", "same", quantity="many"),
    Action("search_submitted", "new"),
    Action("product_viewed", "new", "same", "lower"),
    Action("product_added_to_cart", "same", quantity="one"),
    Action("product_removed_from_cart"),
    Action("product_viewed", "return", price="similar"),
    Action("cart_viewed"),
    Action("checkout_started"),
    Action("payment_info_submitted"),
    Action("checkout_completed"),
)


def events_of(walk: Walk) -> list[str]:
    return [click.event for click in walk.session.clicks]


def test_a_buyer_goes_through_every_page_and_the_clicks_read_back_as_the_actions(
    go: Go, vocabulary: Vocabulary
) -> None:
    [walk] = go(Says(vocabulary, BUYING), make_shop())
    assert [ACTIONS[action].name for action in walk.session.actions] == [action.name for action in BUYING]
    assert walk.session.left
    assert walk.invalid == ()
    total = walk.session.clicks[-1]
    bought = next(click for click in walk.session.clicks if click.event == "product_added_to_cart")
    kept = {click.product_id: click for click in walk.session.clicks if click.event == "product_added_to_cart"}
    [gone] = [click for click in walk.session.clicks if click.event == "product_removed_from_cart"]
    kept.pop(gone.product_id)
    assert total.price_minor == sum(click.price_minor * click.quantity for click in kept.values())
    assert bought.quantity == 2
    assert read_back(walk) == list(walk.session.actions)


def read_back(walk: Walk) -> list[int]:
    """The session's clicks as events of the contract, read by the rule that traces are made by."""
    rows = click_events(walk.session, "run", "shop", "EUR")
    columns = {name: [row.get(name) for row in rows] for name in ARROW_SCHEMA.names}
    columns["properties"] = [[] for _ in rows]
    table = pa.table([pa.array(columns[f.name], f.type) for f in ARROW_SCHEMA], schema=ARROW_SCHEMA)
    batch = to_event_batch(table.to_batches()[0])
    return retrace(SessionBatch(batch.events, np.array([0, len(rows)]))).action.tolist()


def test_what_the_storefront_lacks_is_neither_shown_nor_sent(go: Go, vocabulary: Vocabulary) -> None:
    shop = make_shop(without=("cart_viewed", "payment_info_submitted"))
    actions = [action for action in BUYING if action.event in shop.capabilities.events]
    [walk] = go(Says(vocabulary, actions), shop)
    assert events_of(walk) == [action.event for action in actions]
    offered = {step for seen in walk.steps for step in seen["state"].get("steps", [])}
    assert offered == {"search", "home", "checkout", "order"}


def test_a_crowd_that_tries_everything_never_crashes_with_a_mask_and_the_same_seed_gives_the_same_sessions(
    go: Go, vocabulary: Vocabulary
) -> None:
    first, second = (go(Even(vocabulary), make_shop(), agents=2) for _ in range(2))
    assert [walk.session for walk in first] == [walk.session for walk in second]
    assert [walk.steps for walk in first] == [walk.steps for walk in second]
    assert not any(walk.session.crashed or walk.invalid for walk in first)
    for walk in first:
        assert read_back(walk) == list(walk.session.actions)


def test_without_a_mask_an_action_that_is_not_there_is_tried_twice_and_is_a_crash(
    go: Go, vocabulary: Vocabulary
) -> None:
    wishes = [Action("page_viewed"), Action("checkout_completed")]
    [walk] = go(Says(vocabulary, wishes), make_shop(), masked=False)
    assert walk.session.crashed
    assert not walk.session.left
    assert len(walk.invalid) == 2
    assert walk.invalid[0] == "not on the page"
    assert events_of(walk) == ["page_viewed"]


def test_dialogs_are_closed_and_promotions_change_what_is_paid(go: Go, vocabulary: Vocabulary) -> None:
    rules = PageRules(promotions={"shop": Promotion("cups", 50)}, troubles=Troubles(newsletter=1.0, cookie_banner=True))
    actions = [Action("collection_viewed", category="new"), Action("product_viewed", "new", "same", "similar")]
    [walk] = go(Says(vocabulary, actions), make_shop(), rules=rules)
    assert walk.invalid == ()
    # A newsletter on each of the two pages, the cookie banner on the first only.
    assert walk.dialogs == 3
    viewed = walk.session.clicks[1]
    usual = {product.product_id: product for product in make_shop().products}[viewed.product_id or ""]
    assert viewed.price_minor == (usual.price_minor // 2 if usual.category == "cups" else usual.price_minor)


@pytest.mark.parametrize(
    ("troubles", "reason"),
    [
        (Troubles(slow=1.0, delay_s=LATE_S), "the page did not answer in time"),
        (Troubles(missing=1.0), "not on the page"),
    ],
    ids=["slow pages", "missing elements"],
)
def test_a_page_that_is_late_or_lacks_a_thing_is_an_invalid_action(
    go: Go, vocabulary: Vocabulary, troubles: Troubles, reason: str
) -> None:
    wishes = [
        Action("product_viewed", "new", "new", "similar"),
        Action("product_added_to_cart", "same", quantity="one"),
    ]
    [walk] = go(
        Says(vocabulary, wishes), make_shop(), masked=False, rules=PageRules(troubles=troubles), patience_s=LATE_S / 3
    )
    assert walk.session.crashed
    assert walk.invalid[0] == reason
