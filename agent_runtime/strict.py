"""The strict protocol: types from what is known before a session, or after its first three clicks.

A finished session's code already knows how the session went. Here it never does: types come from a buyer's earlier
session, or as probabilities from the first three events, and predictions are scored buyer by buyer.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agent_runtime.alignment import measures
from agent_runtime.alignment_run import OURS, Comparison, Figures, Player
from agent_runtime.behaviour import Behaviour, of_played
from agent_runtime.early_types import EarlyTypes, cells
from agent_runtime.fidelity import jensen_shannon
from agent_runtime.held_out import earlier_sessions
from agent_runtime.population import quotas
from schemas.events import I32

F64 = npt.NDArray[np.float64]

#: Simulated sessions of every type that its purchase rate is taken from; those of its coarse type, and of the crowd,
#: that a rate leans on.
RATE_SESSIONS, COARSE_PRIOR, CROWD_PRIOR = 24, 12.0, 4.0
#: No prediction is surer than this.
_LEAST_CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Rates:
    """Purchase rate of each of K types at one storefront, (K,), as simulated; ``crowd`` is that of all together."""

    of_type: F64
    crowd: float

    @staticmethod
    def of(codes: I32, behaviour: Behaviour, size: int, fine: int = 1) -> "Rates":
        """Return the rates of simulated sessions with these types.

        Each leans on that of its coarse type (``fine`` codes each), that one on the crowd's.
        """
        shown = np.bincount(codes, minlength=size).astype(np.float64)
        bought = np.bincount(codes, behaviour.converted, minlength=size)
        crowd = float(behaviour.converted.mean())
        shown_coarse, bought_coarse = (counts.reshape(-1, fine).sum(axis=1) for counts in (shown, bought))
        coarse = np.repeat((bought_coarse + CROWD_PRIOR * crowd) / (shown_coarse + CROWD_PRIOR), fine)
        return Rates((bought + COARSE_PRIOR * coarse) / (shown + COARSE_PRIOR) if fine > 1 else coarse, crowd)


def log_loss_saved(chances: F64, converted: npt.NDArray[np.bool_]) -> float:
    """Return the share of the log loss that ``chances`` (n,) of buying save over the best constant, at most 1.

    The constant is the rate of the very sessions asked about, so that nothing is gained by knowing it.
    """
    base = _loss(np.full(len(converted), converted.mean()), converted)
    return 1.0 - _loss(chances, converted) / base if base > 0 else float("nan")


def _loss(chances: F64, converted: npt.NDArray[np.bool_]) -> float:
    sure = np.clip(chances, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    return float(-np.log(np.where(converted, sure, 1.0 - sure)).mean())


def by_earlier_session(comparison: Comparison, player: Player) -> dict[str, Figures]:
    """Return the figures of buyers who came before, peopled by the type of their last session in the past half.

    player  trained on the type of another session of the same buyer. Empty when nobody came back.
    """
    held, plan = comparison.held, comparison.plan
    before, rows = earlier_sessions(held.past.log, held.future.log)
    if not len(rows):
        return {}
    real = held.future.behaviour.select(rows)
    codes = held.past.traces.code[before]
    told = held.past.traces.of_other_session(plan.seed)
    adapter = comparison.adapter("earlier", player, told)
    sessions = of_played(comparison.played(player, codes, adapter))
    kinds = np.unique(codes)
    asked = np.repeat(kinds, RATE_SESSIONS).astype(np.int32)
    tried = of_played(comparison.played(player, asked, adapter, turn=1))
    known, size = np.concatenate([codes, asked]), comparison.cast.encoder.size
    rates = Rates.of(known, sessions.and_more(tried), size, comparison.fine)
    found = {
        "earlier_floor": measures(real, held.past.behaviour.select(before)),
        "earlier": measures(real, sessions) | {"log_loss_saved": log_loss_saved(rates.of_type[codes], real.converted)},
    }
    if "no_persona" in comparison.behaviours:
        nobody = comparison.behaviours["no_persona"].select(np.arange(len(rows)))
        found["earlier_no_persona"] = measures(real, nobody) | _constant(nobody, real)
    return found


def by_first_events(comparison: Comparison, early: EarlyTypes) -> dict[str, Figures]:
    """Return the figures of all future sessions, peopled by types told from their first three events.

    ``first_three`` takes them as probabilities of the final types; ``first_three_hard`` takes the early types as if
    they were certain, which is only asked what it foretells of purchases.
    """
    held, cast, adapter = comparison.held, comparison.cast, comparison.adapters[OURS]
    cell, size = cells(held.future.log, cast.encoder), cast.encoder.size
    mix, chances = early.told(cell)
    crowd = replace(comparison.mix, n_effective=float(len(cell)), weights=dict(enumerate(mix)))
    codes = quotas(crowd, len(cell), comparison.plan.seed)
    sessions = of_played(comparison.played(cast.persona, codes, adapter))
    asked = np.concatenate([codes, *(codes for codes, _ in comparison.by_token)])
    behaviour = sessions
    for _, more in comparison.by_token:
        behaviour = behaviour.and_more(more)
    rates, converted = Rates.of(asked, behaviour, size), held.future.behaviour.converted
    real = held.future.traces.code
    return {
        "first_three": measures(held.future.behaviour, sessions)
        | {
            "log_loss_saved": log_loss_saved(chances @ rates.of_type, converted),
            "round_trip_js_full": jensen_shannon(mix, np.bincount(real, minlength=size) / len(real)),
        },
        "first_three_hard": {"log_loss_saved": log_loss_saved(rates.of_type[cell % size], converted)},
    }


def _constant(nobody: Behaviour, real: Behaviour) -> Figures:
    chances = np.full(len(real), nobody.converted.mean())
    return {"log_loss_saved": log_loss_saved(chances, real.converted)}
