"""Workers with different encoders at the same time, as during an upgrade."""

import pytest

from infra.stack.clickhouse import connect
from tests.faults.stage import Stage
from tests.worker_process import until

pytestmark = pytest.mark.kafka


def test_during_an_upgrade_every_session_counts_once_under_the_encoder_that_made_its_row(stage: Stage) -> None:
    old, new = stage.clicks.encoders.items()
    first = [stage.start_worker(encoder=old[1]), stage.start_worker(encoder=old[1])]
    stage.feed.send(0.1)
    stage.share_out(*first)
    stage.during(3, upto=0.3)
    first[0].kill()
    newer = stage.start_worker(encoder=new[1])
    stage.during(10, upto=0.6)
    until(lambda: newer.partitions > 0 and first[1].partitions > 0, "an old and a new worker side by side")
    stage.during(3, upto=0.8)
    first[1].kill()
    stage.start_worker(encoder=new[1])
    verdict = stage.verdict("two encoder versions, workers killed", 2)
    assert verdict.problems == {}
    with connect(stage.clickhouse) as client:
        query = "SELECT codebook_version, count() FROM sessions WHERE is_final GROUP BY codebook_version"
        rows = dict(client.query(query).result_rows)
    assert rows.keys() == {old[0], new[0]}
    assert sum(rows.values()) == len(next(iter(stage.clicks.offline.values())))
