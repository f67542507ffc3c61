"""Rejected events as the store keeps them, read back a page at a time in the order in which they came."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.rejections import REASONS
from schemas.topics import SOURCE_OF_TOPIC
from streams.store.connection import Store

#: Rows of a page. A payload has at most half a MiB, so a page of the worst of them stays below 256 MiB.
PAGE_ROWS = 500
#: Reasons that rest on when an event came, not on what it is: sent back it would come later still.
TOO_LATE = frozenset({"late", "behind_watermark"})
#: All others: a fix can make such an event usable.
MENDABLE = tuple(reason for reason in REASONS if reason and reason not in TOO_LATE)

_WHERE = """
WHERE topic IN %(topics)s AND failure_kind IN %(reasons)s
  AND received_at >= fromUnixTimestamp64Milli(%(since_ms)s, 'UTC')
  AND received_at < fromUnixTimestamp64Milli(%(until_ms)s, 'UTC')
"""

_LANES = f"""
SELECT topic, partition, toInt64(count()) AS rejections
FROM rejected_events FINAL
{_WHERE}
GROUP BY topic, partition
ORDER BY topic, partition
"""

_PAGE = f"""
SELECT failure_kind, toUnixTimestamp64Milli(received_at) AS received_ms, offset, payload
FROM rejected_events FINAL
{_WHERE} AND topic = %(topic)s AND partition = %(partition)s
  AND (offset, toUnixTimestamp64Milli(received_at)) > (%(after)s, %(after_ms)s)
ORDER BY offset, received_at
LIMIT %(rows)s
"""

_REPLAYED = """
SELECT DISTINCT offset, toUnixTimestamp64Milli(received_at) AS received_ms
FROM replayed_events
WHERE topic = %(topic)s AND partition = %(partition)s AND offset BETWEEN %(first)s AND %(last)s
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rejected events: their reasons, and the broker's time of their records in [since_ms, until_ms)."""

    reasons: Sequence[str]
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One partition of a click topic and how many rejected events of it are selected."""

    topic: str
    partition: int
    rejections: int


@dataclass(frozen=True, slots=True)
class Page:
    """``n`` rejected events of one lane by offset; ``replayed`` says which were sent back before.

    reasons, received_ms, offsets, payloads, replayed are lists of n.
    """

    lane: Lane
    reasons: list[str]
    received_ms: list[int]
    offsets: list[int]
    payloads: list[bytes]
    replayed: list[bool]


class RejectedEvents:
    """Reads ``rejected_events``. Every method raises RetryLater or StoreError as ``Store`` does."""

    def __init__(self, store: Store, selection: Selection) -> None:
        self._store = store
        self._parameters = {
            "topics": tuple(SOURCE_OF_TOPIC),
            "reasons": tuple(selection.reasons),
            "since_ms": selection.since_ms,
            "until_ms": selection.until_ms,
        }

    def lanes(self) -> list[Lane]:
        """Return the partitions that have selected events."""
        return [Lane(**row) for row in _rows(self._store.select(_LANES, self._parameters))]

    def pages(self, lane: Lane) -> Iterator[Page]:
        """Yield a lane's selected events, each once, however often its rejection was written."""
        after = after_ms = -1
        place = {"topic": lane.topic, "partition": lane.partition}
        while True:
            wanted = self._parameters | place | {"after": after, "after_ms": after_ms, "rows": PAGE_ROWS}
            rows = _rows(self._store.select(_PAGE, wanted))
            if not rows:
                return
            first, after, after_ms = rows[0]["offset"], rows[-1]["offset"], rows[-1]["received_ms"]
            known = _rows(self._store.select(_REPLAYED, place | {"first": first, "last": after}))
            replayed = {(row["offset"], row["received_ms"]) for row in known}
            yield Page(
                lane=lane,
                reasons=[row["failure_kind"] for row in rows],
                received_ms=[row["received_ms"] for row in rows],
                offsets=[row["offset"] for row in rows],
                payloads=[row["payload"] for row in rows],
                replayed=[(row["offset"], row["received_ms"]) in replayed for row in rows],
            )


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    # The store says that a payload is a string, which in Arrow would have to be UTF-8.
    columns = {name: table.column(name) for name in table.column_names}
    if "payload" in columns:
        columns["payload"] = columns["payload"].cast(pa.binary())
    rows: list[dict[str, Any]] = pa.table(columns).to_pylist()
    return rows
