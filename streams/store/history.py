"""What the store already holds of some merchants: the memory of mixes and drift detectors is hydrated from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from streams.drift.detectors import DETECTORS
from streams.mixes.distribution import DAY_MS, MINUTE_MS, StoredCounts
from streams.mixes.rows import MixKey
from streams.store import buyers
from streams.store.connection import Store

#: Merchants asked for in one query: their names travel in its text.
_MERCHANTS_A_QUERY = 500

#: Later than any session: the last day that DateTime64 holds.
_NEVER_MS = 10_413_705_600_000

_COUNTED = """
SELECT
    merchant_id,
    source,
    codebook_version,
    code,
    any(code_path) AS path,
    intDiv(toUnixTimestamp64Milli(ended_at), %(minute_ms)s) AS minute,
    toInt64(count()) AS sessions,
    groupArrayIf(session_id, has(%(days)s, intDiv(minute, %(minutes_a_day)s))) AS session_ids
FROM session_assignments FINAL
WHERE merchant_id IN %(merchants)s
  AND is_final AND NOT is_bot AND superseded_by = ''
  AND (
      ended_at >= fromUnixTimestamp64Milli(%(since_ms)s, 'UTC')
      OR has(%(days)s, intDiv(toUnixTimestamp64Milli(ended_at), %(day_ms)s))
  )
GROUP BY merchant_id, source, codebook_version, code, minute
"""

# Newest first, so that LIMIT BY keeps the newest; sessions up to the last alarm are part of no baseline any more.
_RECENT = """
SELECT
    s.merchant_id AS merchant_id,
    s.codebook_version AS codebook_version,
    s.code AS code,
    s.code_path AS code_path,
    toUnixTimestamp64Milli(s.ended_at) AS ended_ms
FROM session_assignments AS s FINAL
LEFT JOIN
(
    SELECT merchant_id, codebook_version, max(detected_at) AS last_at
    FROM drift_events
    WHERE detector IN %(detectors)s AND merchant_id IN %(merchants)s
    GROUP BY merchant_id, codebook_version
) AS d ON d.merchant_id = s.merchant_id AND d.codebook_version = s.codebook_version
WHERE s.merchant_id IN %(merchants)s
  AND s.source = %(source)s
  AND s.is_final AND NOT s.is_bot AND s.superseded_by = ''
  AND s.ended_at > d.last_at
ORDER BY merchant_id, codebook_version, ended_at DESC, session_id DESC
LIMIT %(most)s BY merchant_id, codebook_version
"""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One final session in the order in which a drift detector takes it."""

    merchant_id: str
    codebook_version: str
    code: int
    code_path: str
    ended_ms: int


class History:
    """Reads finished sessions back from ClickHouse. Every method raises RetryLater or StoreError as ``Store`` does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def counted(self, merchants: Iterable[str], days: Iterable[int], since_ms: int | None) -> Iterator[StoredCounts]:
        """Yield counts of the merchants' final sessions that ended on one of ``days`` or since ``since_ms``, if given.

        Session ids come only with the days. ``days`` are ``ended_ms // DAY_MS``.
        """
        for names in _portions(merchants):
            parameters = {
                "merchants": names,
                "days": sorted(days),
                "since_ms": _NEVER_MS if since_ms is None else max(0, since_ms),
                "minute_ms": MINUTE_MS,
                "minutes_a_day": DAY_MS // MINUTE_MS,
                "day_ms": DAY_MS,
            }
            table = self._store.select(_COUNTED, parameters)
            columns = [table.column(name).to_pylist() for name in table.column_names]
            for merchant, source, version, code, path, minute, sessions, ids in zip(*columns, strict=True):
                session_ids = np.array(ids, dtype="S16")
                yield StoredCounts(MixKey(merchant, source), version, code, path, minute, sessions, session_ids)

    def recent(self, merchants: Iterable[str], source: str, most: int) -> Iterator[StoredSession]:
        """Yield each merchant's newest ``most`` final sessions since its last drift alarm, oldest first."""
        for names in _portions(merchants):
            parameters = {"merchants": names, "source": source, "detectors": DETECTORS, "most": most}
            table = self._store.select(_RECENT, parameters)
            columns = [table.column(name).to_pylist()[::-1] for name in table.column_names]
            for row in zip(*columns, strict=True):
                yield StoredSession(*row)

    def newest_buyer_ms(self) -> int:
        """Return when ``buyer_assignments`` was last written, by the store's clock; 0 when it is empty."""
        return int(self._store.select(buyers.NEWEST).column(0)[0].as_py())


def _portions(merchants: Iterable[str]) -> Iterator[tuple[str, ...]]:
    names = sorted(set(merchants))
    return (tuple(names[i : i + _MERCHANTS_A_QUERY]) for i in range(0, len(names), _MERCHANTS_A_QUERY))
