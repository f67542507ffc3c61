"""What makes a well-formed click unusable: the same rules for the stream's decoder and for event logs."""

import numba as nb
import numpy as np

from schemas.rejections import CODE_OF_REASON

#: Longest event, merchant or client id in bytes; far above any real one, low enough to bound state.
ID_BYTES_MAX = 256
#: Times outside 2000-01-01 … 2100-01-01 UTC are broken clocks or wrong units, not clicks.
TIME_MIN_MS = 946_684_800_000
TIME_MAX_MS = 4_102_444_800_000

_EMPTY_ID = np.uint8(CODE_OF_REASON["empty_id"])
_OVERSIZED_ID = np.uint8(CODE_OF_REASON["oversized_id"])
_UNKNOWN_EVENT = np.uint8(CODE_OF_REASON["unknown_event"])
_BAD_TIME = np.uint8(CODE_OF_REASON["bad_time"])
_BAD_PRICE = np.uint8(CODE_OF_REASON["bad_price"])


@nb.njit(cache=True, nogil=True)
def fault_of(
    event_id_length: int,
    merchant_length: int,
    client_length: int,
    event_code: int,
    occurred_ms: int,
    received_ms: int,
    price_minor: float,
) -> np.uint8:
    """Return 0 for a usable click, else the reason's code; lengths in bytes, ``price_minor`` NaN when absent."""
    if event_id_length <= 0 or merchant_length <= 0 or client_length <= 0:
        return _EMPTY_ID
    if event_id_length > ID_BYTES_MAX or merchant_length > ID_BYTES_MAX or client_length > ID_BYTES_MAX:
        return _OVERSIZED_ID
    if event_code == 0:
        return _UNKNOWN_EVENT
    if not (TIME_MIN_MS <= occurred_ms < TIME_MAX_MS and TIME_MIN_MS <= received_ms < TIME_MAX_MS):
        return _BAD_TIME
    if price_minor < 0.0:
        return _BAD_PRICE
    return np.uint8(0)
