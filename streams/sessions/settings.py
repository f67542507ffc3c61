"""Session rules from the settings: the same for workers and for the offline pass."""

import json
from pathlib import Path

from schemas.settings import Settings
from streams.errors import SessionRuleError
from streams.sessions.rules import SessionRules


def session_rules(settings: Settings) -> SessionRules:
    """Return the rules the settings ask for. Raises SessionRuleError when the file of merchants' gaps is wrong."""
    return SessionRules(
        gap_ms=settings.gap_ms,
        allowed_lateness_ms=settings.allowed_lateness_ms,
        session_max_ms=settings.session_max_ms,
        session_max_events=settings.session_max_events,
        gap_overrides_ms=_overrides(settings.session_overrides) if settings.session_overrides else {},
    )


def _overrides(path: Path) -> dict[str, int]:
    try:
        gaps = json.loads(path.read_text())
        json.dumps(gaps, ensure_ascii=False).encode()  # a name that is no text is none of a merchant's
    except OSError as error:
        raise SessionRuleError(f"{path} (SIMPERSONA_SESSION_OVERRIDES) cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SessionRuleError(f"{path} (SIMPERSONA_SESSION_OVERRIDES) is not JSON: {error}.") from error
    if not isinstance(gaps, dict) or not all(type(gap) is int for gap in gaps.values()):
        raise SessionRuleError(f"{path} (SIMPERSONA_SESSION_OVERRIDES) must be an object of merchant: gap_ms.")
    return gaps
