"""Compile and load everything a click will meet before the worker joins its group.

A cold compile takes seconds in which no heartbeat could be sent; with numba's cache it is half a second.
"""

import numpy as np

from schemas.assignment_codec import AssignmentDecoder, encode_assignments
from schemas.click_codec import ClickDecoder, encode_click, encode_watermark
from streams.emission import SessionEncoder, assignments
from streams.session_rules import SessionRules
from streams.sessions import SessionWindows

_MINUTE_MS = 60_000
_START_MS = 1_700_000_000_000
#: Minutes at which a made-up client clicks: one session, out of order, with a duplicate; then a second session.
_MINUTES = (0, 2, 1, 1, 3, 600)


def warm_up(encoder: SessionEncoder, rules: SessionRules) -> None:
    """Send a few made-up clicks through decoder, sessions, encoder and codecs, and forget them."""
    values = [_click(client, minute) for minute in _MINUTES for client in ("a", "b")]
    clicks = ClickDecoder().decode([*values, encode_watermark(_START_MS), b"not a click"])
    windows = SessionWindows(rules)
    windows.add(clicks.batch, np.arange(len(clicks.batch), dtype=np.int64))
    for provisional in (True, False):
        emission = windows.emit(provisional=provisional)
        rows = assignments(emission, encoder.encode(emission.sessions), encoder.version, encoder.code_paths, "live")
        AssignmentDecoder().decode(encode_assignments(rows))
    again = SessionWindows(rules)
    for key, value in windows.snapshot():
        again.restore(key, value)
    again.advance(_START_MS + 2 * max(_MINUTES) * _MINUTE_MS)
    again.emit(provisional=True)


def _click(client: str, minute: int) -> bytes:
    at_ms = _START_MS + minute * _MINUTE_MS
    return encode_click(
        {
            "event_id": f"{client}{minute}",
            "merchant_id": "warm-up",
            "client_id": client,
            "event_name": "product_viewed",
            "occurred_at": at_ms,
            "received_at": at_ms,
            "product_id": "p",
            "category": "c",
            "price_minor": 100,
            "currency": "EUR",
            "quantity": 1,
            "query": None,
            "url_path": "/",
            "referrer_kind": "direct",
            "device": "desktop",
            "is_bot": False,
            "schema_version": 1,
            "properties": {},
        }
    )
