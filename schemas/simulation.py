"""Rows of the simulation tables, one frozen dataclass per table; times are milliseconds since the epoch, UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulationRun:
    """A row of ``simulation_runs``; ``manifest`` is the JSON text from which the run can be repeated."""

    run_id: str
    merchant_id: str
    started_at: int
    finished_at: int
    codebook_version: str
    seed: int
    buyers: int
    backend: str
    manifest: str


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """A row of ``simulated_sessions``: what one simulated shopper was meant to be and how its visit went."""

    run_id: str
    merchant_id: str
    client_id: str
    agent: int
    intended_code: int
    intended_path: str
    events: int
    outcome: str
    crashed: bool
    started_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class AlignmentScore:
    """A row of ``alignment_scores``: one measure with its noise floor and confidence interval."""

    run_id: str
    merchant_id: str
    measure: str
    value: float
    floor: float
    low: float
    high: float
    computed_at: int
