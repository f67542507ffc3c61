"""Lag and speed, read from the offsets of a real broker."""

import asyncio

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from infra.web.progress import ProgressMeter, Speed
from schemas.topics import CLICKS_RAW
from streams.broker.topology import ensure_topics

GROUP = "workers"


@pytest.mark.parametrize(
    ("readings", "speed"),
    [
        ([(0.0, 500)], 0.0),
        ([(0.0, 0), (5.0, 500)], 100.0),
        # A commit every five seconds, and somebody who asks between two of them.
        ([(0.0, 0), (5.0, 500), (7.0, 500), (9.0, 500)], 500 / 9),
        ([(0.0, 0), (5.0, 500), (10.0, 1_000), (15.0, 1_500), (20.0, 2_000), (22.0, 2_000)], 1_500 / 17),
        # However seldom one asks.
        ([(0.0, 0), (60.0, 6_000)], 100.0),
        # A broker set up anew begins at nothing.
        ([(0.0, 500), (5.0, 10)], 0.0),
    ],
)
def test_the_speed_is_that_of_the_last_fifteen_seconds(readings: list[tuple[float, int]], speed: float) -> None:
    meter = Speed()
    assert [meter.add(now_s, committed) for now_s, committed in readings][-1] == pytest.approx(speed)


def test_many_who_ask_see_the_same_speed_as_one() -> None:
    often, seldom = Speed(), Speed()
    commits = [(second, 500 * (second // 5)) for second in range(31)]
    assert [often.add(second, done) for second, done in commits for _ in range(3)][-1] == 100.0
    assert [seldom.add(second, done) for second, done in commits][-1] == 100.0


def test_produced_and_committed_are_the_brokers(kafka: str) -> None:
    asyncio.run(ensure_topics(kafka, 1, 1))
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for _ in range(3):
        producer.send(CLICKS_RAW, b"click").get(timeout=30)
    producer.close()
    worker = KafkaConsumer(bootstrap_servers=kafka, group_id=GROUP, enable_auto_commit=False)
    worker.assign([TopicPartition(CLICKS_RAW, 0)])
    with ProgressMeter(kafka, GROUP) as meter:
        first = meter.read(0.0)
        worker.commit({TopicPartition(CLICKS_RAW, 0): OffsetAndMetadata(2, "", -1)})
        second = meter.read(1.0)
    worker.close()
    assert (first.produced, first.committed, first.lag, first.events_per_s) == (3, 0, 3, 0.0)
    assert (second.produced, second.committed, second.lag, second.events_per_s) == (3, 2, 1, 2.0)
