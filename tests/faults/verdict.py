"""The question that every fault test ends with: are the rows those of the offline pass, and do the books balance?"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from infra.stack.clickhouse import connect
from schemas.topics import CLICKS_RAW, PERSONAS_DISTRIBUTION
from streams.mixes.distribution import WINDOWS_MS
from streams.store.tables import SCHEMAS
from tests.faults.clicks import Clicks, Rows, rows_by_key
from tests.faults.kafka_log import read_topic

#: Examples of what is wrong that a failing test shows.
EXAMPLES = 5
COLUMNS = SCHEMAS["session_assignments"].names

_WINDOWS = ", ".join(f"('{window}', {length_ms})" for window, length_ms in WINDOWS_MS.items())
#: Windows whose count is not the number of session rows that end in them.
UNBALANCED = f"""
SELECT merchant_id, codebook_version, source, code, window, start_ms, sum(sessions) AS difference
FROM
(
    SELECT merchant_id, codebook_version, source, code, length.1 AS window,
           intDiv(toUnixTimestamp64Milli(ended_at), length.2) * length.2 AS start_ms, toInt64(count()) AS sessions
    FROM sessions ARRAY JOIN [{_WINDOWS}] AS length
    WHERE is_final AND NOT is_bot
    GROUP BY ALL
    UNION ALL
    SELECT merchant_id, codebook_version, source, code, window, toUnixTimestamp64Milli(window_start) AS start_ms,
           -toInt64(sessions) AS sessions
    FROM merchant_distributions FINAL
    WHERE window != 'decayed'
)
GROUP BY ALL
HAVING difference != 0
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the table of faults.

    fault        what was done; times  how often
    events       records sent, second copies and malformed payloads included
    rows         final rows compared with the offline pass, column by column
    differences  rows missing, unexpected or unequal, and provisional rows that nothing replaced
    duplicates   sessions that a reader using FINAL sees twice
    unbalanced   windows of all lengths whose count is not that of the session rows
    misjudged    records rejected that should not be, not rejected that should be, or with another reason
    mixes        merchants whose mix on `personas.distribution` is not the stored one
    catch_up_s   from the last record sent, or the fault's end if later, until everything was committed
    """

    fault: str
    times: int
    events: int
    rows: int
    differences: int
    duplicates: int
    unbalanced: int
    misjudged: int
    mixes: int
    catch_up_s: float
    examples: list[str] = field(default_factory=list)

    @property
    def problems(self) -> dict[str, int | list[str]]:
        """What must be empty at the end of a fault test."""
        names = ("differences", "duplicates", "unbalanced", "misjudged", "mixes")
        wrong = {name: count for name, count in asdict(self).items() if name in names and count}
        return wrong | ({"examples": self.examples} if wrong else {})


def judge(fault: str, times: int, bootstrap: str, clickhouse: str, clicks: Clicks, catch_up_s: float) -> Verdict:
    """Compare what the broker and the store hold with the offline pass over the same log."""
    examples: list[str] = []
    with connect(clickhouse) as client:
        stored = _final_rows(client)
        differences = _differences(stored, clicks, examples) + _standing_provisional(client, examples)
        unbalanced = _found(client, UNBALANCED, examples)
        duplicates = client.command(
            "SELECT count() - uniqExact(merchant_id, session_id) FROM session_assignments FINAL"
        )
        events, misjudged = _misjudged(client, bootstrap, clicks, examples)
        mixes = _stale_mixes(client, bootstrap, examples)
    return Verdict(
        fault, times, events, len(stored), differences, int(duplicates), unbalanced, misjudged, mixes, catch_up_s,
        examples[:EXAMPLES],
    )  # fmt: skip


def _final_rows(client: Client) -> Rows:
    found = client.query_arrow(f"SELECT {', '.join(COLUMNS)} FROM sessions WHERE is_final", use_strings=True)
    return rows_by_key(found.cast(pa.schema(SCHEMAS["session_assignments"])))


def _differences(stored: Rows, clicks: Clicks, examples: list[str]) -> int:
    """Every row must be that of the offline pass with the row's own encoder."""
    version_at = COLUMNS.index("codebook_version") - 2
    expected = next(iter(clicks.offline.values()))
    wrong = expected.keys() - stored.keys()
    examples += [f"missing: {key} {expected[key]}" for key in sorted(wrong)[:EXAMPLES]]
    differ = {key for key, row in stored.items() if clicks.offline[str(row[version_at])].get(key) != row}
    for key in sorted(differ)[:EXAMPLES]:
        examples.append(
            f"differs: {key} {stored[key]}, offline {clicks.offline[str(stored[key][version_at])].get(key)}"
        )
    return len(wrong) + len(differ)


def _standing_provisional(client: Client, examples: list[str]) -> int:
    return _found(client, "SELECT merchant_id, session_id, revision, events FROM sessions WHERE NOT is_final", examples)


def _found(client: Client, query: str, examples: list[str]) -> int:
    found = client.query(query)
    for row in found.result_rows[:EXAMPLES]:
        examples.append(", ".join(f"{name}={value}" for name, value in zip(found.column_names, row, strict=True)))
    return len(found.result_rows)


def _misjudged(client: Client, bootstrap: str, clicks: Clicks, examples: list[str]) -> tuple[int, int]:
    """Return the number of records sent and of those judged wrongly.

    A record that came a second time, an outage or a test's intent behind it, may also be `behind_watermark`: its
    session is over and forgotten.
    """
    sent = read_topic(bootstrap, CLICKS_RAW)
    rejected = {
        (row[0], row[1]): row[2]
        for row in client.query(
            f"SELECT partition, offset, failure_kind FROM rejected_events FINAL WHERE topic = '{CLICKS_RAW}'"
        ).result_rows
    }
    seen: Counter[bytes | None] = Counter()
    events = wrong = 0
    for record in sent:
        if record.key is None:
            continue
        events += 1
        again = seen[record.value] > 0
        seen[record.value] += 1
        reason = rejected.pop((record.partition, record.offset), None)
        if reason != clicks.reason_of.get(record.value) and not (again and reason == "behind_watermark"):
            wrong += 1
            examples.append(
                f"record {record.partition}/{record.offset}: {reason}, not {clicks.reason_of.get(record.value)}"
            )
    examples += [f"rejected, never sent: {where}" for where in rejected]
    return events, wrong + len(rejected)


def _stale_mixes(client: Client, bootstrap: str, examples: list[str]) -> int:
    stored: dict[str, dict[str, float]] = {}
    query = "SELECT merchant_id, codebook_version, toString(code), weight FROM latest_mix WHERE source = 'live'"
    for merchant, version, code, weight in client.query(query).result_rows:
        stored.setdefault(f"{merchant} {version}", {})[code] = weight
    published = {
        record.key: json.loads(record.value or b"{}") for record in read_topic(bootstrap, PERSONAS_DISTRIBUTION)
    }
    latest = {f"{mix['merchant_id']} {mix['codebook_version']}": mix["weights"] for mix in published.values()}
    stale = sorted(mix for mix in stored.keys() | latest.keys() if stored.get(mix) != latest.get(mix))
    examples += [f"published mix of {mix} is not the stored one" for mix in stale]
    return len(stale)
