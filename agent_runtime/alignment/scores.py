"""Alignment figures as rows of ``alignment_scores``: each measure with its floor and interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_runtime.alignment.table import AlignmentTable, Estimate
from schemas.simulation import AlignmentScore

#: The merchant of a row that is about all of them.
POOLED = ""
_FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure of one merchant, or POOLED, with what it should be held against; NaN where nothing is known."""

    merchant_id: str
    measure: str
    estimate: Estimate
    floor: float


def score_rows(run_id: str, measured: Sequence[Measured], computed_at_ms: int) -> list[AlignmentScore]:
    """Return the rows of one run."""
    return [
        AlignmentScore(
            run_id=run_id,
            merchant_id=one.merchant_id,
            measure=one.measure,
            value=one.estimate.value,
            floor=one.floor,
            low=one.estimate.low,
            high=one.estimate.high,
            computed_at=computed_at_ms,
        )
        for one in measured
    ]


def measured_of(
    results: Mapping[str, Mapping[str, Mapping[str, float]]], table: AlignmentTable, condition: str
) -> list[Measured]:
    """Return all measures of a condition: each merchant's own, then their mean with its interval."""
    measured, nothing = [], float("nan")
    for merchant_id, figures in results.items():
        floors = figures.get(_FLOOR, {})
        measured += [
            Measured(merchant_id, measure, Estimate(value, nothing, nothing), floors.get(measure, nothing))
            for measure, value in figures.get(condition, {}).items()
        ]
    for measure in table.measures(condition):
        mean, floor = table.mean(condition, measure), table.mean(_FLOOR, measure)
        if mean is not None:
            measured.append(Measured(POOLED, measure, mean, nothing if floor is None else floor.value))
    return measured
