"""Google Analytics 360, flat extract: one row per hit and product, milliseconds since the session began, no clock.

Times are made: a visitor's first visit of the day starts at a moment fixed by their id, and each further visit (in the
order of ``visitNumber``) two hours after the one before it ended. The day comes from the file's name or ``--day``.

A hit that shows a list (action 0) is one ``collection_viewed``; the products in it are impressions, kept apart. GA360
sends a click in a list (1) and the detail page it opens (2) as hits of the same moment, in either order, and lets
checkout and purchase hits repeat: what follows the same thing within five seconds is one event.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import properties, spread_ms, whole

_START_RANGE_MS = 12 * 3_600_000
#: Between two visits: longer than any session gap in use, so that visits stay apart.
_PAUSE_MS = 2 * 3_600_000
#: Hits of one moment.
_MOMENT_MS = 5_000
#: Google Analytics ends a visit at midnight, so a later hit is a wrong number.
_VISIT_MAX_MS = 86_400_000

_IMPRESSION = "0"
_SUBJECT = """CASE WHEN actiontype IN ('1', '2') THEN concat_ws(' ', 'view', productsku)
    WHEN actiontype IN ('5', '6') THEN actiontype END"""

ADAPTER = Adapter(
    name="ga360",
    about="Google Analytics 360, rows of hit x product (ga_sessions_20170801.csv)",
    events={
        _IMPRESSION: "collection_viewed",
        "1": "product_viewed",
        "2": "product_viewed",
        "3": "product_added_to_cart",
        "4": "product_removed_from_cart",
        "5": "checkout_started",
        "6": "checkout_completed",
    },
    needs_day=True,
    layouts=(
        Layout(
            columns=("fullVisitorId", "visitNumber", "action_type", "productSKU", "time", "hitNumber"),
            rows=f"""
                WITH hits AS (
                    SELECT *, {whole("visitnumber")} AS visit, {whole("hitnumber")} AS hit, {_SUBJECT} AS subject,
                        CASE WHEN {whole("time")} BETWEEN 0 AND {_VISIT_MAX_MS} THEN {whole("time")} END AS since_ms
                    FROM fields),
                visits AS (SELECT fullvisitorid, visit, max(since_ms) AS length_ms FROM hits GROUP BY ALL),
                starts AS (
                    SELECT fullvisitorid, visit, {spread_ms("fullvisitorid", _START_RANGE_MS)}
                        + coalesce(sum(length_ms + {_PAUSE_MS}) OVER (
                            PARTITION BY fullvisitorid ORDER BY visit
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start_ms
                    FROM visits),
                steps AS (
                    SELECT *, since_ms - lag(since_ms) OVER (
                        PARTITION BY fullvisitorid, visit, subject ORDER BY since_ms, hit, row) > {_MOMENT_MS} AS later
                    FROM hits),
                moments AS (
                    SELECT *, sum(CASE WHEN later THEN 1 ELSE 0 END) OVER (
                        PARTITION BY fullvisitorid, visit, subject ORDER BY since_ms, hit, row) AS moment
                    FROM steps)
                SELECT moments.*, start_ms FROM moments
                LEFT JOIN starts USING (fullvisitorid, visit)""",
            values={
                "client_id": "fullvisitorid",
                "raw_event": "actiontype",
                "occurred_text": '"time" || visitnumber || hitnumber',
                "occurred_ms": "TRY_CAST(getvariable('day_ms') + start_ms + since_ms AS BIGINT)",
                "product_id": "productsku",
                "properties": properties({"session": "visitnumber"}),
                "group_key": f"CASE WHEN actiontype = '{_IMPRESSION}' THEN concat_ws(' ', 'list', visit, hit) "
                "WHEN subject IS NOT NULL THEN concat_ws(' ', visit, subject, moment) END",
            },
            required=("product_id",),
            impressions=_IMPRESSION,
        ),
    ),
)
