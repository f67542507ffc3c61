"""The demo storefront in a real Chromium: on a phone, at the end of an order, and at merchants of any name."""

import asyncio
from dataclasses import replace

import pytest
from playwright.async_api import Page, expect

from agent_runtime.browser.chromium import open_chromium
from agent_runtime.browser.hand import Hand
from agent_runtime.browser.moves import Move
from agent_runtime.storefront.click import Click
from infra.web.alone import storefront_alone
from infra.web.catalogue import Shops
from tests.browser.conftest import PATIENCE_S, make_shop
from tests.browser.site import clicks_in, in_chromium

PHONE = {"width": 360, "height": 640}


def test_on_a_phone_the_end_of_the_page_can_be_reached(chromium: str, site: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(f"{site}/shop/shop-1")
        # As long as the sentence is once the stream has an opinion.
        await page.locator("#visitor").evaluate(
            "(line) => { line.textContent = 'The stream takes you for. '.repeat(12); }"
        )
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        last = await page.locator("main").evaluate("(main) => main.lastElementChild.getBoundingClientRect().bottom")
        line = await page.locator("#visitor").bounding_box()
        assert line is not None and last <= line["y"]
        assert line["y"] + line["height"] <= PHONE["height"]
        await page.evaluate("scrollTo(0, 0)")
        await expect(page.locator("#visitor")).to_be_in_viewport()

    in_chromium(chromium, visit, viewport=PHONE)


def test_loading_the_page_of_an_order_again_is_not_another_order(chromium: str, site: str, kafka: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(f"{site}/shop/shop-1/product/p1")
        await page.get_by_role("button", name="Add to cart", exact=True).click()
        await page.goto(f"{site}/shop/shop-1/review")
        async with page.expect_response("**/collect"):
            await page.get_by_role("link", name="Place order").click()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        await page.reload()
        async with page.expect_response("**/collect"):
            await page.goto(f"{site}/shop/shop-1")

    in_chromium(chromium, visit)
    clicks = clicks_in(kafka)
    assert [click["event_name"] for click in clicks] == [
        "product_viewed", "product_added_to_cart", "payment_info_submitted", "checkout_completed", "page_viewed",
    ]  # fmt: skip
    assert clicks[3]["price_minor"] == 1_100


@pytest.mark.parametrize("name", ["a/b", "100%41", "what?now", "hash#tag", "..", "Käse & Brot"])
def test_a_shopper_finds_the_pages_of_a_merchant_of_any_name(chromium: str, name: str) -> None:
    async def shop(address: str) -> list[str]:
        async with open_chromium(chromium) as browser, Hand(browser, address, name, PATIENCE_S) as hand:
            await hand.welcome("client")
            first = Click("page_viewed", None, None, None, None, None, url_path="/")
            clicks = [await hand.arrive(first)]
            seen = await hand.look()
            clicks.append(await hand.do(Move(seen.shown[0].link, 1.0)))
            seen = await hand.look()
            assert seen.home is not None and seen.page == "product"
            clicks.append(await hand.do(Move(seen.home, 1.0)))
            return [click.event for click in clicks]

    with storefront_alone(Shops.observed([replace(make_shop(), merchant_id=name)])) as address:
        assert asyncio.run(shop(address)) == ["page_viewed", "product_viewed", "page_viewed"]
