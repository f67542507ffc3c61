"""Stages for the fault tests."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest

from infra.stack.apache_kafka import ApacheKafkaCluster
from tests.faults.clicks import Clicks, shared_clicks
from tests.faults.stage import Stage
from tests.faults.table import attach

#: Heap of each broker, in MiB: three of them must fit beside everything else.
HEAP_MB = 384


@pytest.fixture(scope="session")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Clicks:
    """The log of all fault tests, one for all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return shared_clicks((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "fault-clicks")


@pytest.fixture
def broker(kafka_jars: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ApacheKafkaCluster]:
    """One Apache Kafka of the test's own, with the properties that the test is parametrised with, if any."""
    properties = getattr(request, "param", None)
    yield from _started(
        ApacheKafkaCluster(tmp_path / "kafka", kafka_jars, brokers=1, heap_mb=HEAP_MB, properties=properties)
    )


@pytest.fixture
def brokers(kafka_jars: Path, tmp_path: Path) -> Iterator[ApacheKafkaCluster]:
    """Three Apache Kafkas of the test's own."""
    yield from _started(ApacheKafkaCluster(tmp_path / "kafka", kafka_jars, brokers=3, heap_mb=HEAP_MB))


def _started(cluster: ApacheKafkaCluster) -> Iterator[ApacheKafkaCluster]:
    try:
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()


class OpenStage(Protocol):
    def __call__(self, bootstrap: str, clickhouse: str, replication: int = 1) -> Stage: ...


@pytest.fixture
def open_stage(clicks: Clicks, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OpenStage]:
    """Opens a stage on a broker and a store; its verdict goes into the table."""
    with ExitStack() as stages:

        def opened(bootstrap: str, clickhouse: str, replication: int = 1) -> Stage:
            stage = Stage(bootstrap, clickhouse, clicks, tmp_path, lambda v: attach(request.node, v), replication)
            return stages.enter_context(closing(stage))

        yield opened


@pytest.fixture
def stage(apache_kafka: str, clickhouse: str, open_stage: OpenStage) -> Stage:
    """A stage with the session's broker and store."""
    return open_stage(apache_kafka, clickhouse)
