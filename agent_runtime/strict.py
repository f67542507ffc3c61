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
from agent_runtime.held_out import earlier_sessions
from agent_runtime.population import quotas
from schemas.events import I32

F64 = npt.NDArray[np.float64]

#: Clicks of a session that the early types are told from.
EARLY_EVENTS = 3
#: Simulated sessions of every type that its purchase rate is taken from, and the crowd's sessions it leans on.
RATE_SESSIONS, RATE_PRIOR = 24, 4.0
#: Rounds of the deconvolution, and the least share a type is taken to have before it.
_ROUNDS, _LEAST_SHARE = 30, 1e-4
#: No prediction is surer than this.
_LEAST_CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Rates:
    """Purchase rate of each of K types at one storefront, (K,), as simulated; ``crowd`` is that of all together."""

    of_type: F64
    crowd: float

    @staticmethod
    def of(codes: I32, behaviour: Behaviour, size: int) -> "Rates":
        """Return the rates of simulated sessions with these types, each leaning on the crowd's."""
        shown = np.bincount(codes, minlength=size)
        bought = np.bincount(codes, behaviour.converted, minlength=size)
        crowd = float(behaviour.converted.mean())
        return Rates((bought + RATE_PRIOR * crowd) / (shown + RATE_PRIOR), crowd)


def log_loss_saved(chances: F64, converted: npt.NDArray[np.bool_]) -> float:
    """Return the share of the log loss that ``chances`` (n,) of buying save over the best constant, at most 1.

    The constant is the rate of the very sessions asked about, so that nothing is gained by knowing it.
    """
    base = _loss(np.full(len(converted), converted.mean()), converted)
    return 1.0 - _loss(chances, converted) / base if base > 0 else float("nan")


def _loss(chances: F64, converted: npt.NDArray[np.bool_]) -> float:
    sure = np.clip(chances, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    return float(-np.log(np.where(converted, sure, 1.0 - sure)).mean())


def deconvolved(posterior: F64, usual: F64) -> tuple[F64, F64]:
    """Return a crowd's mix (K,) and each session's probabilities under it (n, K).

    posterior (n, K) as the encoder gives it, under the ``usual`` mix (K,) that it was calibrated on. Expectation
    maximisation over the mix alone (Saerens, Latinne and Decaestecker 2002).
    """
    mix = np.maximum(usual, _LEAST_SHARE)
    likelihood = posterior / mix
    for _ in range(_ROUNDS):
        own = likelihood * mix
        own /= own.sum(axis=1, keepdims=True)
        mix = own.mean(axis=0)
    return mix, own


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
    rates = Rates.of(np.concatenate([codes, asked]), sessions.and_more(tried), len(player.vocabulary.code_paths))
    found = {
        "earlier_floor": measures(real, held.past.behaviour.select(before)),
        "earlier": measures(real, sessions) | {"log_loss_saved": log_loss_saved(rates.of_type[codes], real.converted)},
    }
    if "no_persona" in comparison.behaviours:
        nobody = comparison.behaviours["no_persona"].select(np.arange(len(rows)))
        found["earlier_no_persona"] = measures(real, nobody) | _constant(nobody, real)
    return found


def by_first_events(comparison: Comparison) -> dict[str, Figures]:
    """Return the figures of all future sessions, peopled by types told from their first three events.

    ``first_three`` takes them as probabilities of the final types, deconvolved; ``first_three_hard`` counts the early
    types as if they were certain.
    """
    held, cast, plan, adapter = comparison.held, comparison.cast, comparison.plan, comparison.adapters[OURS]
    log, size = held.future.log, cast.encoder.size
    lengths = np.minimum(log.lengths, EARLY_EVENTS)
    told = cast.encoder.codebook.assign(cast.encoder.latents(log.events, log.starts, lengths), lengths, posterior=True)
    posterior = np.asarray(told.posterior, np.float64)
    usual = posterior.mean(axis=0) if cast.training is None else _shares(cast.training.traces.code, size)
    mix, posterior = deconvolved(posterior, usual)
    found: dict[str, Figures] = {}
    for name, weights in (("first_three", mix), ("first_three_hard", _shares(told.code, size))):
        crowd = replace(comparison.mix, n_effective=float(len(log)), weights=dict(enumerate(weights)))
        codes = quotas(crowd, len(log), plan.seed)
        found[name] = measures(held.future.behaviour, of_played(comparison.played(cast.persona, codes, adapter)))
    codes = np.concatenate([codes for codes, _ in comparison.by_token])
    behaviour = comparison.by_token[0][1]
    for _, more in comparison.by_token[1:]:
        behaviour = behaviour.and_more(more)
    rates = Rates.of(codes, behaviour, size)
    converted = held.future.behaviour.converted
    found["first_three"]["log_loss_saved"] = log_loss_saved(posterior @ rates.of_type, converted)
    found["first_three_hard"]["log_loss_saved"] = log_loss_saved(rates.of_type[told.code], converted)
    return found


def _constant(nobody: Behaviour, real: Behaviour) -> Figures:
    chances = np.full(len(real), nobody.converted.mean())
    return {"log_loss_saved": log_loss_saved(chances, real.converted)}


def _shares(codes: I32, size: int) -> F64:
    return np.bincount(codes, minlength=size) / len(codes)
