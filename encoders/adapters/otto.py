"""OTTO: a JSON line per visitor with all clicks, carts and orders of some weeks (github.com/otto-de/recsys-dataset)."""

from encoders.adapters.adapter import Adapter, Layout
from encoders.adapters.conversions import scaled_ms

#: A line's events are numbered within it: room for this many.
_EVENTS_PER_LINE = 1 << 20

_VISITOR = '\'{"session":"VARCHAR","events":[{"aid":"VARCHAR","ts":"VARCHAR","type":"VARCHAR"}]}\''  # fmt: skip

ADAPTER = Adapter(
    name="otto",
    about="OTTO recommender data (train.jsonl, test.jsonl)",
    events={"clicks": "product_viewed", "carts": "product_added_to_cart", "orders": "checkout_completed"},
    layouts=(
        Layout(
            columns=("session", "events"),
            delimiter="",
            header=False,
            rows=f"""
                WITH visitors AS (
                    SELECT *, CASE WHEN malformed THEN NULL ELSE from_json(line::JSON, {_VISITOR}) END AS visitor
                    FROM fields),
                visits AS (
                    SELECT row AS line_row, line, malformed OR visitor.events IS NULL AS malformed,
                        visitor.session AS session,
                        unnest(coalesce(visitor.events, [NULL])) AS event,
                        unnest(generate_series(1, greatest(coalesce(len(visitor.events), 0), 1))) AS position
                    FROM visitors)
                SELECT line_row * {_EVENTS_PER_LINE} + position AS row,
                    CASE WHEN malformed THEN line ELSE to_json({{'session': session, 'event': event}})::VARCHAR END
                        AS line,
                    malformed, session, event.aid AS aid, event.ts AS ts, event.type AS kind
                FROM visits""",
            values={
                "client_id": "session",
                "raw_event": "kind",
                "occurred_text": "ts",
                "occurred_ms": scaled_ms("ts", "1"),
                "product_id": "aid",
                # All articles ordered at one moment are one order.
                "group_key": "CASE WHEN kind = 'orders' THEN ts END",
            },
            required=("product_id",),
        ),
    ),
)
