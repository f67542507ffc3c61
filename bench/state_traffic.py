"""Made-up traffic with a wanted number of open sessions: the same rows as batches for the windows or as click records.

Sessions begin at a steady rate and have 1 to 12 events, 5.7 on average (a quarter bounce after one), half a minute
apart. Every seventh event is received late by up to half a minute, and rows come in the order of receipt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.events import EVENT, I32, I64, U64, EventBatch
from schemas.hashing import hash_key

START_MS = 1_700_000_000_000
MERCHANTS = 16
_EVENTS_OF_SESSION = np.array([1, 1, 1, 2, 4, 5, 6, 7, 8, 9, 12, 12])
_PAUSE_MS = 28_000
_SPREAD_SHARE, _SPREAD_MS = 1 / 7, 30_000
_SLICE_MS = 5_000
_DIGITS = 32
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True, slots=True)
class Rows:
    """``n`` events in the order of receipt: number of the session (each its own client), times in milliseconds."""

    session: I64
    occurred_ms: I64
    received_ms: I64

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: npt.NDArray[np.generic] | slice) -> "Rows":
        """Return some of the rows."""
        return Rows(self.session[rows], self.occurred_ms[rows], self.received_ms[rows])

    @staticmethod
    def joined(parts: Sequence["Rows"]) -> "Rows":
        """Return the rows of several parts, one after another."""
        columns = zip(*((one.session, one.occurred_ms, one.received_ms) for one in parts), strict=True)
        return Rows(*(np.concatenate(column) for column in columns))


def traffic(sessions_per_s: float, seed: int, until_ms: int | None = None) -> Iterator[Rows]:
    """Yield rows slice by slice of event time; sessions begin until ``until_ms`` after START_MS, or for ever."""
    random = np.random.default_rng(seed)
    waiting = Rows(*(np.empty(0, np.int64) for _ in range(3)))
    begun, now_ms = 0, 0
    while until_ms is None or now_ms < until_ms or len(waiting):
        starting = round(sessions_per_s * _SLICE_MS / 1000) if until_ms is None or now_ms < until_ms else 0
        fresh = _sessions(random, np.arange(begun, begun + starting), START_MS + now_ms)
        begun, now_ms = begun + starting, now_ms + _SLICE_MS
        rows = Rows.joined([waiting, fresh])
        due = rows.received_ms < START_MS + now_ms
        waiting, rows = rows.take(~due), rows.take(due)
        if len(rows):
            yield rows.take(np.argsort(rows.received_ms, kind="stable"))


def _sessions(random: np.random.Generator, numbers: I64, start_ms: int) -> Rows:
    events = random.choice(_EVENTS_OF_SESSION, len(numbers))
    session = np.repeat(numbers, events)
    pauses = random.exponential(_PAUSE_MS, len(session))
    first = np.cumsum(events) - events
    pauses[first] = random.uniform(0, _SLICE_MS, len(numbers))
    reached = np.cumsum(pauses)
    occurred = start_ms + (reached - np.repeat(reached[first] - pauses[first], events)).astype(np.int64)
    spread = np.where(random.random(len(session)) < _SPREAD_SHARE, random.uniform(0, _SPREAD_MS, len(session)), 0)
    return Rows(session, occurred, occurred + spread.astype(np.int64))


def event_batch(rows: Rows) -> EventBatch:
    """Return rows as the decoder would give them."""
    n = len(rows)
    text, names = _names(rows.session)
    events = np.zeros(n, EVENT)
    events["t"] = rows.occurred_ms
    events["id"] = rows.session * 1_000_003 + rows.occurred_ms
    events["event"] = 4
    merchant_start = np.arange(n, dtype=np.int64) * names
    lengths: I32 = np.full(n, _MERCHANT_BYTES, np.int32)
    clients: I32 = np.full(n, _DIGITS, np.int32)
    return EventBatch(
        events=events,
        received_ms=rows.received_ms,
        key_hash=_hashes(text, n, names),
        text=text,
        merchant_start=merchant_start,
        merchant_length=lengths,
        client_start=merchant_start + _MERCHANT_BYTES,
        client_length=clients,
        fault=np.zeros(n, np.uint8),
    )


_MERCHANT_BYTES = 7


def _names(session: I64) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the names ``shop-NN`` and a client's 32 digits, one row after another, and the bytes of a row."""
    text = np.empty((len(session), _MERCHANT_BYTES + _DIGITS), np.uint8)
    text[:, :5] = np.frombuffer(b"shop-", np.uint8)
    merchant = session % MERCHANTS
    text[:, 5], text[:, 6] = 48 + merchant // 10, 48 + merchant % 10
    value = (session.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for digit in range(_DIGITS):
        shift = np.uint64(4 * (digit % 16))
        text[:, _MERCHANT_BYTES + digit] = _HEX[((value >> shift) & np.uint64(15)).astype(np.int64)]
    return text.reshape(-1), text.shape[1]


@numba.njit(cache=True, nogil=True)
def _hashes(text: npt.NDArray[np.uint8], n: int, row_bytes: int) -> U64:
    out = np.empty(n, np.uint64)
    for i in range(n):
        at = i * row_bytes
        out[i] = hash_key(text, at, 7, at + 7, row_bytes - 7)
    return out


def click_rows(rows: Rows) -> pa.RecordBatch:
    """Return rows with the columns of an event log."""
    n = len(rows)
    text, width = _names(rows.session)
    names = text.reshape(n, width)

    def strings(part: npt.NDArray[np.uint8]) -> pa.Array:
        offsets = np.arange(n + 1, dtype=np.int32) * part.shape[1]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(part))]
        return pa.Array.from_buffers(pa.string(), n, buffers)

    def constant(value: object, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), n)

    event_id = pa.array(rows.session * 1_000_003 + rows.occurred_ms).cast(pa.string())
    time = pa.timestamp("ms", "UTC")
    columns = {
        "event_id": event_id,
        "merchant_id": strings(names[:, :_MERCHANT_BYTES]),
        "client_id": strings(names[:, _MERCHANT_BYTES:]),
        "event_name": constant("product_viewed", pa.string()),
        "occurred_at": pa.array(rows.occurred_ms).cast(time),
        "received_at": pa.array(rows.received_ms).cast(time),
        "product_id": constant("p-1", pa.string()),
        "category": constant("shoes", pa.string()),
        "price_minor": constant(1990, pa.int64()),
        "currency": constant("EUR", pa.string()),
        "quantity": constant(1, pa.int32()),
        "query": constant(None, pa.string()),
        "url_path": constant("/", pa.string()),
        "referrer_kind": constant("direct", pa.string()),
        "device": constant("mobile", pa.string()),
        "is_bot": constant(False, pa.bool_()),
        "schema_version": constant(1, pa.int32()),
        "properties": constant([], pa.map_(pa.string(), pa.string())),
    }
    return pa.record_batch(columns)
