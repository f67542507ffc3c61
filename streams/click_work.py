"""What the first hop computes for one chunk, off the event loop: decode, sessions, buyer types, bytes to send."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.assignment_codec import encode_assignments
from schemas.rejected_codec import Rejection, encode_rejection
from schemas.rejections import CODE_OF_REASON, REASONS
from schemas.topics import CLICKS_RAW, SOURCE_OF_TOPIC
from schemas.validation import TIME_MAX_MS
from streams.chunks import Chunk, TopicPartition
from streams.click_reader import ClickReader, FindSchema
from streams.emission import Emission, SessionEncoder, assignments
from streams.emit import Emitter, Record
from streams.metrics import Metrics
from streams.sessions import Added, SessionRules, SessionWindows

PROCESSOR = "streams.click_hop"
#: Raised whenever the meaning of rejections changes.
PROCESSOR_VERSION = "2"
#: Longest payload and key that are kept of a record that could not be used: with what is said about it, it must still
#: be a record that any broker takes. One that does not fit would stop every worker that reads it.
PAYLOAD_BYTES_MAX = 512 * 1024
KEY_BYTES_MAX = 4 * 1024

#: A live event that was received further ahead of our clock than this was not received then. (Simulated buyers live
#: in a time of their own, often days ahead.)
FUTURE_MS = 3_600_000

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


@dataclass(frozen=True, slots=True)
class Outputs:
    """Batches ready to send: assignments by partition of ``sessions.assigned``, and rejections of this partition."""

    assigned: dict[int, list[Any]] = field(default_factory=dict)
    rejected: list[Any] = field(default_factory=list)
    emitted: int = 0
    #: Whether there was more to give out than goes into one round.
    more: bool = False


class ClickWork:
    """Computes for one worker. ``take`` and ``emit`` run in one thread, one at a time.

    ``find_schema`` looks up a writer schema by id; it may raise RetryLater, before anything is applied.
    """

    def __init__(
        self,
        encoder: SessionEncoder,
        rules: SessionRules,
        emitter: Emitter,
        assigned_partitions: int,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        find_schema: FindSchema | None = None,
    ) -> None:
        self.rules = rules
        self._encoder = encoder
        self._emitter = emitter
        self._assigned_partitions = assigned_partitions
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._reader = ClickReader(find_schema)
        self._successor: SessionEncoder | None = None

    def offer(self, encoder: SessionEncoder) -> None:
        """Have this encoder take over at the next commit, so that all rows between two commits are of one version."""
        self._successor = encoder

    def turn_over(self) -> None:
        """Let the encoder that was offered last, if any, take over; called at the end of a commit."""
        if self._successor is not None:
            self._encoder, self._successor = self._successor, None
            self._metrics.codebook_swaps.inc()

    def take(self, windows: SessionWindows, chunk: Chunk) -> Outputs:
        """Apply a chunk to its partition's sessions and return what it closed and what was rejected."""
        clicks = self._reader.read(chunk.values)
        if chunk.topic == CLICKS_RAW:
            # One such event would move its partition's watermark so far that every later click were behind it.
            ahead = clicks.batch.received_ms > self._clock_ms() + FUTURE_MS
            clicks.batch.fault[ahead & (clicks.batch.fault == 0)] = CODE_OF_REASON["bad_time"]
        added = windows.add(clicks.batch, chunk.offsets)
        if clicks.watermark_ms is not None:
            windows.advance(clicks.watermark_ms)
        self._count(added)
        closed = self.emit(windows, chunk.source, provisional=False)
        return Outputs(closed.assigned, self._rejections(chunk, added), closed.emitted, closed.more)

    def emit(self, windows: SessionWindows, source: TopicPartition, provisional: bool) -> Outputs:
        """Return one round's rows of closed sessions and superseded ids and, if asked, of changed open sessions."""
        emission = windows.emit(provisional=provisional, limit=SESSIONS_AT_ONCE)
        rows = len(emission) + len(emission.superseded)
        if not rows:
            return Outputs()
        with self._metrics.encode_seconds.time():
            codes = self._encoder.encode(emission.sessions)
        self._metrics.encode_sessions.observe(len(emission))
        batch = assignments(
            emission, codes, self._encoder.version, self._encoder.code_paths, SOURCE_OF_TOPIC[source.topic]
        )
        self._count_rows(emission)
        by_partition: dict[int, list[Record]] = {}
        keys: dict[str, tuple[bytes, list[Record]]] = {}
        for merchant_id, value in zip(batch.merchant_id, encode_assignments(batch), strict=True):
            known = keys.get(merchant_id)
            if known is None:
                key = merchant_id.encode()
                partition = self._emitter.partition(key, self._assigned_partitions)
                known = keys[merchant_id] = (key, by_partition.setdefault(partition, []))
            known[1].append((known[0], value))
        now_ms = self._clock_ms()
        packed = {p: self._emitter.pack(records, now_ms) for p, records in by_partition.items()}
        return Outputs(packed, [], rows, more=len(emission) >= SESSIONS_AT_ONCE)

    def _rejections(self, chunk: Chunk, added: Added) -> list[Any]:
        # Producers may stamp a record with any number; stored times have a range.
        received_ms = np.clip(chunk.timestamps_ms, 0, TIME_MAX_MS)
        records: list[Record] = []
        for row, code in zip(added.rejected_rows.tolist(), added.rejected_reasons.tolist(), strict=True):
            reason, key, value = REASONS[code], chunk.keys[row], chunk.values[row]
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
        return self._emitter.pack(records, self._clock_ms())

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
