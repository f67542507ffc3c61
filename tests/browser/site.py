"""The dashboard and the demo storefront in a real Chromium: how a test visits, fills the store and reads the clicks."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from playwright.async_api import Page, expect

from agent_runtime.browser.chromium import open_chromium
from infra.stack.clickhouse import connect
from schemas.click_codec import decode_click
from schemas.topics import CLICKS_RAW

PARTITIONS = 2
PATIENCE_MS = 60_000
NOON = datetime(2026, 9, 7, 12, tzinfo=UTC)
EVENING = datetime(2026, 9, 7, 18, tzinfo=UTC)


def in_chromium(path: str, visit: Callable[[Page], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Visit with a fresh page; ``options`` are those of a page, such as its size and colours."""

    async def run() -> None:
        async with open_chromium(path) as browser:
            page = await browser.new_page(**options)
            page.set_default_timeout(PATIENCE_MS)
            await visit(page)

    expect.set_options(timeout=PATIENCE_MS)
    asyncio.run(run())


def clicks_in(kafka: str) -> list[dict[str, Any]]:
    """Return the clicks that the topic holds, in the order in which they happened."""
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
