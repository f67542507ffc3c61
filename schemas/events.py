"""Events in columns: what the decoder makes, the session windows keep and the encoder reads.

Strings that only have to be *compared* (event id, product, category, query) travel as hashes of their UTF-8 bytes;
strings that must come out again (merchant and client) travel as slices of one byte buffer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: One event as kept in an open session: 40 bytes, aligned. ``t`` is milliseconds since the epoch, UTC; ``id`` is the
#: 64-bit hash of event_id; ``product``, ``category`` and ``query`` are 32-bit hashes, 0 when absent; ``price`` is in
#: minor units (NaN when absent); ``event``, ``device`` and ``referrer`` are codes of ``schemas.taxonomy``.
EVENT = np.dtype(
    [
        ("t", "<i8"),
        ("id", "<u8"),
        ("product", "<u4"),
        ("category", "<u4"),
        ("query", "<u4"),
        ("price", "<f4"),
        ("quantity", "<u2"),
        ("event", "u1"),
        ("device", "u1"),
        ("referrer", "u1"),
        ("flags", "u1"),
        # Fills the 40 bytes: numpy drops padding without a name when it joins arrays, and makes another type of them.
        ("spare", "<u2"),
    ]
)

#: Bits of ``flags``.
FLAG_BOT = 1  # the edge said that a bot made this event
FLAG_EMITTED = 2  # a session starting at this event has been emitted (kept by the session windows)

Events = npt.NDArray[np.void]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """``n`` decoded events of any merchants and clients, in the order they arrived.

    events       (n,) EVENT
    received_ms  (n,) int64, when the edge received the event
    key_hash     (n,) uint64, hash of ``merchant_id 0x1F client_id``
    text         uint8 buffer that the four slices below point into
    merchant_start, client_start  (n,) int64; merchant_length, client_length  (n,) int32
    fault        (n,) uint8, 0 = usable, otherwise an index into ``schemas.rejections.REASONS``
    """

    events: Events
    received_ms: I64
    key_hash: U64
    text: U8
    merchant_start: I64
    merchant_length: I32
    client_start: I64
    client_length: I32
    fault: U8

    def __len__(self) -> int:
        return len(self.events)

    def part(self, first: int, end: int) -> "EventBatch":
        """Return the rows ``first <= row < end``, without a copy."""
        rows = slice(first, end)
        return EventBatch(
            events=self.events[rows],
            received_ms=self.received_ms[rows],
            key_hash=self.key_hash[rows],
            text=self.text,
            merchant_start=self.merchant_start[rows],
            merchant_length=self.merchant_length[rows],
            client_start=self.client_start[rows],
            client_length=self.client_length[rows],
            fault=self.fault[rows],
        )

    def merchant(self, row: int) -> str:
        """Return the merchant id of one row (for messages and tests, not for the hot path)."""
        start = int(self.merchant_start[row])
        return self.text[start : start + int(self.merchant_length[row])].tobytes().decode()

    def client(self, row: int) -> str:
        """Return the client id of one row (for messages and tests, not for the hot path)."""
        start = int(self.client_start[row])
        return self.text[start : start + int(self.client_length[row])].tobytes().decode()


@dataclass(frozen=True, slots=True)
class SessionBatch:
    """``n`` sessions to be encoded, ragged.

    events   (total,) EVENT, the sessions' events one session after another, each sorted by (t, id)
    offsets  (n + 1,) int64, session i is ``events[offsets[i]:offsets[i + 1]]``
    """

    events: Events
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @staticmethod
    def joined(parts: Sequence["SessionBatch"]) -> "SessionBatch":
        """Return the sessions of several batches (one or more), one after another."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return SessionBatch(np.concatenate([part.events for part in parts]), offsets)
