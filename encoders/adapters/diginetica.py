"""DIGINETICA (CIKM Cup 2016): item views, searches and purchases, by day and milliseconds since the session began.

Times are made: a session starts at a moment of its day fixed by its id, the same in all files of the log. Most sessions
name no user; the session then stands for the client.
"""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import local_ms, properties, spread_ms, whole

_START_RANGE_MS = 20 * 3_600_000

_SESSION = {
    "client_id": "coalesce(nullif(userid, 'NA'), 'session-' || sessionid)",
    "occurred_text": "eventdate || timeframe || sessionid",
    "occurred_ms": local_ms("eventdate", "%Y-%m-%d")
    + f" + {spread_ms('sessionid', _START_RANGE_MS)} + {whole('timeframe')}",
    "properties": properties({"session": "sessionid"}),
}

ADAPTER = Adapter(
    name="diginetica",
    about="DIGINETICA, CIKM Cup 2016 (train-item-views.csv, train-queries.csv, train-purchases.csv)",
    events={
        "view": "product_viewed",
        "purchase": "checkout_completed",
        "search": "search_submitted",
        "browse": "collection_viewed",
    },
    layouts=(
        Layout(
            columns=("queryId", "sessionId", "userId", "timeframe", "eventdate", "searchstring.tokens", "categoryId"),
            delimiter=";",
            values=_SESSION
            | {
                # A query without words is the opening of a category page.
                "raw_event": "CASE WHEN searchstringtokens IS NOT NULL THEN 'search' ELSE 'browse' END",
                "query": "searchstringtokens",
                "category": "nullif(categoryid, '0')",
            },
        ),
        Layout(
            columns=("sessionId", "userId", "timeframe", "eventdate", "ordernumber", "itemId"),
            delimiter=";",
            values=_SESSION
            | {
                "raw_event": "'purchase'",
                "product_id": "itemid",
                "group_key": "coalesce(ordernumber, timeframe)",
            },
            required=("product_id",),
        ),
        Layout(
            columns=("sessionId", "userId", "itemId", "timeframe", "eventdate"),
            delimiter=";",
            values=_SESSION | {"raw_event": "'view'", "product_id": "itemid"},
            required=("product_id",),
        ),
    ),
)
