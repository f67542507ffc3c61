"""The dashboard and the demo storefront in a real Chromium, over a real broker and a real store."""

from playwright.async_api import Page, expect

from tests.browser.site import clicks_in, fill, in_chromium

PAINTED = """[...document.querySelectorAll("#mix canvas, #share canvas")].map((canvas) =>
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte))"""


def test_the_dashboard_draws_what_the_store_holds(chromium: str, site: str, clickhouse: str) -> None:
    fill(clickhouse)

    async def visit(page: Page) -> None:
        await page.goto(site)
        await expect(page.locator("#finals")).to_have_text("4")
        await expect(page.locator("#books")).to_have_text("balanced")
        await expect(page.locator("#merchants button")).to_have_text("shop-14")
        await page.wait_for_function("mixChart.getOption()?.series?.length === 2")
        drawn = await page.evaluate("mixChart.getOption().series.map((one) => one.data.map(([, share]) => share))")
        assert drawn == [[0.5, 1.0], [0.5, 0.0]]
        shares = await page.evaluate("shareChart.getOption().series[0].data.map((bar) => bar.value)")
        assert shares == [0.25, 0.75]
        assert await page.evaluate(PAINTED) == [True, True]
        await expect(page.locator("#trouble")).to_have_text("")

    in_chromium(chromium, visit)


def test_a_visit_to_the_storefront_reaches_kafka(chromium: str, site: str, kafka: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(f"{site}/shop")
        await page.get_by_role("navigation").get_by_role("link", name="cups").click()
        await page.get_by_role("link", name="Blue cup 2").first.click()
        await page.get_by_label("Quantity").select_option("2")
        await page.get_by_role("button", name="Add to cart", exact=True).click()
        await page.get_by_role("link", name="Check out").click()
        await page.get_by_role("button", name="Submit payment").click()
        async with page.expect_response("**/collect"):
            await page.get_by_role("link", name="Place order").click()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()

    in_chromium(chromium, visit)
    clicks = clicks_in(kafka)
    assert [click["event_name"] for click in clicks] == [
        "page_viewed", "collection_viewed", "product_viewed", "product_added_to_cart", "checkout_started",
        "payment_info_submitted", "checkout_completed",
    ]  # fmt: skip
    assert [click["price_minor"] for click in clicks[2:]] == [1_200, 1_200, 2_400, 2_400, 2_400]
    assert clicks[3]["quantity"] == 2
    assert len({click["client_id"] for click in clicks}) == 1
