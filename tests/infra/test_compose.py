"""The deployment files against reality: Kafka, ClickHouse, Grafana and our own settings, metrics and tables."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from clickhouse_connect.driver.client import Client
from kafka import KafkaAdminClient

from infra.cli.main import COMMANDS
from infra.stack.apache_kafka import CONFIGURATION, ApacheKafka, read_properties
from infra.stack.clickhouse import connect
from infra.stack.migrate import Migration
from schemas.settings import Settings
from streams.metrics import Metrics

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DASHBOARD = json.loads((ROOT / "infra/grafana/dashboards/buyer-types.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
#: What only the container's network and disk decide.
OF_THE_PLACE = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


def kafka_properties() -> dict[str, str]:
    """The properties that the Kafka image makes of its KAFKA_ variables."""
    environment = SERVICES["kafka"]["environment"]
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }


def queries(kind: str) -> dict[str, str]:
    """Every query of the dashboard to a datasource of the kind, by what asks it."""
    asked = {
        title: target["rawSql"] if "rawSql" in target else target["expr"]
        for title, panel in PANELS.items()
        for target in panel["targets"]
        if target["datasource"]["uid"] == kind
    }
    if kind == "clickhouse":
        asked |= {f"variable {v['name']}": v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"}
        asked |= {f"annotation {a['name']}": a["target"]["rawSql"] for a in DASHBOARD["annotations"]["list"]}
    return asked


def expanded(sql: str) -> str:
    """The query with Grafana's macros and variables as the plugin would send it."""
    sql = re.sub(r"\$__timeFilter_ms\(([\w.]+)\)", r"\1 >= fromUnixTimestamp64Milli(0) AND \1 <= now64(3)", sql)
    sql = sql.replace("${merchant:singlequote}", "'shop'").replace("${window:singlequote}", "'1h'")
    assert "$" not in sql, "a macro or variable that this test does not know"
    return sql


@pytest.mark.fast
def test_kafka_in_compose_is_configured_as_the_kafka_of_the_tests() -> None:
    ours = read_properties((CONFIGURATION / "server.properties").read_text())
    theirs = {name: value for name, value in kafka_properties().items() if name not in OF_THE_PLACE}
    assert theirs == ours


@pytest.mark.fast
def test_the_kafka_image_and_the_maven_jars_are_one_version() -> None:
    pom = (CONFIGURATION / "pom.xml").read_text()
    assert f"<kafka.version>{SERVICES['kafka']['image'].split(':')[1]}</kafka.version>" in pom


@pytest.mark.fast
def test_the_cluster_id_is_a_uuid_as_kafka_writes_them() -> None:
    cluster_id = SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    assert len(base64.urlsafe_b64decode(cluster_id + "==")) == 16


@pytest.mark.kafka
def test_a_real_kafka_starts_with_the_configuration_of_compose(kafka_jars: Path, tmp_path: Path) -> None:
    properties = {name: value for name, value in kafka_properties().items() if name not in OF_THE_PLACE}
    broker = ApacheKafka.start(tmp_path / "kafka", kafka_jars, properties=properties)
    try:
        broker.wait_ready()
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        assert admin.list_topics() == []
        admin.close()
    finally:
        broker.stop()


@pytest.mark.fast
@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_product_variable_is_a_setting(service: str) -> None:
    named = {name for name in SERVICES[service].get("environment", {}) if name.startswith("SIMPERSONA_")}
    assert named <= {f"SIMPERSONA_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.fast
@pytest.mark.parametrize("service", ["migrate", "worker"])
def test_the_containers_run_commands_that_exist(service: str) -> None:
    assert SERVICES[service]["command"][0] in COMMANDS


@pytest.mark.fast
def test_every_mounted_file_of_the_repository_exists() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.fast
def test_every_named_volume_is_declared() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {name for name in mounts if re.fullmatch(r"[a-z-]+", name)} == set(COMPOSE["volumes"])


@pytest.mark.fast
def test_services_wait_for_services_that_exist_and_have_a_health_check() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]


@pytest.mark.fast
def test_ports_are_published_on_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.fast
def test_the_image_copies_every_package_of_the_distribution() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    packages = re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text())
    assert sorted(copied) == sorted(packages)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} <= set(ignored)


@pytest.mark.fast
def test_the_clickhouse_accounts_are_those_that_compose_uses() -> None:
    ElementTree.parse(ROOT / "infra/clickhouse/config.xml")
    accounts = ElementTree.parse(ROOT / "infra/clickhouse/users.xml").getroot()
    environment = SERVICES["clickhouse"]["environment"]
    for user in ("simpersona", "grafana"):
        password = accounts.find(f"users/{user}/password")
        assert password is not None
        assert password.attrib["from_env"] in environment
    written = accounts.findtext("users/grafana/profile")
    assert accounts.findtext(f"profiles/{written}/readonly") == "2"
    assert [grant.text for grant in accounts.findall("users/grafana/grants/query")] == ["GRANT SELECT ON simpersona.*"]


@pytest.mark.fast
def test_grafana_reads_with_the_reading_account_and_finds_its_dashboard() -> None:
    provisioning = ROOT / "infra/grafana/provisioning"
    sources = yaml.safe_load((provisioning / "datasources/datasources.yaml").read_text())["datasources"]
    by_uid = {source["uid"]: source for source in sources}
    assert by_uid["clickhouse"]["jsonData"]["username"] == "grafana"
    assert by_uid["clickhouse"]["jsonData"]["host"] in SERVICES
    used = {panel["datasource"]["uid"] for panel in PANELS.values()}
    assert used == set(by_uid)
    provider = yaml.safe_load((provisioning / "dashboards/dashboards.yaml").read_text())["providers"][0]
    mounts = SERVICES["grafana"]["volumes"]
    assert f"./infra/grafana/dashboards:{provider['options']['path']}:ro" in mounts


@pytest.mark.fast
def test_prometheus_asks_the_port_that_the_workers_answer_on() -> None:
    config = yaml.safe_load((ROOT / "infra/prometheus/prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape["dns_sd_configs"]
    assert discovery["names"] == ["worker"]
    assert str(discovery["port"]) == SERVICES["worker"]["environment"]["SIMPERSONA_HEALTH_PORT"]


@pytest.mark.fast
@pytest.mark.parametrize(("title", "expression"), sorted(queries("prometheus").items()))
def test_the_dashboard_asks_for_metrics_that_a_worker_has(title: str, expression: str) -> None:
    samples = {metric.name for metric in Metrics().registry.collect()}
    asked = {re.sub("_(total|bucket)$", "", name) for name in re.findall(r"simpersona_\w+", expression)}
    assert asked
    assert asked <= samples


@pytest.fixture
def filled(clickhouse: str) -> Client:
    """A migrated database with one row or two of everything that the dashboard shows."""
    client = connect(clickhouse)
    rows = ROOT / "tests/fixtures/dashboard_rows.sql"
    for statement in Migration(0, rows.name, rows.read_text()).statements():
        client.command(statement)
    return client


def test_every_query_of_the_dashboard_gives_rows_on_our_tables(filled: Client) -> None:
    empty = [title for title, sql in queries("clickhouse").items() if not filled.query(expanded(sql)).result_rows]
    assert empty == []


def test_the_dashboard_shows_what_is_in_the_tables(filled: Client) -> None:
    shown = {title: filled.query(expanded(sql)).result_rows for title, sql in queries("clickhouse").items()}
    assert [row[1:] for row in shown["Buyer types over time"]] == [("browser", 1.0)]
    assert shown["Latest mix"] == [("browser", 1.0)]
    assert shown["Buyers by type"] == [("browser", 1, "Looks around.")]
    assert [row[1:] for row in shown["Sessions a minute"]] == [("B", 1)]
    assert shown["Simulated buyers that came back as their own type"] == [(1.0,)]
    assert shown["variable merchant"] == [("shop",)]
