"""The floor under any Python consumer: aiokafka's ``getmany`` and fastavro, record by record, and nothing else."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.peers.clicks import click_reader
from bench.peers.stopwatch import Stopwatch
from bench.peers.task import Task

_POLL_MS = 1_000


async def consume(task: Task) -> None:
    """Read and decode until the stopwatch ends the process."""
    read = click_reader()
    stopwatch = Stopwatch(task, ["aiokafka", "fastavro"])
    consumer = AIOKafkaConsumer(bootstrap_servers=task.kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(task.topic, partition) for partition in range(task.partitions)])
    while True:
        fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        for records in fetched.values():
            for record in records:
                if read(record.value) is not None:
                    stopwatch.count()


if __name__ == "__main__":
    asyncio.run(consume(Task.parse()))
