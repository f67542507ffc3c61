"""What one check of `simpersona doctor` has to say."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found and, unless it is well, what to do."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""
