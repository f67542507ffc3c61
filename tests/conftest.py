"""Fixtures over the real embedded stack: nothing of Kafka or ClickHouse is mocked."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from agent_runtime.browser.chromium import find_chromium
from agent_runtime.errors import BrowserError
from infra.errors import JavaMissingError
from infra.stack.apache_kafka import ApacheKafka, fetch_jars, java
from infra.stack.broker import EmbeddedBroker
from infra.stack.clickhouse import connect
from infra.stack.migrate import migrate
from infra.stack.store import EmbeddedStore
from schemas.settings import settings
from tests.faults.table import as_markdown, rows_of, write_table
from tests.worker_process import until

REPOSITORY = Path(__file__).parent.parent
BROKER_MEMORY_MB = 2048
STORE_MEMORY_MB = 4096
#: Fault tests that run one after another where there are several processes.
FAULTS_OF_WORKERS, FAULTS_AROUND_WORKERS = "faults/of-workers", "faults/around-workers"


# Brokers that live for a minute: half of their start would go into compiling code for a long life.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


@pytest.fixture(scope="session")
def embedded_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """One embedded store for the whole session (for each worker of pytest-xdist)."""
    folder = tmp_path_factory.mktemp("store")
    store = EmbeddedStore.start(folder / "clickhouse", folder / "store.log", STORE_MEMORY_MB)
    try:
        store.wait_ready()
        yield store
    finally:
        store.stop()


@pytest.fixture
def clickhouse(embedded_store: EmbeddedStore) -> Iterator[str]:
    """The HTTP address of a fresh, migrated database, dropped after the test."""
    database = f"test_{uuid.uuid4().hex}"
    url = embedded_store.url(database)
    migrate(url)
    yield url
    client = connect(url, "default")
    client.command(f"DROP DATABASE {database} SYNC")
    client.close()


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[str]:
    """The bootstrap address of an empty embedded broker of the test's own (it starts in a few milliseconds)."""
    broker = EmbeddedBroker.start(tmp_path / "broker.log", BROKER_MEMORY_MB)
    try:
        broker.wait_ready()
        yield broker.bootstrap
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The jars of Apache Kafka; without Java or Maven the test is skipped, with CI=true it fails."""
    try:
        java()
        return fetch_jars(REPOSITORY / ".simpersona" / "kafka")
    except JavaMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def started_apache_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Apache Kafka for the whole session (for each worker of pytest-xdist)."""
    broker = ApacheKafka.start(tmp_path_factory.mktemp("apache_kafka"), kafka_jars)
    try:
        broker.wait_ready()
        yield broker.bootstrap
    finally:
        broker.stop()


@pytest.fixture
def apache_kafka(started_apache_kafka: str) -> str:
    """The bootstrap address of the session's Apache Kafka, without topics. Name a group of the test's own."""
    admin = KafkaAdminClient(bootstrap_servers=started_apache_kafka)

    def left() -> list[str]:
        return [topic for topic in admin.list_topics() if not topic.startswith("__")]

    try:
        if topics := left():
            admin.delete_topics(topics)
            # The broker names them until it has heard of it from its controller: a test would take them for its own.
            until(lambda: not left(), "the topics of the test before to go", poll_s=0.01)
    finally:
        admin.close()
    return started_apache_kafka


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without it or Playwright the test is skipped, with CI=true it fails."""
    try:
        return find_chromium(settings().chromium)
    except BrowserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the fault tests, in two rows one test after another; the others stay together by file.

    Only where tests run in several processes does this matter: files share fixtures that take long to make, and fault
    tests mostly wait, but three of them at once that do not would leave each other's workers and brokers no time.
    """
    faults = REPOSITORY / "tests" / "faults"

    def group(path: Path) -> str:
        if path.is_relative_to(faults):
            return FAULTS_OF_WORKERS if path.name in ("test_workers.py", "test_upgrade.py") else FAULTS_AROUND_WORKERS
        return path.relative_to(REPOSITORY).as_posix()

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.path)))
    items.sort(key=lambda item: not item.path.is_relative_to(faults))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of faults when fault tests ran."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    rows = rows_of(report for report in reports if report.when == "call")
    if rows:
        terminalreporter.section("faults")
        for line in as_markdown(rows):
            terminalreporter.write_line(line)
        write_table(rows)
