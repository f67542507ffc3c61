"""What the dashboard does with a click, a late answer, names of any kind, dark colours and screen readers."""

import asyncio

import pytest
from playwright.async_api import Page, Route, expect

from infra.stack.clickhouse import connect
from tests.browser.contrast import ILLEGIBLE
from tests.browser.site import NOON, fill, in_chromium

ODD = "a/b?c#d%41"


def open_session(clickhouse: str, merchant: str) -> None:
    """One session at the merchant that is still open."""
    with connect(clickhouse) as client:
        client.insert(
            "session_assignments",
            [[merchant, "f" * 16, "c", 1, False, "", NOON, NOON, 3, "B", 0, "c00", 0.8, "v1", "live"]],
            column_names=[
                "merchant_id", "session_id", "client_id", "revision", "is_final", "superseded_by", "started_at",
                "ended_at", "events", "funnel_stratum", "code", "code_path", "confidence", "codebook_version", "source",
            ],
        )  # fmt: skip


async def next_answers(page: Page, count: int = 2) -> None:
    """Wait until the page has asked and been answered so many times more."""
    for _ in range(count):
        async with page.expect_response("**/api/overview"):
            pass
        async with page.expect_response("**/api/merchant?*"):
            pass


def test_a_button_of_the_list_keeps_focus_and_press_while_answers_come(
    chromium: str, site: str, clickhouse: str
) -> None:
    fill(clickhouse)
    open_session(clickhouse, ODD)

    async def visit(page: Page) -> None:
        await page.goto(site)
        odd = page.get_by_role("button", name=ODD)
        await expect(odd).to_have_text(f"{ODD}1 open")
        await odd.focus()
        await odd.hover()
        await page.mouse.down()
        await next_answers(page)
        await expect(odd).to_be_focused()
        await page.mouse.up()
        await expect(odd).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("#who")).to_have_text(ODD)
        await expect(page.locator("#trouble")).to_have_text("")
        await expect(page.get_by_role("img", name="No session has finished yet.")).to_have_count(2)
        axes = "[mixChart, shareChart].flatMap((chart) => [...chart.getOption().xAxis, ...chart.getOption().yAxis])"
        assert await page.evaluate(f"{axes}.filter((axis) => axis.show).length") == 0

    in_chromium(chromium, visit)


def test_an_answer_that_comes_late_is_not_drawn_under_another_name(chromium: str, site: str, clickhouse: str) -> None:
    fill(clickhouse)
    open_session(clickhouse, ODD)

    async def visit(page: Page) -> None:
        let_go = asyncio.Event()
        held = asyncio.Event()

        async def hold(route: Route) -> None:
            held.set()
            await let_go.wait()
            await route.continue_()

        await page.route("**/api/merchant?id=shop-1&*", hold)
        await page.goto(site)
        await held.wait()
        await page.get_by_role("button", name=ODD).click()
        await expect(page.locator("#who")).to_have_text(ODD)
        async with page.expect_response("**/api/merchant?id=shop-1&*"):
            let_go.set()
        await next_answers(page, 1)
        await expect(page.locator("#who")).to_have_text(ODD)
        assert await page.evaluate("mixChart.getOption().series.length") == 0

    in_chromium(chromium, visit)


def test_an_empty_store_says_what_to_do_until_the_first_session(chromium: str, site: str, clickhouse: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(site)
        await expect(page.get_by_role("heading", name="No clicks yet")).to_be_visible()
        await expect(page.locator("#mix")).to_be_hidden()
        fill(clickhouse)
        await expect(page.get_by_role("heading", name="No clicks yet")).to_be_hidden()
        await page.wait_for_function("mixChart.getOption()?.series?.length === 2 && mixChart.getWidth() > 300")

    in_chromium(chromium, visit)


def test_a_screen_reader_is_told_what_charts_show_and_what_columns_mean(
    chromium: str, site: str, clickhouse: str
) -> None:
    fill(clickhouse)
    with connect(clickhouse) as client:
        columns = ["merchant_id", "detected_at", "detector", "statistic", "threshold", "n_effective", "details"]
        client.insert("drift_events", [["shop-1", NOON, "kl", float("inf"), 0.1, 1.0, "{}"]], column_names=columns)

    async def visit(page: Page) -> None:
        await page.goto(site)
        now = "Shares of buyer types now: c00 75.0 %, c01 25.0 %"
        await expect(page.get_by_role("img", name=now)).to_be_visible()
        over_time = "Shares of buyer types in 2 windows of 1h; in the last one, from 09-07 18:00 UTC: c00 100.0 %"
        await expect(page.get_by_role("img", name=over_time)).to_be_visible()
        drifts = page.get_by_role("table", name="Drift")
        await expect(drifts.get_by_role("columnheader")).to_have_text(["when (UTC)", "found by", "statistic"])
        await expect(drifts.get_by_role("cell")).to_have_text(["09-07 12:00", "kl", "∞ > 100 mnat"])

    in_chromium(chromium, visit)


def test_twenty_types_have_colours_of_their_own(chromium: str, site: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(site)
        tints = "Array.from({ length: 24 }, (_, n) => tint(`c${String(n).padStart(2, '0')}`))"
        assert len(set(await page.evaluate(tints))) == 24

    in_chromium(chromium, visit)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_all_text_is_legible_in_light_and_dark(chromium: str, site: str, clickhouse: str, colours: str) -> None:
    fill(clickhouse)
    open_session(clickhouse, ODD)

    async def visit(page: Page) -> None:
        await page.goto(site)
        await expect(page.locator("#who")).to_have_text("shop-1")
        assert await page.evaluate(ILLEGIBLE) == []
        for path in ("/shop/shop-1", "/shop/shop-1/product/p1", "/shop/shop-1/checkout"):
            await page.goto(f"{site}{path}")
            assert await page.evaluate(ILLEGIBLE) == [], path

    in_chromium(chromium, visit, color_scheme=colours)
