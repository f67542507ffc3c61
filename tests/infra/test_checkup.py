"""What the doctor finds."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from infra.stack.checkup import CHECKS, Finding, Verdict, examine, judged_topics
from infra.stack.clickhouse import connect
from infra.stack.ports import free_port
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW
from streams.topology import TOPICS, ensure_topics


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
        "broker": "failed", "topics": "skipped", "store": "failed", "migrations": "skipped", "clock": "skipped",
        "schemas": "ok", "encoder": "failed", "disk": "ok", "secret": "ok",
    }  # fmt: skip
    for name in ("broker", "store", "encoder"):
        assert "simpersona " in findings[name].found


def test_a_running_stack_is_well(kafka: str, clickhouse: str) -> None:
    asyncio.run(ensure_topics(kafka, 4, 1))
    findings = found(settings(kafka=kafka, clickhouse=clickhouse))
    unwell = {finding for finding in findings.values() if finding.verdict is not Verdict.OK} - {findings["encoder"]}
    assert unwell == set()


def test_missing_topics_tables_and_migrations_are_named(kafka: str, clickhouse: str) -> None:
    with connect(clickhouse) as client:
        client.command("DELETE FROM schema_migrations WHERE number >= 5")
    findings = found(settings(kafka=kafka, clickhouse=clickhouse))
    assert findings["topics"].found.startswith("missing: clicks.raw")
    assert findings["migrations"].found == "not applied: 0005_simulation.sql, 0006_views.sql"
    assert findings["topics"].remedy == findings["migrations"].remedy == "Run `simpersona migrate`."
    elsewhere = urlsplit(clickhouse)._replace(path="/nowhere").geturl()
    findings = found(settings(kafka=kafka, clickhouse=elsewhere))
    assert (findings["store"].found, findings["migrations"].verdict) == ("no database nowhere", Verdict.SKIPPED)


def test_topics_that_are_not_co_partitioned_are_named() -> None:
    finding = judged_topics(dict.fromkeys(TOPICS, 4) | {CLICKS_RAW: 5}, 4)
    assert finding.verdict is Verdict.FAILED
    assert finding.found == "not co-partitioned: clicks.raw with more partitions than sessions.changelog (4)"


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
    assert "SIMPERSONA_SCHEMA_REGISTRY" in findings["schemas"].remedy
