"""What the dashboard shows, read from ClickHouse: each method is one question and one query."""

import json
import math
from collections.abc import Mapping
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from infra.errors import StoreUnreachableError
from infra.stack.clickhouse import connect, first_line

Row = dict[str, Any]
#: Windows in a picture of a mix over time: more are no wider on any screen.
WINDOWS_SHOWN = 500


class Readings:
    """Questions about the running system. Thread-safe; connects at the first question.

    Rows are ready for JSON: a number that it does not know (infinity, none) is None. Every method raises
    StoreUnreachableError, with a sentence for people, while the store is away or refuses.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    def _rows(self, query: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        try:
            if self._client is None:
                self._client = connect(self._url)
            result = self._client.query(query, parameters=dict(parameters or {}))
        except OperationalError as error:
            raise StoreUnreachableError("The store does not answer; the page goes on once it does.") from error
        except ClickHouseError as error:
            raise StoreUnreachableError(f"The store refuses the question: {first_line(error)}") from error
        return [dict(zip(result.column_names, map(_finite, row), strict=True)) for row in result.result_rows]

    def merchants(self) -> list[Row]:
        """Return every merchant with its live sessions, final and open, and the share that bought, largest first."""
        return self._rows(
            """
            SELECT merchant_id, countIf(is_final) AS sessions, countIf(NOT is_final) AS open,
                   uniqIf(client_id, is_final) AS buyers,
                   if(sessions = 0, 0, avgIf(funnel_stratum = 'D', is_final)) AS reached_checkout,
                   toString(max(ended_at)) AS latest
            FROM sessions WHERE NOT is_bot AND source = 'live'
            GROUP BY merchant_id ORDER BY sessions DESC, merchant_id
            """
        )

    def codebook_version(self, merchant_id: str) -> str:
        """Return the codebook of a merchant's newest mix, "" before the first one."""
        rows = self._rows(
            """
            SELECT argMax(codebook_version, (window_start, emitted_at)) AS version
            FROM merchant_distributions WHERE merchant_id = {merchant:String} AND source = 'live'
            """,
            {"merchant": merchant_id},
        )
        return str(rows[0]["version"]) if rows else ""

    def mix_over_time(self, merchant_id: str, version: str, window: str) -> list[Row]:
        """Return the sessions of each coarse type in the newest windows, oldest first. Versions are never mixed."""
        return self._rows(
            """
            SELECT toUnixTimestamp64Milli(window_start) AS at, splitByChar('.', p.code_path)[1] AS type,
                   sum(d.sessions) AS sessions
            FROM merchant_distributions AS d FINAL
            INNER JOIN personas AS p FINAL ON p.codebook_version = d.codebook_version AND p.code = d.code
            WHERE d.merchant_id = {merchant:String} AND d.window = {window:String} AND d.source = 'live'
              AND d.codebook_version = {version:String}
              AND d.window_start IN
              (
                  SELECT DISTINCT window_start FROM merchant_distributions
                  WHERE merchant_id = {merchant:String} AND window = {window:String} AND source = 'live'
                    AND codebook_version = {version:String}
                  ORDER BY window_start DESC LIMIT {windows:UInt32}
              )
            GROUP BY at, type ORDER BY at, type
            """,
            {"merchant": merchant_id, "version": version, "window": window, "windows": WINDOWS_SHOWN},
        )

    def latest_mix(self, merchant_id: str) -> list[Row]:
        """Return the newest decayed live mix, heaviest type first."""
        return self._rows(
            """
            SELECT code, code_path, persona, weight, n_effective, toString(as_of) AS as_of
            FROM latest_mix WHERE merchant_id = {merchant:String} AND source = 'live' ORDER BY weight DESC
            """,
            {"merchant": merchant_id},
        )

    def drifts(self, merchant_id: str | None = None) -> list[Row]:
        """Return drift events, of one merchant or of all, newest first."""
        rows = self._rows(
            """
            SELECT merchant_id, toUnixTimestamp64Milli(detected_at) AS at, detector, statistic, threshold,
                   n_effective, details
            FROM drift_events FINAL
            WHERE {merchant:String} = '' OR merchant_id = {merchant:String}
            ORDER BY detected_at DESC LIMIT 200
            """,
            {"merchant": merchant_id or ""},
        )
        return [row | {"details": _parsed(row["details"])} for row in rows]

    def personas(self, version: str) -> list[Row]:
        """Return the persona cards of one codebook, largest share first."""
        rows = self._rows(
            """
            SELECT code, code_path, name, sentence, statistics, share
            FROM personas FINAL WHERE codebook_version = {version:String} ORDER BY share DESC
            """,
            {"version": version},
        )
        return [row | {"statistics": _parsed(row["statistics"])} for row in rows]

    def totals(self) -> Row:
        """Return counts of sessions, rejections and simulated sessions, and of books that do not balance."""
        (row,) = self._rows(
            """
            SELECT
                (SELECT count() FROM sessions WHERE is_final) AS final_sessions,
                (SELECT count() FROM sessions WHERE NOT is_final) AS open_sessions,
                (SELECT count() FROM rejected_events FINAL) AS rejected,
                (SELECT count() FROM drift_events FINAL) AS drifts,
                (SELECT count() FROM simulated_sessions FINAL) AS simulated,
                (SELECT count() FROM round_trip) AS returned,
                (SELECT countIf(own_coarse_type) FROM round_trip) AS returned_as_own_type,
                (SELECT countIf(NOT balanced) FROM books) AS unbalanced_books
            """
        )
        return row

    def rejections(self) -> list[Row]:
        """Return how many records were rejected for each reason."""
        return self._rows(
            """
            SELECT failure_kind AS reason, count() AS events
            FROM rejected_events FINAL GROUP BY reason ORDER BY events DESC
            """
        )

    def client_session(self, merchant_id: str, client_id: str) -> Row | None:
        """Return the newest assignment of one visitor (for the demo storefront), None before the first one."""
        rows = self._rows(
            """
            SELECT s.code_path AS code_path, p.name AS name, p.sentence AS sentence, s.confidence AS confidence,
                   s.events AS events, s.is_final AS is_final
            FROM sessions AS s LEFT JOIN personas AS p ON p.codebook_version = s.codebook_version AND p.code = s.code
            WHERE s.merchant_id = {merchant:String} AND s.client_id = {client:String}
            ORDER BY s.ended_at DESC LIMIT 1
            """,
            {"merchant": merchant_id, "client": client_id},
        )
        return rows[0] if rows else None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parsed(text: str) -> Any:
    return json.loads(text or "{}", parse_constant=lambda _: None)
