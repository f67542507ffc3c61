"""Brokers that are killed: the only one, and one of three."""

import pytest

from infra.stack.apache_kafka import ApacheKafkaCluster
from tests.faults.conftest import OpenStage
from tests.faults.kafka_log import in_sync
from tests.faults.stage import ASK_BROKER_S
from tests.worker_process import until

pytestmark = pytest.mark.kafka

#: How long the only broker is away, and one of three (longer than its session, so that others take its place).
AWAY_S, LOST_S = 20.0, 12.0


def test_workers_outlive_the_death_of_the_only_broker_and_go_on_when_it_is_back(
    broker: ApacheKafkaCluster, clickhouse: str, open_stage: OpenStage
) -> None:
    stage = open_stage(broker.bootstrap, clickhouse)
    workers = [stage.start_worker(), stage.start_worker()]
    stage.feed.send(0.1)
    stage.share_out(*workers)
    deaths = 2
    for _ in range(deaths):
        stage.during(3, upto=stage.feed.share + 0.2)
        broker.kill(1)
        stage.during(AWAY_S, upto=stage.feed.share + 0.2, holds=lambda: stage.running == workers)
        broker.restart(1)
        broker.wait_ready()
    verdict = stage.verdict(f"the only broker away for {AWAY_S:.0f} s", deaths)
    assert verdict.problems == {}
    assert stage.running == workers


def test_the_loss_of_one_broker_of_three_and_its_return_change_nothing(
    brokers: ApacheKafkaCluster, clickhouse: str, open_stage: OpenStage
) -> None:
    stage = open_stage(brokers.bootstrap, clickhouse, replication=3)
    workers = [stage.start_worker(), stage.start_worker()]
    stage.feed.send(0.1)
    stage.share_out(*workers)
    for number in brokers.numbers:
        stage.during(2, upto=stage.feed.share + 0.1)
        brokers.kill(number)
        stage.during(LOST_S, upto=stage.feed.share + 0.15, holds=lambda: stage.running == workers)
        brokers.restart(number)
        brokers.wait_ready()
        until(lambda: in_sync(brokers.bootstrap), "the broker to catch up", poll_s=ASK_BROKER_S)
    verdict = stage.verdict("one broker of three lost", len(brokers.numbers))
    assert verdict.problems == {}
    assert stage.running == workers
