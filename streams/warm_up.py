"""Compile and load everything a click will meet before the worker joins its group.

A cold compile takes most of a minute, in which no heartbeat could be sent; with numba's cache it is half a second.
``python -m streams.warm_up`` fills that cache beforehand, so that several processes do not compile the same at once.
"""

import time

import numpy as np
import numpy.typing as npt

from encoders.codebook import Codebook, Codes
from encoders.features import session_features
from schemas.assignment_codec import AssignmentDecoder, encode_assignments
from schemas.click_codec import ClickDecoder, encode_click, encode_watermark
from schemas.events import SessionBatch
from schemas.settings import Settings
from streams.broker.fetched import read_batch
from streams.broker.record_batch import packed
from streams.drift.divergence import shift
from streams.sessions.compact import moved
from streams.sessions.emission import SessionEncoder, assignments
from streams.sessions.rules import SessionRules
from streams.sessions.settings import session_rules
from streams.sessions.table import empty_table
from streams.sessions.windows import SessionWindows

_MINUTE_MS = 60_000
_START_MS = 1_700_000_000_000
#: Minutes at which a made-up client clicks: one session, out of order, with a duplicate; then a second session.
_MINUTES = (0, 2, 1, 1, 3, 600)


def warm_up(encoder: SessionEncoder, rules: SessionRules) -> None:
    """Send a few made-up clicks the whole way of a worker's, and forget them."""
    sent = [_click(client, minute) for minute in _MINUTES for client in ("a", "b")]
    [batch] = packed([(b"key", value) for value in (*sent, encode_watermark(_START_MS), b"not a click")], _START_MS)
    clicks = ClickDecoder().decode(read_batch(memoryview(batch._build())).records.values)
    windows = SessionWindows(rules)
    windows.add(clicks.batch, np.arange(len(clicks.batch), dtype=np.int64))
    for provisional in (True, False):
        emission = windows.emit(provisional=provisional)
        rows = assignments(
            emission,
            encoder.encode(emission.sessions, still_open=emission.is_final == 0),
            encoder.version,
            encoder.code_paths,
            "live",
        )
        for _, decoded in AssignmentDecoder().decode(encode_assignments(rows)):
            decoded.merchant_id.tolist()
    again = SessionWindows(rules)
    again.restore(windows.snapshot())
    again.finish_restore()
    again.advance(_START_MS + 2 * max(_MINUTES) * _MINUTE_MS)
    again.emit(provisional=True)
    again.forget_closed()
    moved(empty_table(None)[0], None)
    shift(np.ones(1), 1.0, np.ones(1), 1.0)


_ONE_TYPE = Codebook.uncalibrated(np.ones((1, 1), np.float32), np.ones((1, 1, 1), np.float32))


class _AnyEncoder:
    """Reads features as every encoder does and says that all sessions are of one type."""

    def __init__(self) -> None:
        self.version = "warm-up"
        self.code_paths = ["c00"]

    def encode(self, sessions: SessionBatch, *, still_open: npt.NDArray[np.bool_] | None = None) -> Codes:
        """Return the one type for ``n`` sessions."""
        lengths = np.diff(sessions.offsets)
        session_features(sessions.events, sessions.offsets[:-1], lengths)
        return _ONE_TYPE.assign(np.ones((len(lengths), 2), np.float32), lengths)


def main() -> None:
    """Compile what is not compiled yet and say how long it took."""
    begun_s = time.monotonic()
    warm_up(_AnyEncoder(), session_rules(Settings()))
    print(f"Compiled loops are ready ({time.monotonic() - begun_s:.0f} s).", flush=True)


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


if __name__ == "__main__":
    main()
