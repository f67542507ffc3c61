"""What the first hop computes for its chunks, off the event loop: decode, sessions, buyer types, bytes to send."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.assignment_codec import encode_joined
from schemas.click_codec import ClickChunk
from schemas.rejected_codec import Rejection, encode_rejection
from schemas.rejections import REASONS
from schemas.slices import Slices
from schemas.topics import CLICKS_REJECTED, SESSIONS_ASSIGNED, SOURCE_OF_TOPIC
from schemas.validation import TIME_MAX_MS
from streams.broker.chunks import Chunk, TopicPartition
from streams.broker.click_reader import ClickReader, FindSchema, fault_what_is_ahead
from streams.broker.emit import Emitter
from streams.broker.record_batch import packed
from streams.broker.record_columns import Record, Records
from streams.metrics import Metrics
from streams.sessions.emission import Emission, SessionEncoder, assignments
from streams.sessions.windows import Added, SessionRules, SessionWindows

PROCESSOR = "streams.click_hop"
#: Raised whenever the meaning of rejections changes.
PROCESSOR_VERSION = "2"
#: Longest payload and key that are kept of a record that could not be used: with what is said about it, it must still
#: be a record that any broker takes. One that does not fit would stop every worker that reads it.
PAYLOAD_BYTES_MAX = 512 * 1024
KEY_BYTES_MAX = 4 * 1024

#: What a rejection says beside its name; the reasons are those of ``schemas.rejections``.
EXPLANATIONS = {
    "malformed_avro": "The bytes are not a ClickEvent in Avro behind a Confluent header.",
    "unknown_schema": "The header names a schema that is not known, or that lacks what a ClickEvent must have.",
    "empty_id": "An id that must name something is empty.",
    "oversized_id": "An id is longer than the limit.",
    "unknown_event": "The event name is none of the canonical ones and no alias of one.",
    "bad_time": "A time lies outside the range that can be meant.",
    "bad_price": "The price cannot be meant.",
    "late": "The event was received later after it occurred than the allowed lateness.",
    "behind_watermark": "The partition's event time had passed the session this event belongs to.",
}

#: Sessions given out in one round: when a million close at once, their rows need not all be in memory.
SESSIONS_AT_ONCE = 16_384


#: The session windows of some source partitions.
Windows = Mapping[TopicPartition, SessionWindows]
#: Batches of records by the partition they go to.
Batches = dict[TopicPartition, list[Any]]


@dataclass(frozen=True, slots=True)
class Outputs:
    """One round's session rows, ready to be sent, and whether there was more to give out than goes into one round."""

    batches: Batches
    more: bool


class ClickWork:
    """Computes for one worker. ``take`` and ``emit`` run in one thread, one at a time.

    ``partitions`` says how many each topic written to has. ``find_schema`` looks up a writer schema by id; it may raise
    RetryLater, before anything is applied.
    """

    def __init__(
        self,
        encoder: SessionEncoder,
        rules: SessionRules,
        emitter: Emitter,
        partitions: Mapping[str, int],
        metrics: Metrics,
        clock_ms: Callable[[], int],
        find_schema: FindSchema | None = None,
    ) -> None:
        self.rules = rules
        self._encoder = encoder
        self._emitter = emitter
        self._partitions = partitions
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._reader = ClickReader(find_schema)
        self._successor: SessionEncoder | None = None

    def offer(self, encoder: SessionEncoder) -> None:
        """Have this encoder take over at the next commit, so that all rows between two commits are of one version."""
        self._successor = encoder

    def turn_over(self) -> None:
        """Let the encoder that was offered last, if any, take over; called by a commit while nothing is given out."""
        if self._successor is not None:
            self._encoder, self._successor = self._successor, None
            self._metrics.codebook_swaps.inc()

    def take(self, windows: Windows, chunks: Sequence[Chunk]) -> Batches:
        """Apply chunks, one per partition, to their sessions and return what was rejected, ready to be sent."""
        clicks = self._reader.read(Slices.joined([chunk.values for chunk in chunks]))
        rejected: Batches = {}
        first = 0
        for chunk in chunks:
            part = clicks.part(first, first + len(chunk))
            first += len(chunk)
            added = self._add(windows[chunk.source], chunk, part)
            if len(added.rejected_rows):
                target = TopicPartition(CLICKS_REJECTED, chunk.partition % self._partitions[CLICKS_REJECTED])
                rejected.setdefault(target, []).extend(self._rejections(chunk, added))
        return rejected

    def _add(self, windows: SessionWindows, chunk: Chunk, clicks: ClickChunk) -> Added:
        fault_what_is_ahead(clicks.batch, chunk.topic, self._clock_ms())
        added = windows.add(clicks.batch, chunk.offsets)
        if clicks.watermark_ms is not None:
            windows.advance(clicks.watermark_ms)
        self._count(added)
        return added

    def emit(self, windows: Windows, provisional: bool) -> Outputs:
        """Return one round's rows of closed sessions and superseded ids and, if asked, of changed open sessions."""
        given: dict[str, list[Emission]] = {}
        room = SESSIONS_AT_ONCE
        for source, of_source in windows.items():
            emission = of_source.emit(provisional=provisional, limit=room)
            room -= len(emission)
            if len(emission) or len(emission.superseded):
                given.setdefault(SOURCE_OF_TOPIC[source.topic], []).append(emission)
            if room <= 0:
                break
        batches: Batches = {}
        for name, emissions in given.items():
            self._write(Emission.joined(emissions), name, batches)
        return Outputs(batches, more=room <= 0)

    def _write(self, emission: Emission, source: str, batches: Batches) -> None:
        """Add an emission's rows to the batches by partition of ``sessions.assigned``."""
        with self._metrics.encode_seconds.time():
            codes = self._encoder.encode(emission.sessions, still_open=emission.is_final == 0)
        self._metrics.encode_sessions.observe(len(emission))
        self._count_rows(emission)
        batch = assignments(emission, codes, self._encoder.version, self._encoder.code_paths, source)
        keys = batch.merchant_id
        firsts, merchant = keys.distinct()
        of_topic = self._partitions[SESSIONS_ASSIGNED]
        partitions = np.array([self._emitter.partition(key.encode(), of_topic) for key in keys[firsts]])[merchant]
        values, edges = encode_joined(batch)
        data, starts, lengths = np.frombuffer(values, np.uint8), edges[:-1], np.diff(edges)
        now_ms = self._clock_ms()
        for partition in np.unique(partitions).tolist():
            rows = partitions == partition
            records = Records(
                Slices(keys.data, keys.starts[rows], keys.lengths[rows]), Slices(data, starts[rows], lengths[rows])
            )
            batches.setdefault(TopicPartition(SESSIONS_ASSIGNED, partition), []).extend(packed(records, now_ms))

    def _rejections(self, chunk: Chunk, added: Added) -> list[Any]:
        # Producers may stamp a record with any number; stored times have a range.
        received_ms = np.clip(chunk.timestamps_ms, 0, TIME_MAX_MS)
        records: list[Record] = []
        for row, code in zip(added.rejected_rows.tolist(), added.rejected_reasons.tolist(), strict=True):
            reason, key, value = REASONS[code], chunk.keys[row], chunk.values[row] or b""
            message = EXPLANATIONS[reason]
            if len(value) > PAYLOAD_BYTES_MAX:
                message += f" Of its {len(value)} bytes the first {PAYLOAD_BYTES_MAX} are kept."
            rejection = Rejection(
                failure_kind=reason,
                message=message,
                processor=PROCESSOR,
                processor_version=PROCESSOR_VERSION,
                received_at=int(received_ms[row]),
                topic=chunk.topic,
                partition=chunk.partition,
                offset=int(chunk.offsets[row]),
                payload=value[:PAYLOAD_BYTES_MAX],
            )
            records.append((None if key and len(key) > KEY_BYTES_MAX else key, encode_rejection(rejection)))
        return packed(records, self._clock_ms())

    def _count(self, added: Added) -> None:
        self._metrics.events.labels("accepted").inc(added.accepted)
        self._metrics.events.labels("duplicate").inc(added.duplicates)
        self._metrics.events.labels("replayed").inc(added.replayed)
        self._metrics.events.labels("rejected").inc(len(added.rejected_rows))
        for code, count in zip(*np.unique(added.rejected_reasons, return_counts=True), strict=True):
            self._metrics.rejected.labels(REASONS[code]).inc(int(count))

    def _count_rows(self, emission: Emission) -> None:
        final = int(emission.is_final.sum())
        self._metrics.assignments.labels("final").inc(final)
        self._metrics.assignments.labels("provisional").inc(len(emission) - final)
        self._metrics.assignments.labels("superseded").inc(len(emission.superseded))
