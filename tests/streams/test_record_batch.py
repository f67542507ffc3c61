"""Record batches: what is written is what Kafka's own readers read, and a whole is cut only where it must be."""

import numpy as np
import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.broker.record_batch import BATCH_BYTES, RecordBatch, TooLargeError, packed
from streams.broker.record_columns import Record, Records

pytestmark = pytest.mark.fast

maybe = st.none() | st.binary(max_size=300)
NOW_MS = 1_790_000_000_000


def read(batches: list[RecordBatch]) -> list[Record]:
    found: list[Record] = []
    for batch in batches:
        records = MemoryRecords(batch._build())
        while records.has_next():
            one = records.next_batch()
            assert one.validate_crc()
            assert one.base_offset == 0 and one.next_offset == batch.record_count()
            rows = list(one)
            assert [row.offset for row in rows] == list(range(batch.record_count()))
            assert {row.timestamp for row in rows} == {NOW_MS}
            found += [(row.key, row.value) for row in rows]
    return found


@given(st.lists(st.tuples(maybe, maybe), max_size=200))
@settings(deadline=None)
def test_aiokafka_reads_what_was_written(records: list[Record]) -> None:
    assert read(packed(records, NOW_MS)) == records


@given(st.lists(st.tuples(st.binary(max_size=9), maybe), max_size=20), st.binary(max_size=9))
@settings(deadline=None)
def test_columns_are_written_alike_with_every_key_behind_the_prefix(records: list[Record], prefix: bytes) -> None:
    columns = Records.joined([Records.of(records), Records.of(records[::-1])])
    assert columns.tolist() == records + records[::-1]
    assert read(packed(columns, NOW_MS, prefix=prefix)) == [
        (prefix + (key or b""), value) for key, value in records + records[::-1]
    ]


def test_many_records_become_as_few_batches_as_hold_them() -> None:
    records: list[Record] = [(b"%d" % number, bytes(10_000)) for number in range(200)]
    batches = packed(records, NOW_MS)
    assert len(batches) == 3
    assert read(batches) == records


def test_a_record_that_fits_into_no_batch_is_refused() -> None:
    noise = np.random.default_rng(0).bytes(BATCH_BYTES)
    assert read(packed([(None, noise[:-200])], NOW_MS))
    with pytest.raises(TooLargeError, match="larger than a batch may be"):
        packed([(b"k", b"v"), (None, noise)], NOW_MS)


def test_a_large_record_that_is_small_compressed_has_a_batch_of_its_own() -> None:
    records: list[Record] = [(b"a", b"1"), (b"b", bytes(3 * BATCH_BYTES)), (b"c", b"2")]
    batches = packed(records, NOW_MS)
    assert [batch.record_count() for batch in batches] == [1, 1, 1]
    assert read(batches) == records


def test_what_does_not_shrink_is_sent_as_it_is_and_a_repeated_request_is_the_same() -> None:
    short, long = packed([(b"k", b"v")], NOW_MS)[0], packed([(b"k", bytes(1_000))], NOW_MS)[0]
    assert len(long._build()) < 500
    short._set_producer_state(7, 3, 40)
    once = short._build()
    assert (short.size(), short._build()) == (len(once), once)
    [batch] = [MemoryRecords(once).next_batch()]
    assert batch.producer_id == 7


def test_a_transactional_batch_says_so() -> None:
    [batch] = packed([(b"k", None)], NOW_MS, transactional=True)
    assert MemoryRecords(batch._build()).next_batch().is_transactional
