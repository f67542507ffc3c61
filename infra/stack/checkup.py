"""What `simpersona doctor` looks at: each check is one function that returns one finding and changes nothing."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import fastavro
from fastavro.schema import SchemaParseException
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from encoders.artefact import check_artefact
from infra.stack.clickhouse import connect, database_of
from infra.stack.folder_lock import LEAST_FREE_MB
from infra.stack.kafka_address import require_kafka
from infra.stack.migrate import applied, packaged_migrations
from schemas.errors import SimpersonaError
from schemas.packaged import packaged_schemas
from schemas.settings import Settings
from schemas.topics import SESSIONS_CHANGELOG, SOURCE_OF_TOPIC
from streams.topology import TOPICS

#: Beyond this, received_at and the store's clock disagree by more than a dashboard can hide.
CLOCK_TOLERANCE_MS = 1_000
REGISTRY_TIMEOUT_S = 5.0


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found and, unless it is well, what to do."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run every check against the settings' addresses and return the findings in the order of the path of a click."""
    findings: dict[str, Finding] = {}
    for check, needed in CHECKS.items():
        name = check.__name__
        if needed and findings[needed].verdict is not Verdict.OK:
            findings[name] = Finding(name, Verdict.SKIPPED, f"the {needed} comes first")
            continue
        try:
            findings[name] = check(settings)
        except SimpersonaError as error:
            # Our messages already say what to do.
            findings[name] = Finding(name, Verdict.FAILED, str(error))
    return list(findings.values())


def broker(settings: Settings) -> Finding:
    """A Kafka broker answers."""
    require_kafka(settings.kafka)
    try:
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
        brokers = admin.describe_cluster()["brokers"]
        admin.close()
    except KafkaError as error:
        return Finding("broker", Verdict.FAILED, f"{settings.kafka}: {error}", "Look at the broker's own log.")
    return Finding("broker", Verdict.OK, f"{settings.kafka} answers, {len(brokers)} broker(s)")


def topics(settings: Settings) -> Finding:
    """All topics exist; a click topic's sessions find their changelog partition (co-partitioning)."""
    require_kafka(settings.kafka)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        there = set(admin.list_topics()) & set(TOPICS)
        counts = {t["name"]: len(t["partitions"]) for t in admin.describe_topics(sorted(there))} if there else {}
    finally:
        admin.close()
    return judged_topics(counts, settings.partitions)


def judged_topics(counts: Mapping[str, int], wanted: int) -> Finding:
    """Judge the partitions of the topics that are there against each other and the setting."""
    missing = [topic for topic in TOPICS if topic not in counts]
    if missing:
        return Finding("topics", Verdict.FAILED, f"missing: {', '.join(missing)}", "Run `simpersona migrate`.")
    short = [topic for topic in SOURCE_OF_TOPIC if counts[topic] > counts[SESSIONS_CHANGELOG]]
    if short:
        return Finding(
            "topics",
            Verdict.FAILED,
            f"not co-partitioned: {', '.join(short)} with more partitions than {SESSIONS_CHANGELOG} "
            f"({counts[SESSIONS_CHANGELOG]})",
            f"Give {SESSIONS_CHANGELOG} as many partitions as the click topics.",
        )
    other = {topic: count for topic, count in counts.items() if count != wanted}
    shown = ", ".join(f"{topic} {count}" for topic, count in counts.items())
    if other:
        remedy = "New topics would get other counts: set SIMPERSONA_PARTITIONS to what is there."
        return Finding("topics", Verdict.WARNING, f"partitions: {shown}; the setting says {wanted}", remedy)
    return Finding("topics", Verdict.OK, f"{len(counts)} topics of {wanted} partitions")


def store(settings: Settings) -> Finding:
    """A ClickHouse answers and has the database."""
    database = database_of(settings.clickhouse)
    client = connect(settings.clickhouse, "default")
    try:
        names = {str(name) for (name,) in client.query("SELECT name FROM system.databases").result_rows}
        version = client.server_version
    finally:
        client.close()
    if database not in names:
        return Finding("store", Verdict.FAILED, f"no database {database}", "Run `simpersona migrate`.")
    return Finding("store", Verdict.OK, f"ClickHouse {version}, database {database}")


def migrations(settings: Settings) -> Finding:
    """Every packaged migration was applied as it is."""
    client = connect(settings.clickhouse)
    try:
        ledger = applied(client)
    finally:
        client.close()
    packaged = packaged_migrations()
    fresh = [migration.name for migration in packaged if migration.number not in ledger]
    changed = [m.name for m in packaged if ledger.get(m.number, m.sha256) != m.sha256]
    if changed:
        remedy = "Put the change into a new migration, or start with an empty database."
        return Finding("migrations", Verdict.FAILED, f"changed after they were applied: {', '.join(changed)}", remedy)
    if fresh:
        return Finding("migrations", Verdict.FAILED, f"not applied: {', '.join(fresh)}", "Run `simpersona migrate`.")
    return Finding("migrations", Verdict.OK, f"all {len(packaged)} applied")


def clock(settings: Settings) -> Finding:
    """The store's clock and ours agree: lateness and idleness are judged by it."""
    client = connect(settings.clickhouse, "default")
    try:
        before_ms = time.time_ns() // 1_000_000
        theirs_ms = int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])
        after_ms = time.time_ns() // 1_000_000
    finally:
        client.close()
    apart_ms = max(before_ms - theirs_ms, theirs_ms - after_ms, 0)
    if apart_ms > CLOCK_TOLERANCE_MS:
        found = f"this machine and the store are {apart_ms} ms apart"
        return Finding("clock", Verdict.WARNING, found, "Keep both in step with NTP.")
    return Finding("clock", Verdict.OK, f"within {apart_ms} ms of the store's")


def schemas(settings: Settings) -> Finding:
    """The packaged schemas parse and, where one is configured, the registry answers."""
    packaged = packaged_schemas()
    try:
        for schema in packaged.values():
            fastavro.parse_schema(schema)
    except SchemaParseException as error:
        return Finding("schemas", Verdict.FAILED, f"a packaged schema is damaged: {error}", "Install the package anew.")
    if not settings.schema_registry:
        return Finding("schemas", Verdict.OK, f"{len(packaged)} packaged schemas, no registry configured")
    try:
        with urlopen(f"{settings.schema_registry.rstrip('/')}/subjects", timeout=REGISTRY_TIMEOUT_S) as reply:
            subjects = json.load(reply)
    except (URLError, TimeoutError, ConnectionError, ValueError) as error:
        remedy = "Start it, or correct SIMPERSONA_SCHEMA_REGISTRY."
        return Finding("schemas", Verdict.FAILED, f"no registry at {settings.schema_registry} ({error})", remedy)
    return Finding("schemas", Verdict.OK, f"{len(packaged)} packaged schemas, registry with {len(subjects)} subjects")


def encoder(settings: Settings) -> Finding:
    """The encoder's folder is whole, unaltered and of this release's features."""
    manifest = check_artefact(settings.encoder)
    return Finding("encoder", Verdict.OK, f"{settings.encoder}, codebook {manifest.codebook_version}")


def disk(settings: Settings) -> Finding:
    """There is room where we stand."""
    free_mb = shutil.disk_usage(Path.cwd()).free >> 20
    if free_mb < LEAST_FREE_MB:
        return Finding("disk", Verdict.FAILED, f"{free_mb} MiB left here", "Make room.")
    return Finding("disk", Verdict.OK, f"{free_mb} MiB left here")


def secret(settings: Settings) -> Finding:
    """The gateway's pseudonyms are keyed by a secret of one's own."""
    if settings.pseudonym_secret == Settings.model_fields["pseudonym_secret"].default:
        found = "the gateway's pseudonyms are keyed by the published default"
        return Finding("secret", Verdict.WARNING, found, "Set SIMPERSONA_PSEUDONYM_SECRET in production.")
    return Finding("secret", Verdict.OK, "the gateway's pseudonyms are keyed by a secret of your own")


#: Every check, with the check that must be well before it makes sense.
CHECKS: dict[Callable[[Settings], Finding], str] = {
    broker: "",
    topics: "broker",
    store: "",
    migrations: "store",
    clock: "store",
    schemas: "",
    encoder: "",
    disk: "",
    secret: "",
}
