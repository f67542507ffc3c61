"""The second hop on a real store: killed anywhere, the rows are those of a run that nobody disturbed."""

import asyncio
import itertools
import json
import random
import uuid
from collections.abc import Coroutine, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from infra.stack.migrate import migrate
from infra.stack.store import EmbeddedStore
from schemas.assignment_codec import encode_assignments
from schemas.rejected_codec import Rejection, encode_rejection
from schemas.topics import CLICKS_REJECTED, SESSIONS_ASSIGNED
from streams.broker.chunks import Chunk, TopicPartition
from streams.errors import StreamError
from streams.hops.assigned_hop import FEW_INTERVAL_MS, MANY_INTERVAL_MS, MANY_ROWS, AssignedHop
from streams.hops.partition_mixes import DRIFT_SETTLE_MS
from streams.store.connection import Store
from streams.store.history import History
from streams.store.sink import Sink

SOURCE = TopicPartition(SESSIONS_ASSIGNED, 0)
HALF_LIFE_MS = 6 * 3_600_000
CLOCK_MS = 1_800_000_000_000


class KilledError(Exception):
    """The worker was killed here."""


class DyingStore(Store):
    """A store whose worker dies at its ``nth`` insert: before it (True) or just after it (False)."""

    nth = -1
    before = True

    def insert(self, table: str, rows: Any) -> None:
        self.nth -= 1
        if self.nth == 0 and self.before:
            raise KilledError
        super().insert(table, rows)
        if self.nth == 0:
            raise KilledError


class Announcements:
    """Keeps what was announced, for partitions that are open only."""

    def __init__(self, published: list[dict[str, Any]]) -> None:
        self.published = published
        self.partitions: set[int] = set()

    async def open(self, partitions: Set[int]) -> None:
        self.partitions |= partitions

    async def close(self, partitions: Set[int]) -> None:
        self.partitions -= partitions

    async def announce(self, partition: int, mixes: Mapping[str, bytes]) -> None:
        assert partition in self.partitions
        for merchant_id, message in mixes.items():
            self.published.append(json.loads(message))
            assert self.published[-1]["merchant_id"] == merchant_id


class Worker:
    """A hop as a shell would drive it, with what it published."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor, published: list[dict[str, Any]]) -> None:
        announcer = Announcements(published)
        self.hop = AssignedHop(Sink(store), History(store), executor, announcer, lambda: CLOCK_MS, HALF_LIFE_MS)

    async def start(self) -> None:
        await self.hop.assigned({SOURCE, TopicPartition(CLICKS_REJECTED, 0)})

    async def take(self, assigned: Any, rows: Sequence[Any]) -> None:
        for batch in assigned.batches(rows):
            await self.hop.process([Chunk.of(SESSIONS_ASSIGNED, 0, encode_assignments(batch))])

    async def rest(self) -> None:
        """Let the clock run until everything that waits for it is done."""
        await self.hop.tick(CLOCK_MS + DRIFT_SETTLE_MS)
        await self.hop.settled()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def store(clickhouse: str) -> Iterator[Store]:
    store = Store(clickhouse)
    yield store
    store.close()


@pytest.fixture
def dying_store(embedded_store: EmbeddedStore) -> Iterator[DyingStore]:
    """A second database beside ``clickhouse``, to compare with."""
    database = f"test_{uuid.uuid4().hex}"
    migrate(embedded_store.url(database))
    store = DyingStore(embedded_store.url(database))
    yield store
    store.command(f"DROP DATABASE {database} SYNC")
    store.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def tables(store: Store) -> dict[str, list[Any]]:
    """Everything that must be equal after any history: all final tables, without the times of writing."""
    queries = {
        "sessions": "SELECT * EXCEPT inserted_at FROM session_assignments FINAL ORDER BY ALL",
        "windows": "SELECT * EXCEPT emitted_at FROM merchant_distributions FINAL "
        "WHERE window != 'decayed' ORDER BY ALL",
        "mix": "SELECT merchant_id, source, as_of, code, weight, n_effective FROM latest_mix ORDER BY ALL",
        "books": "SELECT * FROM books ORDER BY ALL",
        "drift": "SELECT merchant_id, codebook_version, count() AS n FROM drift_events FINAL GROUP BY ALL ORDER BY ALL",
    }
    return {name: store.select(sql).to_pylist() for name, sql in queries.items()}


def shoppers(assigned: Any, seed: int, sessions: int = 1_500) -> list[Any]:
    """Three merchants over two days, each session first open, then final, in order of time; merchant a drifts."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(sessions):
        merchant = ["a", "b", "c"][int(rng.choice(3, p=[0.8, 0.1, 0.1]))]
        mix = [0.1, 0.1, 0.8] if merchant == "a" and i > 1_000 else [0.6, 0.3, 0.1]
        kind: dict[str, Any] = {"code": int(rng.choice(3, p=mix)), "merchant": merchant, "client": f"c{i % 97}"}
        ended = assigned.NOON_MS + i * 2 * 86_400_000 // sessions
        if i % 5 == 0:
            rows.append(assigned.Row(i, ended_ms=ended, final=False, events=2, **kind))
        if i % 50 == 0:
            rows.append(assigned.Row(1_000_000 + i, ended_ms=ended, superseded_by=i, merchant=merchant))
        rows.append(assigned.Row(i, ended_ms=ended, bot=i % 40 == 0, source="live" if i % 10 else "simulated", **kind))
    return rows


def test_the_books_balance_and_the_latest_mix_is_published(
    store: Store, executor: ThreadPoolExecutor, assigned: Any
) -> None:
    published: list[dict[str, Any]] = []
    rows = shoppers(assigned, seed=1)

    async def work() -> None:
        worker = Worker(store, executor, published)
        await worker.start()
        for start in range(0, len(rows), 400):
            await worker.take(assigned, rows[start : start + 400])
            await worker.hop.commit()
        await worker.rest()

    run(work())
    found = tables(store)
    people = [row for row in rows if row.final and not row.bot and row.superseded_by is None]
    assert sum(book["counted_sessions"] for book in found["books"]) == len(people)
    assert all(book["balanced"] for book in found["books"])
    assert found["drift"] == [{"merchant_id": "a", "codebook_version": "v1", "n": 1}]
    latest = {message["merchant_id"]: message for message in published}
    for merchant, message in latest.items():
        stored = {r["code"]: r["weight"] for r in found["mix"] if (r["merchant_id"], r["source"]) == (merchant, "live")}
        assert {int(code): weight for code, weight in message["weights"].items()} == stored
        assert message["code_paths"] == {str(code): f"c{code:02d}" for code in stored}
        assert message["codebook_version"] == "v1"
        assert message["window"] == "decayed"
        assert message["n_effective"] > 0


def test_whenever_it_is_killed_the_tables_are_those_of_an_undisturbed_run(
    store: Store,
    dying_store: DyingStore,
    executor: ThreadPoolExecutor,
    assigned: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.hops.assigned_hop.MANY_ROWS", 200)  # so that ticks insert, too
    rows = shoppers(assigned, seed=2)
    chunks = [rows[start : start + 300] for start in range(0, len(rows), 300)]

    async def undisturbed() -> None:
        worker = Worker(store, executor, [])
        await worker.start()
        for chunk in chunks:
            await worker.take(assigned, chunk)
            await worker.hop.commit()
        await worker.rest()

    async def disturbed(rng: random.Random) -> int:
        deaths, committed = 0, 0
        while committed < len(chunks):
            worker = Worker(dying_store, executor, [])
            await worker.start()
            dying_store.nth, dying_store.before = rng.choice([1, 2, 3, 5]), rng.random() < 0.5
            try:
                while committed < len(chunks):
                    ahead = rng.randint(1, 2)
                    for chunk in chunks[committed : committed + ahead]:
                        await worker.take(assigned, chunk)
                        if rng.random() < 0.5:
                            await worker.hop.tick(CLOCK_MS)
                    await worker.hop.commit()
                    committed = min(committed + ahead, len(chunks))
                dying_store.nth = -1
                await worker.rest()
            except KilledError:
                deaths += 1
        return deaths

    run(undisturbed())
    deaths = run(disturbed(random.Random(3)))
    assert deaths >= 3
    expected, found = tables(store), tables(dying_store)
    for name in expected:
        assert found[name] == expected[name], name


def test_waiting_rows_are_stored_by_ticks_many_of_them_sooner_and_counted_by_the_commit(
    store: Store, executor: ThreadPoolExecutor, assigned: Any
) -> None:
    published: list[dict[str, Any]] = []
    steps = [
        (CLOCK_MS, 1, 1),
        (CLOCK_MS + FEW_INTERVAL_MS - 1, 1, 1),
        (CLOCK_MS + FEW_INTERVAL_MS, 0, 2),
        (CLOCK_MS + FEW_INTERVAL_MS + MANY_INTERVAL_MS - 1, MANY_ROWS, 2),
        (CLOCK_MS + FEW_INTERVAL_MS + MANY_INTERVAL_MS, 0, MANY_ROWS + 2),
    ]

    async def work() -> tuple[list[int], Any, Any]:
        worker = Worker(store, executor, published)
        await worker.start()
        numbers, stored = itertools.count(1), []
        for now_ms, more, _ in steps:
            if more:
                await worker.take(assigned, [assigned.Row(number) for number in itertools.islice(numbers, more)])
            await worker.hop.tick(now_ms)
            stored.append(len(tables(store)["sessions"]))
        ticked = tables(store)
        assert not published
        await worker.hop.commit()
        return stored, ticked, tables(store)

    stored, ticked, committed = run(work())
    assert stored == [count for *_, count in steps]
    assert ticked["windows"] == ticked["mix"] == []
    assert committed["sessions"] == ticked["sessions"]
    assert [book["counted_sessions"] for book in committed["books"]] == [MANY_ROWS + 2]
    assert len(published) == 1


def test_a_chunk_read_twice_changes_nothing(store: Store, executor: ThreadPoolExecutor, assigned: Any) -> None:
    rows = shoppers(assigned, seed=4, sessions=200)

    async def once(worker: Worker) -> None:
        await worker.take(assigned, rows)
        await worker.hop.commit()

    async def work() -> tuple[Any, Any, Any]:
        worker = Worker(store, executor, [])
        await worker.start()
        await once(worker)
        first = tables(store)
        await once(worker)
        second = tables(store)
        after_restart = Worker(store, executor, [])
        await after_restart.start()
        await once(after_restart)
        return first, second, tables(store)

    first, second, third = run(work())
    assert first == second == third


def test_a_merchant_that_was_evicted_goes_on_where_it_stopped(
    store: Store, executor: ThreadPoolExecutor, assigned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.hops.assigned_hop.DAY_IDLE_MS", -1)  # everything is idle at once

    async def work() -> None:
        worker = Worker(store, executor, [])
        await worker.start()
        for row in (assigned.Row(1), assigned.Row(2), assigned.Row(1), assigned.Row(3, code=4)):
            await worker.take(assigned, [row])
            await worker.hop.commit()

    run(work())
    [book] = tables(store)["books"]
    assert (book["assigned_sessions"], book["counted_sessions"]) == (3, 3)
    assert [(r["code"], round(r["weight"], 3)) for r in tables(store)["mix"]] == [(0, 0.667), (4, 0.333)]


def test_what_was_not_committed_is_dropped_when_the_partition_goes(
    store: Store, executor: ThreadPoolExecutor, assigned: Any
) -> None:
    async def work() -> None:
        worker = Worker(store, executor, [])
        await worker.start()
        await worker.take(assigned, [assigned.Row(1)])
        await worker.hop.revoked({SOURCE})
        await worker.hop.commit()

    run(work())
    assert tables(store)["sessions"] == []


def test_rejected_records_are_stored_and_strange_ones_stop_the_worker(
    store: Store, executor: ThreadPoolExecutor
) -> None:
    rejection = Rejection("late", "late by 400 s", "clicks", "1", 1_750_000_000_000, "clicks.raw", 1, 5, b"\x00")

    async def work() -> None:
        worker = Worker(store, executor, [])
        await worker.start()
        chunk = Chunk.of(CLICKS_REJECTED, 0, [encode_rejection(rejection)])
        for _ in range(2):
            await worker.hop.process([chunk])
            await worker.hop.commit()
        with pytest.raises(StreamError, match="not a RejectedEvent"):
            await worker.hop.process([Chunk.of(CLICKS_REJECTED, 0, [b"\x00\x01"])])

    run(work())
    assert store.select("SELECT failure_kind, offset FROM rejected_events FINAL").to_pylist() == [
        {"failure_kind": "late", "offset": 5}
    ]


def test_the_owner_of_the_first_partition_refreshes_buyers_and_slows_down_when_nobody_comes(
    store: Store, executor: ThreadPoolExecutor, assigned: Any
) -> None:
    async def work() -> None:
        worker = Worker(store, executor, [])
        await worker.hop.assigned({TopicPartition(SESSIONS_ASSIGNED, 1)})
        await worker.hop.tick(1)
        await worker.start()
        await worker.take(assigned, [assigned.Row(1, code=6)])
        await worker.hop.commit()
        await worker.hop.tick(10_000)
        await worker.hop.settled()
        await worker.hop.tick(10_001)  # settles the first; the next is not due

    run(work())
    assert store.select("SELECT client_id, code FROM buyer_assignments").to_pylist() == [{"client_id": "c", "code": 6}]
