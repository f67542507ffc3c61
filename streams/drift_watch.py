"""The drift detectors of one partition's merchants: one per merchant and codebook version, live sessions only. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.assignments import AssignmentBatch
from schemas.events import I64
from streams.drift import DriftAlarm, DriftDetector, DriftRules

#: Simulated shoppers copy a mix; only real ones can change it.
WATCHED_SOURCE = "live"


@dataclass(frozen=True, slots=True)
class Ring:
    """An alarm and whose mix it is about."""

    merchant_id: str
    codebook_version: str
    alarm: DriftAlarm


class DriftWatch:
    """Feeds final sessions to detectors, in the order of the merchant's partition, which is the log of record."""

    def __init__(self, rules: DriftRules) -> None:
        self._rules = rules
        self._detectors: dict[tuple[str, str], DriftDetector] = {}

    def update(self, merchant_id: str, codebook_version: str, code: int, ended_ms: int) -> Ring | None:
        """Take in one live final session that counts for the first time."""
        key = (merchant_id, codebook_version)
        detector = self._detectors.get(key)
        if detector is None:
            detector = self._detectors[key] = DriftDetector(self._rules)
        alarm = detector.update(code, ended_ms)
        return Ring(merchant_id, codebook_version, alarm) if alarm is not None else None

    def update_batch(self, batch: AssignmentBatch, fresh: I64) -> list[Ring]:
        """Take in the rows ``fresh`` of a batch; return the alarms they rang. Other sources than live are ignored."""
        if batch.source != WATCHED_SOURCE:
            return []
        columns = (batch.merchant_id[fresh].tolist(), batch.code[fresh].tolist(), batch.ended_ms[fresh].tolist())
        rings = (
            self.update(merchant, batch.codebook_version, code, ended)
            for merchant, code, ended in zip(*columns, strict=True)
        )
        return [ring for ring in rings if ring is not None]

    def forget(self, merchants: Iterable[str]) -> None:
        """Drop the detectors of some merchants; hydration brings them back."""
        gone = set(merchants)
        for key in [key for key in self._detectors if key[0] in gone]:
            del self._detectors[key]
