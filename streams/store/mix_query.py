"""A merchant's mix as people read it: shares with the names of the personas, and the drift marks up to then."""

from dataclasses import dataclass

from streams.errors import UnknownMerchantError
from streams.mixes.distribution import DECAYED, WINDOWS_MS
from streams.store.connection import Store

WINDOWS = (DECAYED, *WINDOWS_MS)
#: Merchants named in the sentence about an unknown one, and drift marks shown.
_MOST_NAMED = 10
_MOST_DRIFTS = 10

_NEWEST = """
SELECT codebook_version, toUnixTimestamp64Milli(window_start) AS start_ms
FROM merchant_distributions
WHERE merchant_id = %(merchant)s AND window = %(window)s AND source = 'live'
  AND window_start <= fromUnixTimestamp64Milli(%(at_ms)s, 'UTC')
ORDER BY window_start DESC, emitted_at DESC
LIMIT 1
"""
_SHARES = """
SELECT d.code AS code, p.code_path AS code_path, p.name AS persona, d.weight AS weight, d.sessions AS sessions,
       d.total AS total, d.n_effective AS n_effective
FROM merchant_distributions AS d FINAL
LEFT JOIN (SELECT * FROM personas FINAL WHERE codebook_version = %(version)s) AS p ON p.code = d.code
WHERE d.merchant_id = %(merchant)s AND d.window = %(window)s AND d.source = 'live'
  AND d.codebook_version = %(version)s AND d.window_start = fromUnixTimestamp64Milli(%(start_ms)s, 'UTC')
ORDER BY weight DESC, code
"""
_DRIFTS = """
SELECT toUnixTimestamp64Milli(detected_at) AS detected_ms, detector, statistic, threshold, details
FROM drift_events FINAL
WHERE merchant_id = %(merchant)s AND detected_at <= fromUnixTimestamp64Milli(%(at_ms)s, 'UTC')
ORDER BY detected_at DESC
LIMIT %(most)s
"""
_MERCHANTS = """
SELECT DISTINCT merchant_id FROM merchant_distributions WHERE source = 'live' ORDER BY merchant_id LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Share:
    """One buyer type's part of a mix; ``code_path`` and ``persona`` are empty for a codebook that nobody registered."""

    code: int
    code_path: str
    persona: str
    weight: float
    sessions: int


@dataclass(frozen=True, slots=True)
class DriftMark:
    """One drift event; ``details`` is its JSON text."""

    detected_ms: int
    detector: str
    statistic: float
    threshold: float
    details: str


@dataclass(frozen=True, slots=True)
class MerchantMix:
    """A merchant's live mix in one window, the largest share first. Times are ms UTC."""

    merchant_id: str
    window: str
    window_start_ms: int
    codebook_version: str
    sessions: int
    n_effective: float
    shares: list[Share]
    drifts: list[DriftMark]


def merchant_mix(store: Store, merchant_id: str, window: str, at_ms: int) -> MerchantMix:
    """Return the newest mix of a merchant that began at or before a time; ``window`` is one of ``WINDOWS``.

    Raises UnknownMerchantError when there is none, naming merchants that have one, or as ``Store`` does.
    """
    asked = {"merchant": merchant_id, "window": window, "at_ms": at_ms}
    newest = store.select(_NEWEST, asked).to_pylist()
    if not newest:
        raise UnknownMerchantError(_nothing_there(store, merchant_id, window))
    version, start_ms = newest[0]["codebook_version"], newest[0]["start_ms"]
    rows = store.select(_SHARES, {**asked, "version": version, "start_ms": start_ms}).to_pylist()
    drifts = store.select(_DRIFTS, {**asked, "most": _MOST_DRIFTS}).to_pylist()
    return MerchantMix(
        merchant_id=merchant_id,
        window=window,
        window_start_ms=start_ms,
        codebook_version=version,
        sessions=rows[0]["total"],
        n_effective=rows[0]["n_effective"],
        shares=[Share(row["code"], row["code_path"], row["persona"], row["weight"], row["sessions"]) for row in rows],
        drifts=[DriftMark(**row) for row in drifts],
    )


def _nothing_there(store: Store, merchant_id: str, window: str) -> str:
    known = store.select(_MERCHANTS, {"most": _MOST_NAMED + 1}).column(0).to_pylist()
    if merchant_id in known:
        return f"Merchant {merchant_id!r} has no mix in window {window!r} by then; ask for a later time."
    if not known:
        return f"Merchant {merchant_id!r} is unknown and so is every other: no worker has counted a session yet."
    names = ", ".join(known[:_MOST_NAMED]) + (", …" if len(known) > _MOST_NAMED else "")
    return f"Merchant {merchant_id!r} is unknown or has no finished session; known merchants are {names}."
