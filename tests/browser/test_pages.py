"""The dashboard and the demo storefront in a real Chromium, over the real embedded stack."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, TopicPartition
from playwright.async_api import Page, expect

from agent_runtime.browser.chromium import open_chromium
from encoders.generator.catalogue import CATALOGUE_SCHEMA
from encoders.serving import Encoder
from infra.stack.clickhouse import connect
from infra.stack.web import WebPages
from schemas.click_codec import decode_click
from schemas.topics import CLICKS_RAW
from streams.topology import ensure_topics
from tests.untrained import write_untrained
from tests.worker_process import Worker, until

#: Sessions end a moment after their last click, so that a finished one can be seen.
GAP_MS, PARTITIONS = 3_000, 2
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Site:
    """Addresses of a running stack."""

    base: str
    kafka: str
    clickhouse: str


@pytest.fixture
def site(kafka: str, clickhouse: str, chromium: str, tmp_path: Path) -> Iterator[Site]:
    """The web pages with a catalogue of six products, and a worker whose types have names."""
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    encoder = write_untrained(tmp_path / "encoder", seed=0)
    catalogue = tmp_path / "catalogue.parquet"
    rows = [["shop-1", f"p{i}", f"Blue cup {i}", "cups", 1_000 + 100 * i, "EUR", i + 1] for i in range(6)]
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), CATALOGUE_SCHEMA, strict=True)
    ]
    pq.write_table(pa.table(columns, schema=CATALOGUE_SCHEMA), catalogue)
    addresses = {"SIMPERSONA_KAFKA": kafka, "SIMPERSONA_CLICKHOUSE": clickhouse, "SIMPERSONA_CATALOGUE": str(catalogue)}
    web = WebPages.start(tmp_path / "web.log", addresses)
    settings = {
        "kafka": kafka, "clickhouse": clickhouse, "encoder": encoder, "commit_interval_ms": 200, "gap_ms": GAP_MS,
        "allowed_lateness_ms": 0, "idle_after_ms": 200, "partitions": PARTITIONS,
    }  # fmt: skip
    worker = Worker.start(tmp_path / "worker.log", settings)
    try:
        web.wait_ready()
        until(lambda: worker.partitions > 0, "the worker to join")
        _name_types(clickhouse, Encoder.load(encoder))
        yield Site(web.child.name and web.base, kafka, clickhouse)
    finally:
        worker.kill()
        web.child.stop()


def _name_types(clickhouse: str, encoder: Encoder) -> None:
    """An untrained encoder has no personas; the dashboard shows types that have a row."""
    names = ["codebook_version", "code", "code_path", "name", "sentence", "statistics", "share"]
    rows = [
        [encoder.version, code, path, f"Type {path}", "A sentence.", "{}", 0.1]
        for code, path in enumerate(encoder.code_paths)
    ]
    with connect(clickhouse) as client:
        client.insert("personas", rows, column_names=names)


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


def test_a_visit_to_the_storefront_reaches_kafka_and_comes_back_on_the_dashboard(site: Site, chromium: str) -> None:
    async def visit(page: Page) -> None:
        await page.goto(f"{site.base}/shop")
        await page.get_by_role("navigation").get_by_role("link", name="cups").click()
        await page.get_by_role("link", name="Blue cup 2").first.click()
        await page.get_by_label("Quantity").select_option("2")
        await page.get_by_role("button", name="Add to cart", exact=True).click()
        await page.get_by_role("link", name="Check out").click()
        await page.get_by_role("button", name="Submit payment").click()
        await page.get_by_role("link", name="Place order").click()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        until(lambda: len(clicks_in(site.kafka)) == 7, "seven clicks in Kafka")

        await page.goto(site.base)
        await expect(page.locator("#finals")).to_have_text("1")
        await expect(page.get_by_role("navigation").get_by_role("button")).to_have_text("shop-11")
        await page.wait_for_function(
            "mixChart.getOption()?.series?.length > 0 && shareChart.getOption()?.series?.length > 0"
        )
        drawn = await page.evaluate("mixChart.getOption().series.map((one) => one.data.map(([, share]) => share))")
        assert [sum(shares) for shares in zip(*drawn, strict=True)] == [1.0]
        assert await page.evaluate("shareChart.getOption().series[0].data[0].value") == pytest.approx(1.0)
        painted = "[...document.querySelectorAll('#mix canvas, #share canvas')].every((c) => c.getContext('2d')" \
            ".getImageData(0, 0, c.width, c.height).data.some((byte) => byte))"  # fmt: skip
        assert await page.evaluate(painted)
        await expect(page.locator("#trouble")).to_have_text("")

    in_chromium(chromium, visit)
    clicks = clicks_in(site.kafka)
    assert [click["event_name"] for click in clicks] == [
        "page_viewed", "collection_viewed", "product_viewed", "product_added_to_cart", "checkout_started",
        "payment_info_submitted", "checkout_completed",
    ]  # fmt: skip
    assert [click["price_minor"] for click in clicks[2:]] == [1_200, 1_200, 2_400, 2_400, 2_400]
    assert clicks[3]["quantity"] == 2
    assert len({click["client_id"] for click in clicks}) == 1
