"""Fetched records in columns: what aiokafka's own reader reads, and nothing of what it would not hand out."""

import gc
import struct
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.broker.fetched import Fetched, RawRecords, in_columns, read_batch

pytestmark = pytest.mark.fast

SOURCE = TopicPartition("clicks.raw", 2)
maybe = st.none() | st.binary(max_size=200)
Row = tuple[int, bytes | None, bytes | None]
#: Timestamp, key and value.
rows = st.lists(st.tuples(st.integers(0, 2**45), maybe, maybe), min_size=1, max_size=60)
codecs = st.integers(0, 4)
EXAMPLES = settings(deadline=None, max_examples=60)


def built(records: list[Row], first: int = 0, codec: int = 0, transactional: bool = False, producer: int = -1) -> bytes:
    """Return a batch as aiokafka writes it, beginning at an offset."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, producer, 0 if producer >= 0 else -1, 0, 1 << 20)
    for number, (timestamp, key, value) in enumerate(records):
        assert builder.append(number, timestamp, key, value, [("h", b"x")]) is not None
    # The base offset is the one field that the checksum does not cover: the broker writes it.
    return struct.pack(">q", first) + bytes(builder.build())[8:]


class Assignment:
    """One assigned partition, as far as a FetchResult asks for it."""

    active = True

    def __init__(self, position: int) -> None:
        self.position = position
        self.paused = False

    def state_value(self, partition: TopicPartition) -> "Assignment":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def fetched(data: bytes, position: int, isolation: int = READ_UNCOMMITTED, aborted: Any = None) -> FetchResult:
    """Return a fetch as it waits in aiokafka's fetcher, in columns."""
    source = PartitionRecords(SOURCE, RawRecords(data), aborted, position, None, None, True, isolation)
    result = FetchResult(SOURCE, assignment=Assignment(position), partition_records=source, backoff=0)
    waiting: Fetcher = SimpleNamespace(_records={SOURCE: result})
    in_columns(waiting)
    return result


def taken(result: FetchResult, at_once: int | None = None) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Return offset, timestamp, key and value of everything that is handed out."""
    found: list[tuple[int, int, bytes | None, bytes | None]] = []
    while result.has_more():
        some = result.getall(at_once)
        if some:
            assert at_once is None or len(some) <= at_once
            values = some.records.values
            assert len(values.data) == values.starts[-1] + max(values.lengths[-1], 0)
            found += zip(
                some.offsets.tolist(),
                some.timestamps_ms.tolist(),
                some.records.keys.tolist(),
                some.records.values.tolist(),
                strict=True,
            )
            assert result._assignment.position > found[-1][0]
    return found


def reference(data: bytes, position: int, isolation: int = READ_UNCOMMITTED, aborted: Any = None) -> list[Any]:
    """Return the same as aiokafka's own reader hands it out."""
    source = PartitionRecords(SOURCE, MemoryRecords(data), aborted, position, None, None, True, isolation)
    return [(record.offset, record.timestamp, record.key, record.value) for record in source]


@EXAMPLES
@given(st.lists(st.tuples(rows, codecs, st.integers(0, 50)), min_size=1, max_size=4), st.data())
def test_columns_hold_what_aiokafkas_reader_hands_out(parts: list[tuple[list[Row], int, int]], data: Any) -> None:
    log, end = b"", 0
    for records, codec, gap in parts:
        log += built(records, end + gap, codec)
        end += gap + len(records)
    # What a broker sends begins with the batch that holds the offset it was asked for.
    position = data.draw(st.integers(0, parts[0][2] + len(parts[0][0]) - 1))
    at_once = data.draw(st.none() | st.integers(1, 70))
    result = fetched(log, position)
    assert taken(result, at_once) == reference(log, position)
    assert result._assignment.position == end


def test_what_was_aborted_or_is_a_control_record_is_left_out() -> None:
    aborted = built([(5, b"k", b"aborted")], 0, transactional=True, producer=7)
    kept = built([(6, b"k", b"kept")], 1, transactional=True, producer=8)
    log = aborted + kept
    assert [row[3] for row in taken(fetched(log, 0, READ_COMMITTED, [(7, 0)]))] == [b"kept"]
    assert [row[3] for row in taken(fetched(log, 0))] == [b"aborted", b"kept"]
    only = fetched(aborted, 0, READ_COMMITTED, [(7, 0)])
    assert taken(only) == []
    assert only._assignment.position == 1


def test_what_was_handed_out_is_gone_without_a_garbage_collection() -> None:
    log = built([(5, b"k", b"first"), (6, b"k", b"second")])
    result = fetched(log, 0)
    some = result.getall(1)
    gone = weakref.ref(some.records.values.data.base)
    gc.disable()
    try:
        del some
        assert gone() is not None
        assert len(result.getall()) == 1
        assert gone() is None
        fetch = weakref.ref(result)
        del result
        assert fetch() is None
    finally:
        gc.enable()


def test_a_partition_that_was_paused_or_sought_hands_nothing_out() -> None:
    log = built([(5, b"k", b"v")])
    result = fetched(log, 0)
    result._assignment.position = 1
    assert not result.getall()
    assert not result.has_more()


@EXAMPLES
@given(rows, st.integers(0, 2**30), st.integers(1, 255))
def test_a_damaged_batch_is_refused_and_fetched_again(records: list[Row], where: int, change: int) -> None:
    good, bad = built(records), bytearray(built(records, len(records)))
    # Anywhere behind the checksum; what lies before it is the broker's to fill in.
    at = 21 + where % (len(bad) - 21)
    bad[at] ^= change
    result = fetched(good + bytes(bad), 0)
    with pytest.raises(CorruptRecordException):
        result.getall()
    assert result._assignment.position == 0
    assert not result.getall()


@EXAMPLES
@given(rows, st.integers(0, 2**30), st.integers(1, 255))
def test_lengths_that_lead_astray_are_refused_even_if_the_checksum_were_right(
    records: list[Row], where: int, change: int
) -> None:
    batch = bytearray(built(records))
    at = 61 + where % (len(batch) - 61)
    batch[at] ^= change
    try:
        columns = read_batch(memoryview(bytes(batch)))
    except CorruptRecordException:
        return
    for slices in (columns.records.keys, columns.records.values):
        assert (slices.starts >= 0).all()
        assert (slices.starts + slices.lengths <= len(slices.data)).all()


def test_another_format_and_a_count_that_does_not_fit_are_refused() -> None:
    batch = bytearray(built([(5, b"k", b"v")]))
    with pytest.raises(CorruptRecordException, match="do not fill"):
        read_batch(memoryview(bytes(batch[:57]) + struct.pack(">i", 0) + bytes(batch[61:])))
    batch[16] = 1
    with pytest.raises(CorruptRecordException, match="format 1"):
        read_batch(memoryview(bytes(batch)))


def test_the_brokers_own_time_counts_where_a_topic_asks_for_it() -> None:
    batch = bytearray(built([(5, b"k", b"v"), (6, b"k", b"v")]))
    batch[22] |= 0x08
    assert read_batch(memoryview(bytes(batch))).timestamps_ms.tolist() == [6, 6]


def test_readers_that_do_not_ask_for_columns_get_records() -> None:
    log = built([(5, b"k", b"v")])
    source = PartitionRecords(SOURCE, RawRecords(log), None, 0, None, None, True, READ_UNCOMMITTED)
    assert [record.value for record in source] == [b"v"]
    assert RawRecords(log).size_in_bytes() == len(log)
    assert len(Fetched.joined([])) == 0
