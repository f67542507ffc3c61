"""The embedded broker keeps the parts of Kafka's protocol that the product uses, within its memory."""

import asyncio
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from infra.errors import BrokerUnreachableError, ServiceFailedError
from infra.stack.broker import EmbeddedBroker
from infra.stack.kafka_address import answers_metadata, require_kafka
from infra.stack.ports import free_port
from schemas.topics import CLICKS_RAW
from streams.broker.topology import TOPICS, ensure_topics

RECORDS = 2_000


def test_every_topic_of_the_product_is_made_with_its_partitions(kafka: str) -> None:
    made = asyncio.run(ensure_topics(kafka, 3, 1))
    assert made == dict.fromkeys(TOPICS, 3)


def test_records_are_read_back_in_order_and_the_fetch_knows_the_end_of_the_log(kafka: str) -> None:
    asyncio.run(ensure_topics(kafka, 1, 1))
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=5)
    for number in range(RECORDS):
        producer.send(CLICKS_RAW, key=b"m|c", value=b"%d" % number, partition=0)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    partition = TopicPartition(CLICKS_RAW, 0)
    consumer.assign([partition])
    got: list[bytes] = []
    while len(got) < RECORDS:
        got += [record.value for records in consumer.poll(1_000).values() for record in records]
    assert got == [b"%d" % number for number in range(RECORDS)]
    assert consumer.highwater(partition) == RECORDS
    consumer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is the Linux kernel's")
def test_a_broker_that_is_full_ends_and_says_what_to_do(tmp_path: Path) -> None:
    broker = EmbeddedBroker.start(tmp_path / "broker.log", memory_mb=80)

    async def fill() -> None:
        await ensure_topics(broker.bootstrap, 1, 1)
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=2_000) as producer:
            for _ in range(1_000):
                await producer.send_and_wait(CLICKS_RAW, bytes(1_000_000), partition=0)

    try:
        broker.wait_ready()
        with pytest.raises(KafkaError):
            asyncio.run(fill())
        with pytest.raises(ServiceFailedError, match=r"reached its memory limit of 80 MiB and was ended: it keeps"):
            broker.child.wait_ready(lambda: False, 30)
    finally:
        broker.stop()


@pytest.mark.fast
def test_a_broker_that_is_not_there_is_one_clear_sentence() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert not answers_metadata(address)
    with pytest.raises(BrokerUnreachableError) as raised:
        require_kafka(f"{address},nonsense")
    assert str(raised.value) == (
        f"No Kafka broker answers ({address}: Connection refused; 'nonsense' is not host:port); "
        "start one with `simpersona up` or correct SIMPERSONA_KAFKA."
    )
