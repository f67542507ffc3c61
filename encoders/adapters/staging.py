"""SQL of an import: lines to fields, fields to judged rows, rows to events, events to their final times."""

from encoders.adapters.adapter import DEFAULT_VALUES, Adapter, Layout
from encoders.adapters.conversions import literal
from encoders.adapters.raw_file import RawFile, normal
from encoders.event_log import ARROW_SCHEMA
from schemas.validation import ID_BYTES_MAX, TIME_MAX_MS, TIME_MIN_MS

#: A longer line is no click; OTTO's longest have some tens of kilobytes. Reading buffers are sixteen times as large.
_LINE_BYTES_MAX = 1 << 20
#: A character that no text file has, so that a whole line is one field.
_NO_DELIMITER = "\0"

CREATE_STAGED = """
CREATE TABLE staged (
    file INTEGER, row BIGINT, reason VARCHAR, raw VARCHAR, merchant_id VARCHAR, client_id VARCHAR, event_id VARCHAR,
    raw_event VARCHAR, event_name VARCHAR, occurred_ms BIGINT, received_ms BIGINT, product_id VARCHAR,
    category VARCHAR, price_minor BIGINT, currency VARCHAR, quantity INTEGER, query VARCHAR, url_path VARCHAR,
    referrer_kind VARCHAR, device VARCHAR, is_bot BOOLEAN, properties MAP(VARCHAR, VARCHAR), group_key VARCHAR)"""

#: Lines that DuckDB's reader itself refuses, as staged rows; its table of refusals is made anew for every file.
STAGE_REFUSED = """
INSERT INTO staged BY NAME
SELECT getvariable('file')::INTEGER AS file, line AS row, csv_line AS raw,
    CASE error_type WHEN 'INVALID ENCODING' THEN 'bad_encoding' WHEN 'LINE SIZE OVER MAXIMUM' THEN 'oversized_line'
        ELSE 'malformed_row' END AS reason
FROM reject_errors"""

_ORDERS = "('checkout_completed', 'checkout_started', 'payment_info_submitted')"
_IN_CARTS = "('product_added_to_cart', 'product_removed_from_cart', 'cart_viewed')"


def fields_view(file: RawFile) -> str:
    """Return the view ``fields`` over one file: its lines, numbered, and for delimited ones their columns as text.

    Every line is read as one field and split here, not by a CSV reader: so a stray quote spoils its own line alone and
    a rejected row can be kept as it came. A quoted field may not hold a line break.
    """
    path = "".join(f"[{c}]" if c in "[*?" else c for c in str(file.path))
    lines = f"""
        SELECT row_number() OVER () AS row, line FROM read_csv({literal(path)}, columns = {{'line': 'VARCHAR'}},
            auto_detect = false, strict_mode = false, delim = '{_NO_DELIMITER}', quote = '', escape = '',
            header = {str(file.layout.header).lower()}, max_line_size = {_LINE_BYTES_MAX},
            compression = '{"gzip" if file.gzipped else "none"}', store_rejects = true, rejects_limit = 0)"""
    if not file.layout.delimiter:
        is_object = "coalesce(json_type(TRY_CAST(line AS JSON)) = 'OBJECT', false)"
        return f"""
            CREATE OR REPLACE TEMP VIEW fields AS
            SELECT row, line, NOT {is_object} AS malformed FROM ({lines}) WHERE line IS NOT NULL"""
    wanted = set(map(normal, file.layout.columns))
    columns = ", ".join(
        f"nullif(trim(field[{place}]), '') AS \"{name}\"" for place, name in enumerate(file.fields, 1) if name in wanted
    )
    return f"""
        CREATE OR REPLACE TEMP VIEW fields AS
        SELECT row, line, len(field) <> {len(file.fields)} OR list_count(field) <> len(field) AS malformed, {columns}
        FROM (SELECT row, line, {_split(file.layout.delimiter)} AS field FROM ({lines}) WHERE line IS NOT NULL)"""


def stage(adapter: Adapter, layout: Layout) -> str:
    """Return the statement that judges every row of ``fields`` and keeps it, with the reason if it is rejected."""
    values = ", ".join(f"{sql} AS {name}" for name, sql in ({**DEFAULT_VALUES, **layout.values}).items())
    names = " ".join(f"WHEN {literal(raw)} THEN {literal(name)}" for raw, name in adapter.events.items())
    missing = " ".join(f"WHEN {name} IS NULL THEN 'missing_{name}'" for name in layout.required)
    in_range = f"BETWEEN {TIME_MIN_MS} AND {TIME_MAX_MS - 1}"
    oversized = " OR ".join(
        f"coalesce(strlen({name}), 0) > {ID_BYTES_MAX}" for name in ("merchant_id", "client_id", "event_id")
    )
    return f"""
        INSERT INTO staged BY NAME
        WITH valued AS (SELECT row, line, malformed, {values} FROM ({layout.rows})),
        named AS (SELECT *, CASE raw_event {names} END AS event_name FROM valued),
        judged AS (SELECT *, CASE
            WHEN malformed THEN 'malformed_row'
            WHEN merchant_id IS NULL THEN 'missing_merchant_id'
            WHEN client_id IS NULL THEN 'missing_client_id'
            WHEN {oversized} THEN 'oversized_id'
            WHEN raw_event IS NULL THEN 'missing_event_name'
            WHEN event_name IS NULL THEN 'unknown_event'
            WHEN event_name = '' THEN 'no_canonical_event'
            WHEN occurred_text IS NULL THEN 'missing_occurred_at'
            WHEN coalesce(occurred_ms {in_range}, false) = false THEN 'bad_time'
            WHEN received_text IS NOT NULL AND coalesce(received_ms {in_range}, false) = false THEN 'bad_time'
            {missing}
            WHEN price_text IS NOT NULL AND coalesce(price_minor, -1) < 0 THEN 'bad_price'
            WHEN quantity_text IS NOT NULL AND coalesce(quantity, -1) < 0 THEN 'bad_quantity'
            END AS reason FROM named)
        SELECT getvariable('file')::INTEGER AS file, row, reason, CASE WHEN reason IS NOT NULL THEN line END AS raw,
            merchant_id, client_id, event_id, raw_event, event_name, occurred_ms,
            coalesce(received_ms, occurred_ms) AS received_ms, product_id, category, price_minor, currency,
            quantity, query, url_path, referrer_kind, device, is_bot, properties, group_key
        FROM judged"""


def _one(name: str) -> str:
    """The value of a group on which all of its rows agree."""
    return f"CASE WHEN min({name}) = max({name}) AND count({name}) = count(*) THEN min({name}) END"


def _agreed(name: str) -> str:
    return f"{_one(name)} AS {name}"


#: Rows of one group as one event. Of a group's values those on which its rows agree are kept; an order of several items
#: has their total as its price and the number of its products among its properties; a list is of no product.
CREATE_GROUPED = f"""
CREATE TABLE grouped AS
SELECT file, min(row) AS row, merchant_id, client_id, event_name,
    min(occurred_ms) AS occurred_ms, min(received_ms) AS received_ms,
    CASE WHEN event_name <> 'collection_viewed' THEN {_one("product_id")} END AS product_id, {_agreed("category")},
    CASE WHEN count(*) = 1 OR event_name NOT IN {_ORDERS} THEN {_one("price_minor")}
        WHEN count(price_minor) = count(*) THEN sum(price_minor * coalesce(quantity, 1)) END::BIGINT AS price_minor,
    {_agreed("currency")}, CASE WHEN count(*) = 1 THEN min(quantity) END AS quantity, bool_or(is_bot) AS is_bot,
    CASE WHEN count(*) > 1 AND event_name IN {_ORDERS}
        THEN map_concat(arg_min(properties, row), MAP {{'products': count(DISTINCT product_id)::VARCHAR}})
        ELSE arg_min(properties, row) END AS properties, group_key
FROM staged WHERE reason IS NULL AND group_key IS NOT NULL
GROUP BY file, merchant_id, client_id, event_name, group_key"""

#: One row per event, with an id made from its content and its row where the log gives none.
CREATE_EVENTS = f"""
CREATE VIEW events AS
SELECT * REPLACE (
    coalesce(event_id, md5(concat_ws('\x1f', merchant_id, client_id, event_name, occurred_ms,
        coalesce(product_id, ''), row))) AS event_id,
    CASE WHEN price_minor IS NOT NULL AND (event_name IN {_ORDERS} OR event_name IN {_IN_CARTS})
        THEN coalesce(quantity, 1) ELSE quantity END AS quantity)
FROM (
    SELECT * EXCLUDE (reason, raw, raw_event) FROM staged WHERE reason IS NULL AND group_key IS NULL
    UNION ALL BY NAME
    SELECT *, NULL AS event_id, NULL AS query, NULL AS url_path, NULL AS referrer_kind, NULL AS device FROM grouped)"""

_CLIENT_ORDER = "(PARTITION BY merchant_id, client_id ORDER BY occurred_ms, file, row)"

#: By how much an event's time moves so that a client's events have strictly increasing times in the log's own order:
#: the i-th goes to i + max over j <= i of (t_j - j), no farther than the ties before it need. Only the moved ones.
CREATE_MOVED = f"""
CREATE TABLE moved AS
SELECT file, row, latest + place - occurred_ms AS by_ms
FROM (SELECT *, max(occurred_ms - place) OVER {_CLIENT_ORDER} AS latest
    FROM (SELECT file, row, merchant_id, client_id, occurred_ms, row_number() OVER {_CLIENT_ORDER} AS place
        FROM events))
WHERE latest + place <> occurred_ms"""

#: In place of the above for logs whose times stay as they are.
CREATE_UNMOVED = "CREATE TABLE moved (file INTEGER, row BIGINT, by_ms BIGINT)"

CREATE_TIMED = """
CREATE VIEW timed AS
SELECT * EXCLUDE (by_ms) REPLACE (
    occurred_ms + coalesce(by_ms, 0) AS occurred_ms, received_ms + coalesce(by_ms, 0) AS received_ms)
FROM events LEFT JOIN moved USING (file, row)"""

_CANONICAL = {
    "occurred_at": "occurred_ms AS occurred_at",
    "received_at": "received_ms AS received_at",
    "schema_version": "1::INTEGER AS schema_version",
}
#: The canonical log, times still as milliseconds.
SELECT_EVENTS = f"""
SELECT {", ".join(_CANONICAL.get(name, name) for name in ARROW_SCHEMA.names)}
FROM timed ORDER BY occurred_ms, file, row"""

#: What the lists showed, with the time and id of the ``collection_viewed`` event that each stands for.
SELECT_IMPRESSIONS = """
SELECT merchant_id, client_id, timed.occurred_ms AS occurred_at, staged.product_id AS product_id,
    (row_number() OVER (PARTITION BY file, merchant_id, client_id, group_key ORDER BY staged.row))::INTEGER AS position,
    timed.event_id AS event_id
FROM staged JOIN timed USING (file, merchant_id, client_id, event_name, group_key)
WHERE staged.reason IS NULL AND staged.raw_event = getvariable('impressions')
ORDER BY timed.occurred_ms, file, staged.row"""


def _split(delimiter: str) -> str:
    """Fields of ``line``: split at the delimiter, or by the rules of RFC 4180 where the line has a quote.

    A field that opens a quote and does not close it is NULL, which no field of a well-formed line is.
    """
    quoted = f"""
        list_transform(
            regexp_extract_all({literal(delimiter)} || line, '{delimiter}("(?:[^"]|"")*"|[^{delimiter}]*)', 1),
            lambda item: CASE WHEN regexp_full_match(item, '"(?:[^"]|"")*"') THEN replace(item[2:-2], '""', '"')
                WHEN starts_with(item, '"') THEN NULL ELSE item END)"""
    return f"CASE WHEN contains(line, '\"') THEN {quoted} ELSE string_split(line, {literal(delimiter)}) END"
