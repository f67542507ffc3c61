"""Chunks: what becomes of fetched records."""

import numpy as np
import pytest

from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.fetched import Fetched
from streams.broker.record_columns import Record, Records
from streams.broker.transport import chunk_of

pytestmark = pytest.mark.fast


def fetched(*records: Record, offsets: list[int]) -> Fetched:
    return Fetched(Records.of(records), np.array(offsets), np.array([70 + offset for offset in offsets]))


def test_what_was_fetched_becomes_a_chunk_in_offset_order() -> None:
    chunk = chunk_of("clicks.raw", 2, fetched((b"m|c", b"a"), (None, b"b"), offsets=[5, 9]), 12)
    assert chunk.source == TopicPartition("clicks.raw", 2)
    assert chunk.values.tolist() == [b"a", b"b"]
    assert chunk.keys.tolist() == [b"m|c", None]
    assert chunk.offsets.tolist() == [5, 9]
    assert chunk.timestamps_ms.tolist() == [75, 79]
    assert len(chunk) == 2


@pytest.mark.parametrize(("highwater", "lag"), [(10, 0), (11, 1), (500, 490), (-1, 0), (3, 0)])
def test_lag_is_what_the_broker_holds_beyond_the_chunk(highwater: int, lag: int) -> None:
    assert chunk_of("clicks.raw", 2, fetched((None, b"a"), (None, b"b"), offsets=[8, 9]), highwater).lag == lag


def test_a_chunk_by_hand_has_consecutive_offsets() -> None:
    assert Chunk.of("t", 0, [b"a", b"b", b"c"], first_offset=40).offsets.tolist() == [40, 41, 42]
