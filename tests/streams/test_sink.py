"""The sink against a real store: rows arrive once, whatever is sent twice, and wait while the store is away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.stack.migrate import migrate
from infra.stack.ports import free_port
from infra.stack.store import EmbeddedStore
from schemas.rejected_codec import Rejection
from schemas.simulation import AlignmentScore, SimulatedSession, SimulationRun
from streams.drift.detectors import DriftAlarm
from streams.errors import RetryLater, StoreError
from streams.mixes.decay import Mix
from streams.mixes.rows import MixKey, MixRows
from streams.store.connection import Store
from streams.store.sink import CodebookRow, PersonaRow, Sink

ALARM = DriftAlarm(
    detector="page_hinkley_js",
    detected_at_ms=1_750_000_000_000,
    statistic=0.08,
    threshold=0.01,
    n_effective=187.5,
    baseline_start_ms=1_749_000_000_000,
    baseline_end_ms=1_749_900_000_000,
    baseline_sessions=500,
    recent_sessions=300,
    movers=[(3, 0.1, 0.4)],
    types=[("c00", 0.2, 0.4)],
)


@pytest.fixture
def store(clickhouse: str) -> Iterator[Store]:
    store = Store(clickhouse)
    yield store
    store.close()


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    answer: pa.Table = store.select(sql)
    return answer.to_pylist()


def test_every_insert_is_told_with_its_table_rows_and_time(store: Store, assigned: Any) -> None:
    told: list[tuple[str, int, float]] = []
    sink = Sink(store, lambda *insert: told.append(insert))
    sink.rejected([Rejection("late", "m", "p", "1", 1, "clicks.raw", 0, offset, b"") for offset in range(3)])
    sink.assignments(assigned.batch([assigned.Row(1), assigned.Row(2)]))
    sink.flush()
    assert [insert[:2] for insert in told] == [("session_assignments", 2), ("rejected_events", 3)]
    assert all(0.0 < seconds < 60.0 for _, _, seconds in told)


def test_assignments_arrive_with_every_column(store: Store, assigned: Any) -> None:
    sink = Sink(store)
    sink.assignments(
        assigned.batch(
            [
                assigned.Row(1, code=2, merchant="café", client="ü|1", events=7),
                assigned.Row(2, superseded_by=1, final=False),
                assigned.Row(3, code=5, bot=True),
            ]
        )
    )
    assert sink.waiting_rows == 3
    assert sink.flush() == 3
    assert sink.waiting_rows == 0
    assert rows(
        store,
        "SELECT merchant_id, session_id, client_id, revision, is_final, superseded_by, "
        "toUnixTimestamp64Milli(started_at) AS started, toUnixTimestamp64Milli(ended_at) AS ended, events, "
        "funnel_stratum, code, code_path, confidence, codebook_version, source, is_bot "
        "FROM session_assignments FINAL ORDER BY session_id",
    ) == [
        {
            "merchant_id": merchant,
            "session_id": f"{number:016x}",
            "client_id": client,
            "revision": revision,
            "is_final": final,
            "superseded_by": superseded,
            "started": assigned.NOON_MS - 60_000,
            "ended": assigned.NOON_MS,
            "events": events,
            "funnel_stratum": stratum,
            "code": code,
            "code_path": path,
            "confidence": 0.75,
            "codebook_version": "v1",
            "source": "live",
            "is_bot": bot,
        }
        for merchant, number, client, revision, final, superseded, events, stratum, code, path, bot in [
            ("café", 1, "ü|1", 15, True, "", 7, "C", 2, "c02", False),
            ("m", 2, "c", 6, False, f"{1:016x}", 3, "A", -1, "", False),
            ("m", 3, "c", 7, True, "", 3, "B", 5, "c05", True),
        ]
    ]


def test_the_highest_revision_of_a_session_stands_whatever_comes_last(store: Store, assigned: Any) -> None:
    sink = Sink(store)
    for row in (assigned.Row(1, code=4), assigned.Row(1, code=9, final=False, events=2), assigned.Row(1, code=4)):
        sink.assignments(assigned.batch([row]))
        sink.flush()
    assert rows(store, "SELECT code, is_final FROM session_assignments FINAL") == [{"code": 4, "is_final": True}]


def test_an_older_writer_cannot_put_back_an_earlier_mix(store: Store) -> None:
    sink = Sink(store)
    for counts in ({1: 2, 2: 3}, {1: 1}):
        mix_rows = MixRows()
        mix_rows.add(MixKey("m", "live"), "v1", "1d", 0, Mix.of_counts(counts))
        sink.distributions(mix_rows, emitted_ms=1)
        sink.flush()
    assert rows(store, "SELECT code, sessions, total, weight FROM merchant_distributions FINAL ORDER BY code") == [
        {"code": 1, "sessions": 2, "total": 5, "weight": 0.4},
        {"code": 2, "sessions": 3, "total": 5, "weight": 0.6},
    ]


def test_a_drift_event_written_twice_is_one_row_with_its_attribution(store: Store) -> None:
    sink = Sink(store)
    for emitted_ms in (1, 2):
        sink.drift("m", "v1", ALARM, emitted_ms)
        sink.flush()
    assert rows(
        store,
        "SELECT merchant_id, toUnixTimestamp64Milli(detected_at) AS at, detector, statistic, threshold, n_effective, "
        "baseline_window, JSONExtractInt(details, 'movers', 1, 'code') AS code, "
        "JSONExtractString(details, 'types', 1, 'type') AS type, codebook_version "
        "FROM drift_events FINAL",
    ) == [
        {
            "merchant_id": "m",
            "at": 1_750_000_000_000,
            "detector": "page_hinkley_js",
            "statistic": 0.08,
            "threshold": 0.01,
            "n_effective": 187.5,
            "baseline_window": "2025-06-04T01:20:00.000Z/2025-06-14T11:20:00.000Z",
            "code": 3,
            "type": "c00",
            "codebook_version": "v1",
        }
    ]


def test_a_rejected_record_is_kept_byte_for_byte_and_once(store: Store) -> None:
    sink = Sink(store)
    rejection = Rejection("bad_time", "no time", "worker", "1", 1_750_000_000_000, "clicks.raw", 3, 17, b"\x00\xff\n")
    for _ in range(2):
        sink.rejected([rejection])
        sink.flush()
    assert rows(store, "SELECT failure_kind, partition, offset, hex(payload) AS bytes FROM rejected_events FINAL") == [
        {"failure_kind": "bad_time", "partition": 3, "offset": 17, "bytes": "00FF0A"}
    ]


def test_codebooks_and_simulation_rows_arrive(store: Store) -> None:
    sink = Sink(store)
    sink.codebook(CodebookRow("v1", 5, 1, 1, "{}"), [PersonaRow("v1", 0, "c00", "quick buyer", "They buy.", "{}", 1.0)])
    sink.simulation_run(SimulationRun("r", "m", 1, 2, "v1", 2**63, 10, "local", "{}"))
    sink.simulated_sessions([SimulatedSession("r", "m", "sim-1", 0, 3, "c03", 5, "left", False, 1, 2)])
    sink.alignment_scores([AlignmentScore("r", "m", "conversion", 0.9, 0.95, 0.88, 0.92, 3)])
    sink.flush()
    counts = {
        table: rows(store, f"SELECT count() AS n FROM {table} FINAL")[0]["n"]
        for table in ("codebooks", "personas", "simulation_runs", "simulated_sessions", "alignment_scores")
    }
    assert set(counts.values()) == {1}, counts
    assert rows(store, "SELECT seed FROM simulation_runs")[0]["seed"] == 2**63


def test_nothing_waiting_writes_nothing(store: Store) -> None:
    assert Sink(store).flush() == 0


def test_a_store_that_is_away_keeps_the_rows_waiting_and_says_what_to_do(assigned: Any) -> None:
    pauses: list[float] = []
    store = Store(f"http://default@127.0.0.1:{free_port()}/nowhere", patience_s=1.0, pause=pauses.append)
    sink = Sink(store)
    sink.assignments(assigned.batch([assigned.Row(1)]))
    with pytest.raises(RetryLater, match=r"does not answer .* SIMPERSONA_CLICKHOUSE") as caught:
        sink.flush()
    assert sink.waiting_rows == 1
    assert caught.value.retry_after_s > 0
    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_rows_that_waited_are_written_once_the_store_is_back(tmp_path: Path, assigned: Any) -> None:
    port = free_port()
    store = Store(f"http://default@127.0.0.1:{port}/simpersona", patience_s=0.0)
    sink = Sink(store)
    sink.assignments(assigned.batch([assigned.Row(1)]))
    with pytest.raises(RetryLater):
        sink.flush()
    server = EmbeddedStore.start(tmp_path / "clickhouse", tmp_path / "store.log", memory_mb=1024, port=port)
    try:
        server.wait_ready()
        migrate(server.url())
        assert sink.flush() == 1
        assert rows(store, "SELECT count() AS n FROM session_assignments") == [{"n": 1}]
        store.close()
    finally:
        server.stop()


def test_a_store_without_tables_says_migrate(embedded_store: Any) -> None:
    store = Store(embedded_store.url("default"))
    with pytest.raises(StoreError, match="run `simpersona migrate`"):
        store.select("SELECT * FROM session_assignments")


class Buyers:
    """Sessions of buyers and the rows that a refresh makes of them."""

    def __init__(self, store: Store, assigned: Any) -> None:
        self.store, self.assigned, self.sink = store, assigned, Sink(store)

    def write(self, *sessions: Any) -> None:
        for batch in self.assigned.batches(sessions):
            self.sink.assignments(batch)
        self.sink.flush()

    def types(self) -> dict[str, tuple[int, str, int]]:
        table = rows(
            self.store,
            "SELECT client_id, code, codebook_version, revision FROM buyer_assignments FINAL ORDER BY client_id",
        )
        return {row["client_id"]: (row["code"], row["codebook_version"], row["revision"]) for row in table}


@pytest.fixture
def buyers(store: Store, assigned: Any) -> Buyers:
    return Buyers(store, assigned)


def test_a_buyer_has_the_type_that_most_confidence_speaks_for(buyers: Buyers, assigned: Any) -> None:
    row = assigned.Row
    buyers.write(
        row(1, 3, client="a", confidence=0.9),
        row(2, 5, client="a", confidence=0.5),
        row(3, 5, client="a", confidence=0.3),
        row(4, 7, client="b", confidence=0.8),
    )
    _, sessions = buyers.sink.refresh_buyers(since_ms=0)
    assert sessions == 4
    assert buyers.types() == {"a": (3, "v1", 3), "b": (7, "v1", 1)}
    [single] = rows(buyers.store, "SELECT round(confidence, 3) AS c FROM buyer_assignments FINAL WHERE client_id = 'b'")
    assert single["c"] == pytest.approx(0.8)


def test_old_sessions_of_a_buyer_fade(buyers: Buyers, assigned: Any) -> None:
    day_ms = 86_400_000
    buyers.write(
        assigned.Row(1, 1, ended_ms=assigned.NOON_MS - 60 * day_ms),
        assigned.Row(2, 1, ended_ms=assigned.NOON_MS - 61 * day_ms),
        assigned.Row(3, 2),
    )
    buyers.sink.refresh_buyers(since_ms=0)
    assert buyers.types() == {"c": (2, "v1", 3)}


def test_only_the_newest_codebook_votes_and_bots_and_open_sessions_do_not(buyers: Buyers, assigned: Any) -> None:
    buyers.write(
        assigned.Row(1, 1),
        assigned.Row(2, 1),
        assigned.Row(3, 6, version="v2", ended_ms=assigned.NOON_MS + 1),
        assigned.Row(4, 9, version="v2", bot=True),
        assigned.Row(5, 9, version="v2", final=False),
        assigned.Row(6, 9, version="v2", superseded_by=5),
    )
    buyers.sink.refresh_buyers(since_ms=0)
    assert buyers.types() == {"c": (6, "v2", 3)}


def test_only_buyers_with_new_sessions_are_written_and_a_quiet_store_writes_none(buyers: Buyers, assigned: Any) -> None:
    buyers.write(assigned.Row(1, client="a"))
    buyers.store.command("ALTER TABLE session_assignments UPDATE inserted_at = inserted_at - 3600 WHERE 1")
    started_ms, _ = buyers.sink.refresh_buyers(since_ms=0)
    buyers.write(assigned.Row(2, client="b"))
    buyers.sink.refresh_buyers(since_ms=started_ms - 60_000)
    assert buyers.types() == {"a": (0, "v1", 1), "b": (0, "v1", 1)}
    assert buyers.sink.refresh_buyers(since_ms=started_ms + 3_600_000)[1] == 0
