"""Which offsets are committed, what the changelog may lose, and a log that comes twice."""

from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from infra.stack.apache_kafka import ApacheKafkaCluster
from schemas.topics import CLICKS_RAW, SESSIONS_CHANGELOG
from tests.faults.conftest import OpenStage
from tests.faults.kafka_log import read_topic
from tests.faults.stage import PARTITIONS, Stage
from tests.worker_process import until

pytestmark = pytest.mark.kafka

COMPACTED_WITHIN_S = 30.0
#: A changelog that is compacted all the time and would be deleted at once if compaction did not rule deletion out.
COMPACTED_AT_ONCE = {
    "cleanup.policy": "compact",
    "segment.ms": "500",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "500",
    "delete.retention.ms": "100",
    "retention.ms": "1000",
    "retention.bytes": "1000",
}
EAGER_CLEANER = {"log.cleaner.backoff.ms": "200", "log.retention.check.interval.ms": "1000"}


def test_chunks_acknowledged_out_of_order_hold_the_commit_back_and_come_again_after_a_kill(
    stage: Stage, tmp_path: Path
) -> None:
    file = tmp_path / "withheld.txt"
    worker = stage.start_worker(("-m", "tests.faults.withholding", str(file)))
    stage.reach(worker, records=len(stage.clicks.records) // 3, upto=0.5)
    until(lambda: file.exists() and len(file.read_text().splitlines()) == PARTITIONS, "a chunk of each partition")
    first_withheld = {
        int(partition): int(offset) for _, partition, offset in (line.split() for line in file.read_text().splitlines())
    }
    acked = worker.count("chunks_acked_total")
    stage.feed.send(0.7)
    until(lambda: worker.count("chunks_acked_total") > acked + 2 * PARTITIONS, "later chunks to be acknowledged")
    worker.kill()
    assert stage.committed(CLICKS_RAW) == first_withheld
    stage.start_worker()
    verdict = stage.verdict("chunks acknowledged out of order, worker killed")
    assert verdict.problems == {}


def cleaned(folder: Path) -> dict[int, int]:
    """Return up to which offset the broker in a folder has compacted each changelog partition."""
    lines = [
        line.split() for line in (folder / "broker-1" / "log" / "cleaner-offset-checkpoint").read_text().splitlines()
    ]
    return {int(line[1]): int(line[2]) for line in lines if line[0] == SESSIONS_CHANGELOG}


@pytest.mark.parametrize("broker", [EAGER_CLEANER], indirect=True)
def test_a_changelog_that_was_compacted_many_times_gives_all_state_back(
    broker: ApacheKafkaCluster, clickhouse: str, open_stage: OpenStage, tmp_path: Path
) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_topics({SESSIONS_CHANGELOG: {"num_partitions": PARTITIONS, "configs": COMPACTED_AT_ONCE}})
    stage = open_stage(broker.bootstrap, clickhouse)
    compactions = 4
    worker = stage.start_worker(worker_id="lasting")
    stage.reach(worker, records=500, upto=0.1)
    before: dict[int, int] = {}
    for _ in range(compactions):

        def compacted_again(before: dict[int, int] = before) -> bool:
            now = cleaned(tmp_path / "kafka")
            return len(now) == PARTITIONS and all(offset > before.get(one, 0) for one, offset in now.items())

        stage.during(COMPACTED_WITHIN_S, upto=stage.feed.share + 0.18, until=compacted_again)
        assert compacted_again()
        before = cleaned(tmp_path / "kafka")
        worker.kill()
        worker = stage.start_worker(worker_id="lasting")
        until(lambda worker=worker: worker.partitions > 0, "the worker to have its state back")
    left = [
        record for record in read_topic(stage.bootstrap, SESSIONS_CHANGELOG) if record.offset < before[record.partition]
    ]
    assert len(left) < sum(before.values()) / 2
    verdict = stage.verdict("changelog compacted, worker killed", compactions)
    assert verdict.problems == {}


def test_a_log_that_comes_twice_leaves_the_rows_of_one(stage: Stage) -> None:
    stage.start_worker()
    worker = stage.start_worker()
    stage.reach(worker, records=2_000, upto=1.0)
    stage.feed.again()
    stage.feed.send(0.5)
    worker.kill()
    stage.start_worker()
    verdict = stage.verdict("whole log sent twice, worker killed", 2)
    assert verdict.problems == {}
    assert verdict.events == 2 * len(stage.clicks.records)
