"""A codebook published while a worker is at work: it swaps between two commits, and back, and nothing else changes."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from encoders.artefact import read_manifest
from encoders.event_log import EventLogWriter, read_batches, to_event_batch
from encoders.generator.delivery import Faults
from encoders.generator.run import OVERLAP, GeneratorRun, generate
from encoders.serving import Encoder
from infra.cli.main import main
from infra.stack.clickhouse import connect
from schemas.assignment_codec import decode_assignments
from schemas.assignments import AssignmentBatch
from schemas.settings import Settings, settings
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from streams.broker.topology import ensure_topics
from streams.codebooks.topic import Shelf, publish, read_shelf
from streams.codebooks.watch import CodebookWatch
from streams.errors import CodebookTopicError
from streams.event_logs.assign import assign
from streams.event_logs.replay import Replay, replay
from streams.sessions.settings import session_rules
from tests.integration.test_click_hop import PARTITIONS, WEEK_MS, read_topic
from tests.untrained import write_untrained

Until = Callable[[Callable[[], bool], str], None]
Key = tuple[str, bytes]


def rows_of(batch: AssignmentBatch) -> Iterator[tuple[Key, tuple[object, ...], tuple[object, ...]]]:
    """Yield (session, what its events decide, what the codebook decides)."""
    events = (
        batch.client_id,
        batch.revision,
        batch.started_ms,
        batch.ended_ms,
        batch.events,
        batch.stratum,
        batch.is_bot,
    )
    codes = (batch.code, batch.code_path, batch.confidence)
    for key, *values in zip(zip(batch.merchant_id, batch.session_id, strict=True), *events, *codes, strict=True):
        plain = tuple(value.item() if hasattr(value, "item") else value for value in values)
        yield key, plain[: len(events)], plain[len(events) :]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks") / "events.parquet"
    run = GeneratorRun(
        merchants=5, buyers=400, hours=30.0, seed=4, start_ms=1_788_000_000_000, first_merchant=0, drift=False,
        bots=0.01, malformed=0.0, overlap=OVERLAP, faults=Faults(delayed=0.15, late=0.005, duplicated=0.03),
    )  # fmt: skip
    generate(run, path, path.with_suffix(".truth.parquet"), lambda done, total: None)
    return path


@pytest.fixture(scope="module")
def thirds(log: Path) -> list[Path]:
    """The log in three parts, by time of receipt."""
    table = pq.read_table(log).sort_by("received_at")
    size = -(-table.num_rows // 3)
    paths = [log.with_name(f"part-{number}.parquet") for number in range(3)]
    for number, path in enumerate(paths):
        with EventLogWriter(path) as writer:
            writer.write(table.slice(number * size, size).sort_by("occurred_at").cast(table.schema))
    return paths


def send(bootstrap: str, log: Path, close_ms: int | None = None) -> None:
    async def run() -> None:
        topics = await ensure_topics(bootstrap, PARTITIONS, 1)
        plan = Replay([log], CLICKS_RAW, order="received", close_ms=close_ms)
        await replay(plan, bootstrap, topics[CLICKS_RAW], time.time_ns() // 1_000_000, lambda sent, total: None)

    asyncio.run(run())


@contextmanager
def sending(bootstrap: str, log: Path) -> Iterator[None]:
    """Send a log beside what the block does."""
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(send, bootstrap, log)
        yield
        done.result()


def call(*arguments: str) -> int:
    settings.cache_clear()
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture(scope="module")
def successor(untrained_encoder: Path, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``simpersona adapt`` makes of the encoder, published or not."""
    out = tmp_path_factory.mktemp("successor") / "encoder"
    arguments = ("--events", log, "--encoder", untrained_encoder, "--out", out, "--half-life", 300, "--force")
    assert call("adapt", *map(str, arguments)) == 0
    return out


def offline(log: Path, encoder: Path) -> dict[Key, tuple[tuple[object, ...], tuple[object, ...]]]:
    batches = (to_event_batch(batch) for batch in read_batches([log]))
    passes = assign(batches, Encoder.load(encoder), session_rules(Settings()), disorder_ms=WEEK_MS)
    return {key: (events, codes) for batch in passes for key, events, codes in rows_of(batch)}


def test_a_hot_swap_and_a_rollback_under_load_change_nothing_but_the_codes_after_them(
    kafka: str,
    clickhouse: str,
    log: Path,
    thirds: list[Path],
    untrained_encoder: Path,
    successor: Path,
    start_worker: Callable[..., Any],
    wait_until: Until,
) -> None:
    old, new = Encoder.load(untrained_encoder).version, Encoder.load(successor).version
    worker = start_worker(kafka, clickhouse, chunk_records=500)
    with sending(kafka, thirds[0]):
        wait_until(lambda: worker.count('assignments_total{kind="final"') > 0, "the first final rows")
        now_ms = time.time_ns() // 1_000_000
        asyncio.run(publish(kafka, [untrained_encoder, successor], Shelf(), "a test", now_ms))
        wait_until(lambda: worker.count("codebook_swaps_total") == 1, "the swap")
    finals = worker.count('assignments_total{kind="final"')
    with sending(kafka, thirds[1]):
        wait_until(lambda: worker.count('assignments_total{kind="final"') > finals, "final rows of the new codebook")
        assert call("adapt", "--rollback", "--kafka", kafka) == 0
        wait_until(lambda: worker.count("codebook_swaps_total") == 2, "the way back")
    send(kafka, thirds[2], close_ms=WEEK_MS)

    expected = {old: offline(log, untrained_encoder), new: offline(log, successor)}
    sessions = expected[old].keys()
    client = connect(clickhouse)

    def stored() -> int:
        return int(
            client.command("SELECT count() FROM session_assignments FINAL WHERE is_final AND superseded_by = ''")
        )

    wait_until(lambda: stored() == len(sessions), "all final rows in the store")
    found: dict[Key, tuple[str, tuple[object, ...], tuple[object, ...]]] = {}
    in_order: dict[str, list[str]] = {}
    # Record by record: decoded together, rows come sorted by version.
    for batch in (
        one for _, value in read_topic(kafka, SESSIONS_ASSIGNED) for one in decode_assignments([value or b""])
    ):
        for (key, events, codes), is_final in zip(rows_of(batch), batch.is_final, strict=True):
            in_order.setdefault(key[0], []).append(batch.codebook_version)
            if is_final:
                assert key not in found, "a session is final once"
                found[key] = batch.codebook_version, events, codes
    # Row for row: what events decide is what it would have been, what the codebook decides is its own version's.
    assert found.keys() == sessions
    assert {key: row[1] for key, row in found.items()} == {key: row[0] for key, row in expected[old].items()}
    for key, (version, _, codes) in found.items():
        assert codes == expected[version][key][1]
    of_new = sum(version == new for version, _, _ in found.values())
    assert 0 < of_new < len(found)
    changed = sum(expected[old][key][1][0] != expected[new][key][1][0] for key in sessions)
    assert changed > 0, "two codebooks that agree everywhere would prove nothing"
    # A commit is the boundary: before it one version, behind it the other, no row of either among the other's.
    courses = {merchant: [version for version, _ in groupby(versions)] for merchant, versions in in_order.items()}
    assert all(course == [old, new, old][: len(course)] for course in courses.values())
    assert any(course == [old, new, old] for course in courses.values())

    def balanced() -> bool:
        rows = client.query("SELECT codebook_version, balanced FROM books").result_rows
        return {row[0] for row in rows} == {old, new} and all(row[1] for row in rows)

    wait_until(balanced, "mixes that count every version's own sessions")
    rows = client.query(
        "SELECT codebook_version, sum(sessions) FROM merchant_distributions FINAL WHERE window = '1d' GROUP BY 1"
    ).result_rows
    people = {key for key, (events, _) in expected[old].items() if not events[-1]}
    assert dict(rows) == {
        version: sum(row[0] == version for key, row in found.items() if key in people) for version in (old, new)
    }
    registered = client.query("SELECT codebook_version, previous_version, code_map FROM codebooks FINAL").result_rows
    assert {version: (before, json.loads(codes)) for version, before, codes in registered} == {
        old: ("", {}),
        new: (old, read_manifest(successor).fields["code_map"]["codes"]),
    }
    client.close()
    assert worker.stop() == 0


def test_a_worker_begins_with_what_is_published_unless_its_own_encoder_never_was(
    kafka: str,
    clickhouse: str,
    untrained_encoder: Path,
    successor: Path,
    tmp_path: Path,
    start_worker: Callable[..., Any],
    wait_until: Until,
) -> None:
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    asyncio.run(publish(kafka, [untrained_encoder, successor], Shelf(), "a test", 1_800_000_000_000))
    old, new = (Encoder.load(folder).version for folder in (untrained_encoder, successor))
    stranger = write_untrained(tmp_path / "stranger", seed=9)

    async def served(own: Path, version: str) -> Path:
        async with CodebookWatch(kafka, tmp_path) as watch:
            return watch.to_begin_with(own, version)

    assert asyncio.run(served(untrained_encoder, old)) == tmp_path / new
    assert asyncio.run(served(successor, new)) == successor
    assert asyncio.run(served(stranger, Encoder.load(stranger).version)) == stranger

    worker = start_worker(kafka, clickhouse)
    wait_until(lambda: worker.status != "", "a worker that is ready")
    client = connect(clickhouse)
    rows = client.query("SELECT codebook_version, toUnixTimestamp(created_at) FROM codebooks FINAL").result_rows
    assert rows == [(new, 1_800_000_000)], "as old as its publication"
    client.close()


def test_what_was_published_comes_back_whole_and_can_be_gone_back_from_once(
    kafka: str, untrained_encoder: Path, successor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    assert call("adapt", "--rollback", "--kafka", kafka) == 2
    assert "is empty: no adaptation was published" in capsys.readouterr().err
    old, new = Encoder.load(untrained_encoder).version, Encoder.load(successor).version
    first = asyncio.run(publish(kafka, [untrained_encoder, successor], Shelf(), "a test", 1))
    assert (first.codebook_version, first.previous_version, first.versions) == (new, old, (old, new))
    shelf = asyncio.run(read_shelf(kafka))
    assert shelf.current == first
    for version, folder in ((old, untrained_encoder), (new, successor)):
        unpacked = shelf.unpack(version, tmp_path)
        for file in folder.iterdir():
            assert (unpacked / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(CodebookTopicError, match=r"lacks encoder.onnx, .* of codebook cb-unknown; publish it again"):
        shelf.unpack("cb-unknown", tmp_path)
    assert call("adapt", "--rollback", "--kafka", kafka) == 0
    back = asyncio.run(read_shelf(kafka)).current
    assert back is not None
    assert (back.codebook_version, back.previous_version, back.versions) == (old, "", (old, new))
    assert call("adapt", "--rollback", "--kafka", kafka) == 2
    assert f"Codebook {old} is the first" in " ".join(capsys.readouterr().err.split())


def test_an_adaptation_that_is_published_goes_on_from_the_one_before(
    kafka: str, untrained_encoder: Path, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(ensure_topics(kafka, PARTITIONS, 1))
    common = ("adapt", "--events", str(log), "--force", "--publish", "--kafka", kafka, "--last-hours", "20")
    first, second, report = tmp_path / "first", tmp_path / "second", tmp_path / "report.json"
    assert call(*common, "--encoder", str(untrained_encoder), "--out", str(first)) == 0
    assert call(*common, "--out", str(second), "--json", str(report)) == 0
    old, middle, new = (read_manifest(folder).codebook_version for folder in (untrained_encoder, first, second))
    assert read_manifest(second).fields["previous_version"] == middle
    said = json.loads(report.read_text())
    assert (said["codebook_version"], said["previous_version"], said["published"]) == (new, middle, True)
    current = asyncio.run(read_shelf(kafka)).current
    assert current is not None
    assert current.versions == (old, middle, new)
    assert call(*common, "--encoder", str(untrained_encoder), "--out", str(tmp_path / "third")) == 2
    assert f"The workers serve codebook {new}" in " ".join(capsys.readouterr().err.split())
    for expected in (middle, old):
        assert call("adapt", "--rollback", "--kafka", kafka) == 0
        back = asyncio.run(read_shelf(kafka)).current
        assert back is not None
        assert back.codebook_version == expected
    # One that was never served is a new beginning.
    stranger, third = write_untrained(tmp_path / "stranger", seed=9), tmp_path / "third"
    assert call(*common, "--encoder", str(stranger), "--out", str(third)) == 0
    begun = asyncio.run(read_shelf(kafka)).current
    assert begun is not None
    assert begun.versions == (
        old,
        middle,
        new,
        *(read_manifest(folder).codebook_version for folder in (stranger, third)),
    )
