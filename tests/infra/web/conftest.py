"""The web app over a real broker and a real store, and a small catalogue."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from encoders.generator.catalogue import CATALOGUE_SCHEMA
from infra.web.app import build_web
from schemas.settings import Settings
from streams.broker.topology import ensure_topics


@pytest.fixture
def web(kafka: str, clickhouse: str) -> Iterator[TestClient]:
    """The app, spoken to without a server between."""
    asyncio.run(ensure_topics(kafka, 2, 1))
    with TestClient(build_web(Settings(kafka=kafka, clickhouse=clickhouse))) as client:
        yield client


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A catalogue file of one product at one shop."""
    path = tmp_path / "catalogue.parquet"
    row = ("shop-1", "p1", "Blue cup", "cups", 1_000, "EUR", 1)
    arrays = [pa.array([value], field.type) for value, field in zip(row, CATALOGUE_SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=CATALOGUE_SCHEMA), path)
    return path
