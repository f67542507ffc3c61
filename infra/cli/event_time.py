"""Event times as they are typed for ``simpersona simulate``."""

from datetime import UTC, datetime

from agent_runtime.errors import PopulationError
from schemas.validation import TIME_MAX_MS, TIME_MIN_MS


def time_ms(text: str, option: str) -> int:
    """Return an ISO 8601 time in milliseconds, UTC unless it says otherwise. Raises PopulationError when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PopulationError(f"{option} {text!r} is no ISO 8601 time; write it like 2026-11-23T08:00:00Z.") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def start_ms(text: str, busy_until_ms: int) -> int:
    """Return when a run is to begin, which nothing before ``busy_until_ms`` can: the topic's time has passed it.

    Raises PopulationError when its clicks could not come back.
    """
    begin_ms = time_ms(text, "--start")
    if not TIME_MIN_MS <= begin_ms < TIME_MAX_MS:
        raise PopulationError(f"--start {text}: the stream takes times between the years 2000 and 2100; choose one.")
    if begin_ms < busy_until_ms:
        free = datetime.fromtimestamp(busy_until_ms / 1000, UTC).isoformat(timespec="milliseconds")
        raise PopulationError(f"--start {text}: an earlier run lasts until {free}; begin then or later.")
    return begin_ms
