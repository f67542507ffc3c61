"""A store that is down, slow, refuses, loses answers, or hangs."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.stack.clickhouse import connect
from infra.stack.migrate import migrate
from infra.stack.ports import lasting_port
from infra.stack.store import EmbeddedStore
from schemas.assignment_codec import decode_assignments
from schemas.topics import CLICKS_RAW, SESSIONS_ASSIGNED
from tests.faults.conftest import OpenStage
from tests.faults.kafka_log import read_topic
from tests.faults.stage import ASK_BROKER_S, Stage
from tests.faults.store_gate import Fault, StoreGate
from tests.worker_process import until

pytestmark = pytest.mark.kafka

STORE_MEMORY_MB = 2048
DOWN_S = 60.0
WAITING = "waiting for the store"
#: Memory, read-only for now, too many parts, too many queries: what a busy ClickHouse says before it takes the rows.
REFUSALS = (241, 242, 252, 202)


@pytest.fixture
def gate(clickhouse: str) -> Iterator[StoreGate]:
    with closing(StoreGate(clickhouse)) as gate:
        yield gate


def test_workers_wait_for_a_store_that_is_down_for_a_minute_keep_their_places_and_catch_up(
    apache_kafka: str, open_stage: OpenStage, tmp_path: Path
) -> None:
    port = lasting_port()

    def start() -> EmbeddedStore:
        store = EmbeddedStore.start(tmp_path / "clickhouse", tmp_path / "store.log", STORE_MEMORY_MB, port)
        store.wait_ready()
        return store

    store = start()
    try:
        migrate(store.url())
        stage = open_stage(apache_kafka, store.url())
        workers = [stage.start_worker(), stage.start_worker()]
        stage.feed.send(0.1)
        stage.share_out(*workers)
        stage.during(3, upto=0.3)
        before = [(worker.count("rebalances_total"), worker.partitions) for worker in workers]
        store.stop()
        said: set[str] = set()

        def keep_their_places() -> bool:
            said.update(worker.status for worker in workers)
            return before == [(worker.count("rebalances_total"), worker.partitions) for worker in workers]

        # What was under way when the store went comes to an end first.
        stage.during(DOWN_S / 6, upto=0.4, holds=keep_their_places)
        stored = sum(stage.committed(SESSIONS_ASSIGNED).values())
        said.clear()
        stage.during(DOWN_S * 5 / 6, upto=0.8, holds=keep_their_places)
        assert said == {WAITING}
        assert sum(stage.committed(SESSIONS_ASSIGNED).values()) == stored
        store = start()
        verdict = stage.verdict(f"store down for {DOWN_S:.0f} s")
        assert verdict.problems == {}
        assert keep_their_places()
    finally:
        store.stop()


def test_a_store_that_takes_two_seconds_an_insert_costs_time_and_nothing_else(stage: Stage, gate: StoreGate) -> None:
    workers = [stage.start_worker(clickhouse=gate.url), stage.start_worker(clickhouse=gate.url)]
    with gate.broken(Fault(delay_s=2.0)):
        stage.feed.send(0.1)
        until(lambda: all(worker.partitions for worker in workers), "two workers to share the partitions")
        stage.during(20, upto=0.9)
        workers[0].kill()
        stage.start_worker(clickhouse=gate.url)
        verdict = stage.verdict("every insert takes 2 s", gate.met)
    assert gate.met > 0
    assert verdict.problems == {}


def test_rows_that_the_store_refuses_for_a_while_or_takes_without_saying_so_are_there_once(
    stage: Stage, gate: StoreGate
) -> None:
    victim, heir = stage.start_worker(clickhouse=gate.url), stage.start_worker(clickhouse=gate.url)
    stage.feed.send(0.1)
    stage.share_out(victim, heir)
    faults = [*(Fault(code=code) for code in REFUSALS), Fault(lost_answer=True)]
    for fault in faults:
        met = gate.met
        with gate.broken(fault):
            stage.during(6, upto=stage.feed.share + 0.12)
            # Longer where the workers are between two rebalances: those that follow the kill below.
            until(lambda met=met: gate.met > met, "an insert to meet the fault")
            if fault == faults[1]:
                # A rebalance while rows wait: their new owner reads them again.
                victim.kill()
        stage.during(1, upto=stage.feed.share + 0.05)
    verdict = stage.verdict("store refuses or loses answers", len(faults))
    assert verdict.problems == {}
    assert stage.running == [heir]


def test_a_worker_asked_to_stop_while_its_store_is_away_ends_well_and_loses_nothing(
    stage: Stage, gate: StoreGate
) -> None:
    worker = stage.start_worker(clickhouse=gate.url)
    stage.reach(worker, records=1_000, upto=0.3)
    with gate.broken(Fault(code=REFUSALS[0])):
        stage.feed.send(0.6)
        until(lambda: worker.status == WAITING, "the worker to wait for the store")
        assert worker.stop() == 0, worker.log.read_text()
    stage.start_worker()
    verdict = stage.verdict("worker asked to stop, store away")
    assert verdict.problems == {}


def test_nothing_is_committed_beyond_an_insert_that_hangs_and_a_kill_loses_nothing(
    stage: Stage, gate: StoreGate
) -> None:
    """The insert that hung is carried out all the same, behind those of the next worker."""
    worker = stage.start_worker(clickhouse=gate.url)
    stage.feed.send(0.3)
    until(lambda: sum(stage.committed(SESSIONS_ASSIGNED).values()) > 0, "rows to be stored", poll_s=ASK_BROKER_S)
    with gate.broken(Fault(delay_s=600.0)):
        until(lambda: gate.met > 0, "an insert to hang")
        clicks_read = sum(stage.committed(CLICKS_RAW).values())
        stage.during(10, upto=0.7)
        # The first hop commits on, the second one must not pass what hangs.
        until(lambda: sum(stage.committed(CLICKS_RAW).values()) > clicks_read, "commits", poll_s=ASK_BROKER_S)
        worker.kill()
        assert rows_read_and_not_stored(stage) == []
        stage.start_worker()
        stage.settle()
    until(lambda: not gate.under_way, "the insert to be carried out")
    verdict = stage.verdict("an insert hangs, worker killed")
    assert verdict.problems == {}


def rows_read_and_not_stored(stage: Stage) -> list[tuple[str, str, int]]:
    """Return the assignments below the committed offsets that the store does not hold in this or a later revision."""
    ends = stage.committed(SESSIONS_ASSIGNED)
    records = [one for one in read_topic(stage.bootstrap, SESSIONS_ASSIGNED) if one.offset < ends.get(one.partition, 0)]
    with connect(stage.clickhouse) as client:
        query = "SELECT merchant_id, session_id, revision FROM session_assignments FINAL"
        stored = {(merchant, session): revision for merchant, session, revision in client.query(query).result_rows}
    read = [
        (merchant, session.decode(), revision)
        for batch in decode_assignments([record.value or b"" for record in records])
        for merchant, session, revision in zip(
            batch.merchant_id.tolist(), batch.session_id.tolist(), batch.revision.tolist(), strict=True
        )
    ]
    assert read
    return [row for row in read if stored.get(row[:2], -1) < row[2]]
