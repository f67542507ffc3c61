"""The drift detectors of one partition's merchants: one per merchant and codebook version, live sessions only. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from streams.drift.detectors import DriftAlarm, DriftDetector, DriftRules

#: Simulated shoppers copy a mix; only real ones can change it.
WATCHED_SOURCE = "live"


@dataclass(frozen=True, slots=True)
class Ring:
    """An alarm and whose mix it is about."""

    merchant_id: str
    codebook_version: str
    alarm: DriftAlarm


class DriftWatch:
    """Feeds final sessions to detectors, in the order in which it is given them."""

    def __init__(self, rules: DriftRules) -> None:
        self._rules = rules
        self._detectors: dict[tuple[str, str], DriftDetector] = {}

    def update(self, merchant_id: str, codebook_version: str, code: int, ended_ms: int, type_name: str) -> Ring | None:
        """Take in one live final session that counts for the first time; see ``DriftDetector.update``."""
        key = (merchant_id, codebook_version)
        detector = self._detectors.get(key)
        if detector is None:
            detector = self._detectors[key] = DriftDetector(self._rules)
        alarm = detector.update(code, ended_ms, type_name)
        return Ring(merchant_id, codebook_version, alarm) if alarm is not None else None

    def forget(self, merchants: Iterable[str]) -> None:
        """Drop the detectors of some merchants; hydration brings them back."""
        gone = set(merchants)
        for key in [key for key in self._detectors if key[0] in gone]:
            del self._detectors[key]
