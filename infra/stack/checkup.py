"""What `simpersona doctor` looks at: each check is one function that returns one finding and changes nothing."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import fastavro
from clickhouse_connect.driver.exceptions import ClickHouseError
from fastavro.schema import SchemaParseException
from kafka.errors import KafkaError

from encoders.artefact import check_artefact
from infra.stack.clickhouse import connect, database_of, first_line
from infra.stack.finding import Finding, Verdict
from infra.stack.folder_lock import LEAST_FREE_MB
from infra.stack.kafka_checkup import broker, copies, judged_clock, kafka_clock, retention, topics, workers
from infra.stack.migrate import applied, packaged_migrations
from schemas.avro_shapes import UnsupportedSchemaError
from schemas.click_codec import ClickDecoder
from schemas.errors import SimpersonaError
from schemas.packaged import packaged_schemas
from schemas.settings import Settings
from schemas.topics import SOURCE_OF_TOPIC

REGISTRY_TIMEOUT_S = 5.0


def examine(settings: Settings) -> list[Finding]:
    """Run every check against the settings' addresses and return the findings in the order of the path of a click."""
    findings: dict[str, Finding] = {}
    for check, needed in CHECKS.items():
        name = check.__name__
        if needed and findings[needed].verdict in (Verdict.FAILED, Verdict.SKIPPED):
            findings[name] = Finding(name, Verdict.SKIPPED, f"{needed} must be well first")
            continue
        try:
            findings[name] = check(settings)
        except SimpersonaError as error:
            findings[name] = _failed(name, str(error))
        except KafkaError as error:
            remedy = "If that is a Kafka, look at its own log; else correct SIMPERSONA_KAFKA."
            findings[name] = Finding(name, Verdict.FAILED, f"{settings.kafka}: {error}", remedy)
        except ClickHouseError as error:
            remedy = "Grant the user of SIMPERSONA_CLICKHOUSE what it lacks, or look at ClickHouse's own log."
            findings[name] = Finding(name, Verdict.FAILED, first_line(error), remedy)
    return list(findings.values())


def _failed(check: str, sentence: str) -> Finding:
    """Our messages say behind their last semicolon what to do, if that is not all they say."""
    found, semicolon, remedy = sentence.rpartition("; ")
    if not semicolon:
        return Finding(check, Verdict.FAILED, sentence)
    return Finding(check, Verdict.FAILED, found, remedy[0].upper() + remedy[1:])


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


def store_clock(settings: Settings) -> Finding:
    """The store's clock and ours agree: what is newer is judged by it."""
    client = connect(settings.clickhouse, "default")
    try:
        before_ms = time.time_ns() // 1_000_000
        theirs_ms = int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])
        after_ms = time.time_ns() // 1_000_000
    finally:
        client.close()
    return judged_clock("store_clock", "ClickHouse", before_ms, theirs_ms, after_ms)


def schemas(settings: Settings) -> Finding:
    """The packaged schemas parse; where a registry is configured, it answers and its schemas of clicks can be read."""
    packaged = packaged_schemas()
    try:
        for schema in packaged.values():
            fastavro.parse_schema(schema)
    except SchemaParseException as error:
        return Finding("schemas", Verdict.FAILED, f"a packaged schema is damaged: {error}", "Install the package anew.")
    if not settings.schema_registry:
        return Finding("schemas", Verdict.OK, f"{len(packaged)} packaged schemas, no registry configured")
    registry = settings.schema_registry.rstrip("/")
    try:
        subjects = _asked(f"{registry}/subjects")
        latest = {
            topic: _asked(f"{registry}/subjects/{topic}-value/versions/latest")
            for topic in SOURCE_OF_TOPIC
            if f"{topic}-value" in subjects
        }
    except (URLError, TimeoutError, ConnectionError, ValueError) as error:
        remedy = "Start it, or correct SIMPERSONA_SCHEMA_REGISTRY."
        reason = getattr(getattr(error, "reason", None), "strerror", None) or error
        return Finding("schemas", Verdict.FAILED, f"no registry at {settings.schema_registry} ({reason})", remedy)
    return judged_schemas(latest, len(packaged), len(subjects))


def judged_schemas(latest: Mapping[str, Any], packaged: int, subjects: int) -> Finding:
    """Judge the latest registered schema of each click topic that has one, as the registry describes it."""
    for topic, found in latest.items():
        where = f"{topic}-value, version {found.get('version')}"
        if found.get("schemaType", "AVRO") != "AVRO":
            remedy = "Have producers write Avro; records of this schema are rejected."
            return Finding("schemas", Verdict.FAILED, f"{where} is {found['schemaType']}", remedy)
        try:
            ClickDecoder().learn(int(found["id"]), json.loads(found["schema"]))
        except UnsupportedSchemaError as error:
            remedy = "Register a schema that fits, then `simpersona replay --rejected --reason unknown_schema`."
            return Finding("schemas", Verdict.FAILED, f"{where} cannot be read: {error}", remedy)
    read = f", clicks of {', '.join(latest)} can be read" if latest else ""
    return Finding("schemas", Verdict.OK, f"{packaged} packaged schemas, registry with {subjects} subjects{read}")


def _asked(url: str) -> Any:
    with urlopen(url, timeout=REGISTRY_TIMEOUT_S) as reply:
        return json.load(reply)


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
    copies: "broker",
    retention: "broker",
    kafka_clock: "broker",
    workers: "topics",
    store: "",
    migrations: "store",
    store_clock: "store",
    schemas: "",
    encoder: "",
    disk: "",
    secret: "",
}
