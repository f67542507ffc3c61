"""Columns of clicks to an ``EventBatch``: the one place where text becomes hashes and faults are judged.

Both ways in end here, the stream's Avro records and the event log's Arrow tables, so a click means the same in both.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numba as nb
import numpy as np

from schemas.avro_columns import NULL_INT
from schemas.events import EVENT, FLAG_BOT, I32, I64, U8, U64, EventBatch
from schemas.hashing import fold32, hash64, hash_key, hash_slice
from schemas.read_only import read_only
from schemas.taxonomy import ALIASES, DEVICES, EVENT_CODES, REFERRERS
from schemas.validation import fault_of

#: Row order of ``ClickColumns.starts`` and ``lengths``.
TEXT_FIELDS = (
    "event_id",
    "merchant_id",
    "client_id",
    "event_name",
    "product_id",
    "category",
    "query",
    "device",
    "referrer_kind",
)
_EVENT_ID, _MERCHANT, _CLIENT, _NAME, _PRODUCT, _CATEGORY, _QUERY, _DEVICE, _REFERRER = range(len(TEXT_FIELDS))
_QUANTITY_MAX = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True)
class ClickColumns:
    """``n`` clicks before judgement.

    text             uint8 buffer with all strings
    starts, lengths  (9, n) int64 and int32, slices of ``text`` in the order of TEXT_FIELDS; length <= 0 means absent
    occurred_ms, received_ms  (n,) int64
    price_minor, quantity     (n,) int64, NULL_INT when absent
    is_bot           (n,) int64, 0 or 1
    fault            (n,) uint8, faults found before (malformed bytes); those rows are left as they are
    """

    text: U8
    starts: I64
    lengths: I32
    occurred_ms: I64
    received_ms: I64
    price_minor: I64
    quantity: I64
    is_bot: I64
    fault: U8


def _code_table(codes: Iterable[tuple[str, int]]) -> tuple[U64, U8]:
    """Return (hashes sorted ascending, their codes) for a binary search inside compiled code."""
    pairs = sorted((hash64(name.encode()), code) for name, code in codes)
    return np.array([p[0] for p in pairs], dtype=np.uint64), np.array([p[1] for p in pairs], dtype=np.uint8)


_ALIASED = {alias: EVENT_CODES[name] for names in ALIASES.values() for alias, name in names.items()}
_NAME_HASHES, _NAME_CODES = _code_table((EVENT_CODES | _ALIASED).items())
_DEVICE_HASHES, _DEVICE_CODES = _code_table((name, code) for code, name in enumerate(DEVICES) if code)
_REFERRER_HASHES, _REFERRER_CODES = _code_table((name, code) for code, name in enumerate(REFERRERS) if code)


def assemble(columns: ClickColumns) -> EventBatch:
    """Return the batch: times clamped to when the edge received them, text hashed, every row judged.

    An event cannot have happened after it was received: a client's fast clock is cut back to ``received_ms``.
    """
    n = len(columns.occurred_ms)
    events = np.zeros(n, dtype=EVENT)
    key_hash = np.zeros(n, dtype=np.uint64)
    fault = columns.fault.copy()
    text = read_only(columns.text)
    numbers = (columns.occurred_ms, columns.received_ms, columns.price_minor, columns.quantity, columns.is_bot)
    _assemble(
        text, columns.starts, columns.lengths, *[read_only(column) for column in numbers], _NAME_HASHES, _NAME_CODES,
        _DEVICE_HASHES, _DEVICE_CODES, _REFERRER_HASHES, _REFERRER_CODES, events, key_hash, fault,
    )  # fmt: skip
    return EventBatch(
        events=events,
        received_ms=columns.received_ms,
        key_hash=key_hash,
        text=text,
        merchant_start=columns.starts[_MERCHANT],
        merchant_length=columns.lengths[_MERCHANT],
        client_start=columns.starts[_CLIENT],
        client_length=columns.lengths[_CLIENT],
        fault=fault,
    )


@nb.njit(cache=True, nogil=True)
def _look_up(hashes, codes, text, start, length):  # type: ignore[no-untyped-def]
    if length <= 0:
        return np.uint8(0)
    wanted = hash_slice(text, start, length)
    at = np.searchsorted(hashes, wanted)
    if at < len(hashes) and hashes[at] == wanted:
        return codes[at]
    return np.uint8(0)


@nb.njit(cache=True, nogil=True)
def _hash32_or_absent(text, start, length):  # type: ignore[no-untyped-def]
    return fold32(hash_slice(text, start, length)) if length > 0 else np.uint32(0)


@nb.njit(cache=True, nogil=True)
def _assemble(  # type: ignore[no-untyped-def]
    text, starts, lengths, occurred_ms, received_ms, price_minor, quantity, is_bot, name_hashes, name_codes,
    device_hashes, device_codes, referrer_hashes, referrer_codes, events, key_hash, fault,
):  # fmt: skip
    for i in range(len(events)):
        if fault[i] != 0:
            continue
        event = events[i]
        code = _look_up(name_hashes, name_codes, text, starts[_NAME, i], lengths[_NAME, i])
        price = np.float32(np.nan) if price_minor[i] == NULL_INT else np.float32(price_minor[i])
        fault[i] = fault_of(
            lengths[_EVENT_ID, i], lengths[_MERCHANT, i], lengths[_CLIENT, i], code,
            occurred_ms[i], received_ms[i], price,
        )  # fmt: skip
        if fault[i] != 0:
            continue
        event.t = min(occurred_ms[i], received_ms[i])
        event.id = hash_slice(text, starts[_EVENT_ID, i], lengths[_EVENT_ID, i])
        event.product = _hash32_or_absent(text, starts[_PRODUCT, i], lengths[_PRODUCT, i])
        event.category = _hash32_or_absent(text, starts[_CATEGORY, i], lengths[_CATEGORY, i])
        event.query = _hash32_or_absent(text, starts[_QUERY, i], lengths[_QUERY, i])
        event.price = price
        event.quantity = 0 if quantity[i] == NULL_INT else min(max(quantity[i], 0), _QUANTITY_MAX)
        event.event = code
        event.device = _look_up(device_hashes, device_codes, text, starts[_DEVICE, i], lengths[_DEVICE, i])
        event.referrer = _look_up(referrer_hashes, referrer_codes, text, starts[_REFERRER, i], lengths[_REFERRER, i])
        event.flags = FLAG_BOT if is_bot[i] == 1 else 0
        key_hash[i] = hash_key(
            text, starts[_MERCHANT, i], lengths[_MERCHANT, i], starts[_CLIENT, i], lengths[_CLIENT, i]
        )
