"""The strict protocol: types from what is known before a session, or after its first three clicks.

A finished session's code already knows how the session went. Here it never does: types come as probabilities, from a
buyer's earlier sessions or from the first three events, and predictions are scored buyer by buyer.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agent_runtime.alignment.early_types import EarlyTypes, cells
from agent_runtime.alignment.measures import measures
from agent_runtime.alignment.run import OURS, Comparison, Figures, Player
from agent_runtime.crowds.fidelity import jensen_shannon
from agent_runtime.population.population import drawn, quotas
from agent_runtime.traces.behaviour import Behaviour, of_played
from agent_runtime.traces.held_out import earlier_sessions
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from schemas.events import I32, I64

F64 = npt.NDArray[np.float64]

#: Simulated sessions of every type that its purchase rate is taken from; those of its coarse type, and of the crowd,
#: that a rate leans on.
RATE_SESSIONS, COARSE_PRIOR, CROWD_PRIOR = 100, 12.0, 4.0
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
    """Return the figures of buyers who came before, peopled by types told from all their sessions in the past half.

    player  trained on the type of another session of the same buyer. Empty when nobody came back.
    """
    held, encoder = comparison.held, comparison.cast.encoder
    first, end, rows = earlier_sessions(held.past.log, held.future.log)
    if not len(rows):
        return {}
    real = held.future.behaviour.select(rows)
    chances = told_before(encoder, held.past.log, first, end)
    codes = drawn(chances, np.arange(len(rows)), comparison.seed)
    told = held.past.traces.of_other_session(comparison.seed)
    adapter = comparison.adapter("earlier", player, told)
    sessions = of_played(comparison.played(player, codes, adapter))
    asked = np.repeat(np.arange(encoder.size), RATE_SESSIONS).astype(np.int32)
    tried = of_played(comparison.played(player, asked, adapter, turn=1))
    known = np.concatenate([codes, asked])
    rates = Rates.of(known, sessions.and_more(tried), encoder.size, comparison.fine)
    saved = log_loss_saved(chances @ rates.of_type, real.converted)
    found = {
        "earlier_floor": measures(real, held.past.behaviour.select(end - 1)),
        "earlier": measures(real, sessions) | {"log_loss_saved": saved},
    }
    if "no_persona" in comparison.behaviours:
        nobody = comparison.behaviours["no_persona"].select(np.arange(len(rows)))
        found["earlier_no_persona"] = measures(real, nobody) | _constant(nobody, real)
    return found


def told_before(encoder: Encoder, past: SessionLog, first: I64, end: I64) -> F64:
    """Return what each buyer's type may be, (n, K): the mean over their past sessions ``first`` to ``end`` (n,).

    Of each session the encoder says how probable every type is.
    """
    found = encoder.encode(past.batch(), posterior=True).posterior
    assert found is not None
    heaps = np.concatenate([np.zeros((1, encoder.size)), np.cumsum(found, axis=0, dtype=np.float64)])
    total = heaps[end] - heaps[first]
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def by_first_events(comparison: Comparison, early: EarlyTypes) -> dict[str, Figures]:
    """Return the figures of all future sessions, peopled by types told from their first three events.

    ``first_three`` takes them as probabilities of the final types; ``first_three_hard`` takes the early types as if
    they were certain, which is only asked what it foretells of purchases.
    """
    held, cast, adapter = comparison.held, comparison.cast, comparison.adapters[OURS]
    cell, size = cells(held.future.log, cast.encoder), cast.encoder.size
    mix, chances = early.told(cell)
    crowd = replace(comparison.mix, n_effective=float(len(cell)), weights=dict(enumerate(mix)))
    codes = quotas(crowd, len(cell), comparison.seed)
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
