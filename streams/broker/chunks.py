"""A chunk: the records fetched from one partition in one go, the unit in which the live path works and acknowledges."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from schemas.events import I64
from schemas.slices import Slices
from streams.broker.record_columns import Records


class TopicPartition(NamedTuple):
    """One partition of one topic; equal (as a tuple) to Faust's ``TP`` and aiokafka's ``TopicPartition``."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """``n >= 1`` records of one partition in offset order.

    records        n keys and values as Kafka holds them, null where a record has none
    offsets        (n,) int64, rising, with gaps where the broker compacted or holds control records
    timestamps_ms  (n,) int64, the records' timestamps, UTC
    highwater      offset that the partition's next record will get, as known at the fetch; -1 when unknown
    """

    topic: str
    partition: int
    records: Records
    offsets: I64
    timestamps_ms: I64
    highwater: int = -1

    def __len__(self) -> int:
        return len(self.records)

    @property
    def keys(self) -> Slices:
        """The records' keys."""
        return self.records.keys

    @property
    def values(self) -> Slices:
        """The records' values."""
        return self.records.values

    @property
    def source(self) -> TopicPartition:
        """The partition these records came from."""
        return TopicPartition(self.topic, self.partition)

    @property
    def lag(self) -> int:
        """Records of the partition still to come after this chunk when it was fetched; 0 when unknown."""
        return max(0, self.highwater - int(self.offsets[-1]) - 1)

    @staticmethod
    def of(topic: str, partition: int, values: list[bytes], first_offset: int = 0) -> "Chunk":
        """Make a chunk of consecutive keyless records with timestamp 0 (for tests and benchmarks)."""
        offsets = np.arange(first_offset, first_offset + len(values), dtype=np.int64)
        records = Records(Slices.nulls(len(values)), Slices.of(values))
        return Chunk(topic, partition, records, offsets, np.zeros(len(values), dtype=np.int64))
