"""Parts of changelog records as Python reads them: the rare ones, and what is said about a damaged one."""

import numpy as np

from schemas.events import EVENT, U8, Events
from streams.errors import SessionStateError
from streams.sessions.records import BLOCK, BLOCK_OF_EVENTS, VERSION, WATERMARK, WATERMARK_KEY

#: The oldest layout that this release reads.
OLDEST_VERSION = 1


def read_watermark(value: bytes) -> int:
    if len(value) != WATERMARK.size or not OLDEST_VERSION <= value[0] <= VERSION:
        raise SessionStateError(damaged(WATERMARK_KEY, value))
    return int(WATERMARK.unpack(value)[1])


def joined_blocks(key: bytes, head: Events, first: int, blocks: dict[int, bytes]) -> Events:
    """Return a hot client's events from its blocks."""
    n, size = int(head[0]["n"]), int(head[0]["block"])
    events = np.empty(n, EVENT)
    for number in range(first // size, (first + n - 1) // size + 1):
        value = blocks.get(number, b"")
        if len(value) < BLOCK.size or not value[0] == VERSION or not value[1] == BLOCK_OF_EVENTS:
            raise SessionStateError(damaged(key, value))
        _, _, count, start = BLOCK.unpack_from(value)
        low, high = max(first, number * size), min(first + n, (number + 1) * size)
        if len(value) != BLOCK.size + count * EVENT.itemsize or not start <= low < high <= start + count:
            raise SessionStateError(damaged(key, value))
        stored = np.frombuffer(value, EVENT, count, BLOCK.size)
        events[low - first : high - first] = stored[low - start : high - start]
    return events


def key_parts(key: bytes) -> tuple[U8, int, int, int, int]:
    """Return a client's key as the compiled code takes it: text, and where merchant and client lie in it."""
    merchant_n = int.from_bytes(key[:2], "little")
    return np.frombuffer(bytearray(key), np.uint8), 2, merchant_n, 2 + merchant_n, len(key) - 2 - merchant_n


def damaged(key: bytes, value: bytes) -> str:
    version = value[0] if value else "none"
    return (
        f"The session state of {key[2:]!r} (version {version}, {len(value)} bytes) cannot be read: this release reads "
        f"versions {OLDEST_VERSION} to {VERSION}. Run the release that wrote it, or delete the topic "
        "sessions.changelog to start anew."
    )
