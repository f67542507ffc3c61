"""What the demo's round came to, measured against what the generator planted."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sklearn.metrics import normalized_mutual_info_score

from infra.stack.clickhouse import connect
from streams.drift.forecast import DAY_MS

#: A planted drift counts as found when an alarm of its merchant comes between its begin and this long after its end: a
#: day, for with two days behind it a change has to be told from a day's rhythm.
FOUND_WITHIN_MS = DAY_MS

_FINALS = """
    SELECT merchant_id, session_id, client_id, toUnixTimestamp64Milli(started_at) AS started_ms,
           toUnixTimestamp64Milli(ended_at) AS ended_ms, code, code_path, is_bot
    FROM sessions WHERE is_final AND source = 'live' AND started_at <= fromUnixTimestamp64Milli({end_ms:Int64})
"""
_ROUND_TRIP = """
    SELECT (SELECT uniqExact(client_id) FROM simulated_sessions FINAL WHERE run_id IN {runs:Array(String)}),
           uniqExact(client_id), uniqExactIf(client_id, own_coarse_type)
    FROM round_trip WHERE run_id IN {runs:Array(String)}
"""
_REJECTED = "SELECT failure_kind, count() FROM rejected_events FINAL GROUP BY 1 ORDER BY 2 DESC"
_ALARMS = "SELECT merchant_id, toUnixTimestamp64Milli(detected_at) FROM drift_events FINAL"
#: Each session's planted type: that of the same client's planted session it overlaps longest.
_MATCH = """
    SELECT f.code AS code, split_part(f.code_path, '.', 1) AS coarse, t.type AS type
    FROM finals AS f
    JOIN read_parquet(?) AS t USING (merchant_id, client_id)
    WHERE t.type >= 0 AND NOT f.is_bot
      AND least(f.ended_ms, t.ended_ms) >= greatest(f.started_ms, t.started_ms)
    QUALIFY row_number() OVER (
        PARTITION BY f.session_id ORDER BY least(f.ended_ms, t.ended_ms) - greatest(f.started_ms, t.started_ms) DESC
    ) = 1
"""


@dataclass(frozen=True, slots=True)
class Drifts:
    """Planted drifts and alarms: ``found`` planted ones had an alarm, ``false_alarms`` alarms had no planted one.

    A mix that goes to and fro once a day is a rhythm, which drift is to be told from: an alarm there is a false one.
    """

    planted: int
    found: int
    alarms: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class Score:
    """The demo's figures; ``nmi`` compares coarse types with planted ones, ``own_type`` is the round trip's share."""

    events: int
    sessions: int
    bot_sessions: int
    assignments: int
    merchants: int
    rejected: dict[str, int]
    drifts: Drifts
    codes_used: int
    coarse_codes_used: int
    nmi: float
    nmi_full_code: float
    simulated_sessions: int
    returned_sessions: int
    own_type: float
    books_balanced: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON."""
        return asdict(self)


def score(clickhouse: str, truth: Path, runs: Sequence[str], events: int) -> Score:
    """Read the store and the truth and return the figures of the replayed ``events`` and of the simulation ``runs``.

    Raises StoreUnreachableError when the store does not answer.
    """
    summary = json.loads(truth.with_suffix(".json").read_text())
    end_ms = round(datetime.fromisoformat(summary["end"]).timestamp() * 1000)
    client = connect(clickhouse)
    try:
        finals = client.query_arrow(_FINALS, parameters={"end_ms": end_ms})
        alarms = client.query(_ALARMS).result_rows
        rejected = client.query(_REJECTED).result_rows
        ((simulated, returned, own),) = client.query(_ROUND_TRIP, parameters={"runs": list(runs)}).result_rows
        ((unbalanced,),) = client.query("SELECT countIf(NOT balanced) FROM books").result_rows
    finally:
        client.close()
    matched = match(finals, truth)
    types = matched["type"].to_numpy()
    return Score(
        events=events,
        sessions=len(finals),
        bot_sessions=sum(finals["is_bot"].to_pylist()),
        assignments=len(finals) + int(returned),
        merchants=len(set(finals["merchant_id"].to_pylist())),
        rejected={str(kind): int(count) for kind, count in rejected},
        drifts=match_drifts(summary["drifts"], [(str(merchant), int(at)) for merchant, at in alarms]),
        codes_used=len(set(matched["code"].to_pylist())),
        coarse_codes_used=len(set(matched["coarse"].to_pylist())),
        nmi=float(normalized_mutual_info_score(types, matched["coarse"].to_pylist())),
        nmi_full_code=float(normalized_mutual_info_score(types, matched["code"].to_numpy())),
        simulated_sessions=int(simulated),
        returned_sessions=int(returned),
        own_type=own / returned if returned else 0.0,
        books_balanced=unbalanced == 0,
    )


def match(finals: pa.Table, truth: Path) -> pa.Table:
    """Return (code, coarse, planted type) of every live session that overlaps a planted one; bots are left out."""
    with duckdb.connect() as database:
        database.register("finals", finals)
        return database.sql(_MATCH, params=[str(truth)]).to_arrow_table()


def match_drifts(planted: list[dict[str, Any]], alarms: list[tuple[str, int]]) -> Drifts:
    """Hold alarms (merchant, time in ms) against planted drifts; several alarms of one drift are one find."""

    def explains(drift: dict[str, Any], alarm: tuple[str, int]) -> bool:
        merchant, at_ms = alarm
        end_ms = max(drift["at_ms"], drift["until_ms"] or drift["at_ms"])
        return bool(drift["merchant_id"] == merchant and drift["at_ms"] <= at_ms <= end_ms + FOUND_WITHIN_MS)

    drifts = [drift for drift in planted if not (drift["kind"] == "seasonal" and drift["period_ms"] == DAY_MS)]
    return Drifts(
        planted=len(drifts),
        found=sum(any(explains(drift, alarm) for alarm in alarms) for drift in drifts),
        alarms=len(alarms),
        false_alarms=sum(not any(explains(drift, alarm) for drift in drifts) for alarm in alarms),
    )
