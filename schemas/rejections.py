"""Why an event could not be used. The index is what travels in columns, the name what is stored and shown."""

REASONS = (
    "",
    "malformed_avro",
    "unknown_schema",
    "empty_id",
    "oversized_id",
    "unknown_event",
    "bad_time",
    "bad_price",
    "late",
    "behind_watermark",
)
CODE_OF_REASON = {name: code for code, name in enumerate(REASONS) if name}
