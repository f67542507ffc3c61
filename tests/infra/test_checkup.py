"""What the doctor finds."""

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from infra.stack.checkup import CHECKS, examine, schemas
from infra.stack.clickhouse import connect
from infra.stack.finding import Finding, Verdict
from infra.stack.ports import free_port
from schemas.packaged import CLICK_EVENT_ID, packaged_schema
from schemas.settings import Settings
from streams.broker.topology import ensure_topics


def settings(**changes: object) -> Settings:
    return Settings(pseudonym_secret="own", **changes)  # type: ignore[arg-type]


def found(chosen: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(chosen)}


def test_a_machine_without_anything_is_told_what_to_start(tmp_path: Path) -> None:
    nobody = free_port()
    findings = found(
        settings(
            kafka=f"127.0.0.1:{nobody}", clickhouse=f"http://127.0.0.1:{nobody}/simpersona", encoder=tmp_path / "none"
        )
    )
    assert list(findings) == [check.__name__ for check in CHECKS]
    assert {name: finding.verdict.value for name, finding in findings.items()} == {
        "broker": "failed", "topics": "skipped", "copies": "skipped", "retention": "skipped", "kafka_clock": "skipped",
        "workers": "skipped", "store": "failed", "migrations": "skipped", "store_clock": "skipped",
        "schemas": "ok", "encoder": "failed", "disk": "ok", "secret": "ok",
    }  # fmt: skip
    for name in ("broker", "store", "encoder"):
        assert "simpersona " in findings[name].remedy
        assert "simpersona " not in findings[name].found


def test_a_running_stack_is_well(kafka: str, clickhouse: str) -> None:
    asyncio.run(ensure_topics(kafka, 4, 1))
    findings = found(settings(kafka=kafka, clickhouse=clickhouse))
    unwell = {name for name, finding in findings.items() if finding.verdict is not Verdict.OK}
    # There is no encoder here, and the embedded broker does not tell its time.
    assert unwell == {"encoder", "kafka_clock"}


def test_missing_topics_tables_and_migrations_are_named(kafka: str, clickhouse: str) -> None:
    with connect(clickhouse) as client:
        client.command("DELETE FROM schema_migrations WHERE number >= 5")
    findings = found(settings(kafka=kafka, clickhouse=clickhouse))
    assert findings["topics"].found.startswith("missing: clicks.raw")
    missing = "0005_simulation.sql, 0006_views.sql, 0007_replayed_events.sql, 0008_rejections_by_receipt.sql"
    assert findings["migrations"].found == f"not applied: {missing}"
    assert findings["topics"].remedy == findings["migrations"].remedy == "Run `simpersona migrate`."
    elsewhere = urlsplit(clickhouse)._replace(path="/nowhere").geturl()
    findings = found(settings(kafka=kafka, clickhouse=elsewhere))
    assert (findings["store"].found, findings["migrations"].verdict) == ("no database nowhere", Verdict.SKIPPED)


def test_other_counts_than_the_setting_are_a_warning(kafka: str) -> None:
    asyncio.run(ensure_topics(kafka, 2, 1))
    finding = found(settings(kafka=kafka))["topics"]
    assert (finding.verdict, finding.remedy) == (
        Verdict.WARNING, "New topics would get other counts: set SIMPERSONA_PARTITIONS to what is there."
    )  # fmt: skip


def test_the_published_secret_and_a_registry_that_is_not_there_are_found(tmp_path: Path) -> None:
    findings = found(Settings(schema_registry=f"http://127.0.0.1:{free_port()}"))
    assert findings["secret"].verdict is Verdict.WARNING
    assert findings["schemas"].verdict is Verdict.FAILED
    assert findings["schemas"].found.endswith("(Connection refused)")
    assert "SIMPERSONA_SCHEMA_REGISTRY" in findings["schemas"].remedy


class Registry(BaseHTTPRequestHandler):
    """A registry with one subject, whose latest version is ``latest``."""

    latest: dict[str, object]

    def do_GET(self) -> None:
        answers = {
            "/subjects": ["orders-value", "clicks.raw-value"],
            "/subjects/clicks.raw-value/versions/latest": self.latest,
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answers[self.path]).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("without", "kind", "verdict", "says"),
    [
        ("", "AVRO", Verdict.OK, "4 packaged schemas, registry with 2 subjects, clicks of clicks.raw can be read"),
        ("client_id", "AVRO", Verdict.FAILED, "clicks.raw-value, version 3 cannot be read: Schema 'ClickEvent' lacks"),
        ("", "PROTOBUF", Verdict.FAILED, "clicks.raw-value, version 3 is PROTOBUF"),
    ],
)
def test_a_registered_schema_is_tried_before_its_records_come(
    registry: str, without: str, kind: str, verdict: Verdict, says: str
) -> None:
    schema = packaged_schema(CLICK_EVENT_ID)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != without]
    Registry.latest = {"id": 7, "version": 3, "schema": json.dumps(schema), "schemaType": kind}
    finding = schemas(settings(schema_registry=registry))
    assert finding.verdict is verdict
    assert finding.found.startswith(says)
    assert bool(finding.remedy) == (verdict is Verdict.FAILED)
