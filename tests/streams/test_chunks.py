"""Chunks: what becomes of a fetched list of records."""

import pytest
from aiokafka.structs import ConsumerRecord

from streams.chunks import Chunk, TopicPartition
from streams.transport import chunk_of

pytestmark = pytest.mark.fast


def record(offset: int, value: bytes | None, key: bytes | None = b"m|c", timestamp: int = 7) -> ConsumerRecord:
    return ConsumerRecord("clicks.raw", 2, offset, timestamp, 0, key, value, None, 0, 0, ())


def test_a_fetched_list_becomes_columns_in_offset_order() -> None:
    chunk = chunk_of("clicks.raw", 2, [record(5, b"a", timestamp=70), record(9, b"b", key=None, timestamp=71)], 12)
    assert chunk.source == TopicPartition("clicks.raw", 2)
    assert chunk.values == [b"a", b"b"]
    assert chunk.keys == [b"m|c", None]
    assert chunk.offsets.tolist() == [5, 9]
    assert chunk.timestamps_ms.tolist() == [70, 71]
    assert len(chunk) == 2


def test_a_tombstone_is_an_empty_value() -> None:
    assert chunk_of("clicks.raw", 2, [record(0, None)], 1).values == [b""]


@pytest.mark.parametrize(("highwater", "lag"), [(10, 0), (11, 1), (500, 490), (-1, 0), (3, 0)])
def test_lag_is_what_the_broker_holds_beyond_the_chunk(highwater: int, lag: int) -> None:
    assert chunk_of("clicks.raw", 2, [record(8, b"a"), record(9, b"b")], highwater).lag == lag


def test_a_chunk_by_hand_has_consecutive_offsets() -> None:
    assert Chunk.of("t", 0, [b"a", b"b", b"c"], first_offset=40).offsets.tolist() == [40, 41, 42]
