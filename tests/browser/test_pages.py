"""The dashboard and the demo storefront in a real Chromium, over a real broker and a real store."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, TopicPartition
from playwright.async_api import Page, expect

from agent_runtime.browser.chromium import open_chromium
from encoders.generator.catalogue import CATALOGUE_SCHEMA
from infra.stack.clickhouse import connect
from infra.stack.web import WebPages
from schemas.click_codec import decode_click
from schemas.topics import CLICKS_RAW
from streams.broker.topology import ensure_topics

PARTITIONS = 2
PATIENCE_MS = 60_000
NOON = datetime(2026, 9, 7, 12, tzinfo=UTC)
EVENING = datetime(2026, 9, 7, 18, tzinfo=UTC)


@pytest.fixture
def site(kafka: str, clickhouse: str, tmp_path: Path) -> Iterator[str]:
    """The address of the web pages, with a catalogue of six products."""
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    catalogue = tmp_path / "catalogue.parquet"
    rows = [["shop-1", f"p{i}", f"Blue cup {i}", "cups", 1_000 + 100 * i, "EUR", i + 1] for i in range(6)]
    columns = zip(zip(*rows, strict=True), CATALOGUE_SCHEMA, strict=True)
    arrays = [pa.array(values, field.type) for values, field in columns]
    pq.write_table(pa.table(arrays, schema=CATALOGUE_SCHEMA), catalogue)
    addresses = {"SIMPERSONA_KAFKA": kafka, "SIMPERSONA_CLICKHOUSE": clickhouse, "SIMPERSONA_CATALOGUE": str(catalogue)}
    web = WebPages.start(tmp_path / "web.log", addresses)
    try:
        web.wait_ready()
        yield web.base
    finally:
        web.child.stop()


def in_chromium(path: str, visit: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with open_chromium(path) as browser:
            page = await browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            await visit(page)

    expect.set_options(timeout=PATIENCE_MS)
    asyncio.run(run())


def clicks_in(kafka: str) -> list[dict[str, Any]]:
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=None)
    partitions = [TopicPartition(CLICKS_RAW, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    clicks: list[dict[str, Any]] = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            clicks += [decode_click(record.value) for record in records]
    consumer.close()
    return sorted(clicks, key=lambda click: click["occurred_at"])


def fill(clickhouse: str) -> None:
    """Four finished sessions at one shop in two hours: three of type c00, one of c01."""
    with connect(clickhouse) as client:
        client.insert(
            "personas",
            [["v1", code, f"c0{code}", f"Type {code}", "A sentence.", "{}", 0.5] for code in (0, 1)],
            column_names=["codebook_version", "code", "code_path", "name", "sentence", "statistics", "share"],
        )
        sessions = [(NOON, 0), (NOON, 1), (EVENING, 0), (EVENING, 0)]
        client.insert(
            "session_assignments",
            [
                ["shop-1", f"{n:016x}", f"c{n}", 7, True, "", at, at, 3, "B", code, f"c0{code}", 0.8, "v1", "live"]
                for n, (at, code) in enumerate(sessions)
            ],
            column_names=[
                "merchant_id", "session_id", "client_id", "revision", "is_final", "superseded_by", "started_at",
                "ended_at", "events", "funnel_stratum", "code", "code_path", "confidence", "codebook_version", "source",
            ],
        )  # fmt: skip
        counts = [
            ("1h", NOON, 0, 1), ("1h", NOON, 1, 1), ("1h", EVENING, 0, 2),
            ("1d", NOON.replace(hour=0), 0, 3), ("1d", NOON.replace(hour=0), 1, 1),
            ("decayed", EVENING, 0, 3), ("decayed", EVENING, 1, 1),
        ]  # fmt: skip
        client.insert(
            "merchant_distributions",
            [["shop-1", window, at, "v1", "live", code, n / 4, n, 4, 4.0, EVENING] for window, at, code, n in counts],
            column_names=[
                "merchant_id", "window", "window_start", "codebook_version", "source", "code", "weight", "sessions",
                "total", "n_effective", "emitted_at",
            ],
        )  # fmt: skip


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
