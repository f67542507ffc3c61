"""Champion or challenger: figures of two codebooks on recent sessions that neither was made from, and the verdict.

No labels are at hand in life, so the gate asks what a codebook is for: does it stand near the sessions (quantisation
error), is it used (perplexity), is its confidence true (calibration), does a code foretell what the session came to
(purchase and funnel stratum, the two heads of the training), and do two sessions of one buyer share a type (what the
training's contrast is about)? A challenger must be better in something and worse in nothing.
"""

from dataclasses import dataclass
from math import isnan

import numpy as np
import numpy.typing as npt

from encoders.adaptation import quantisation_error
from encoders.batches import outcomes
from encoders.calibration import Beginnings, draw_beginnings
from encoders.codebook import F32, F64
from encoders.errors import TrainingDataError
from encoders.metrics import calibration_error, perplexity, same_buyer_agreement
from encoders.serving import Encoder
from encoders.sessionise import SessionLog
from schemas.events import I64
from schemas.taxonomy import STRATA

#: With fewer sessions held back, differences of a point are noise.
LEAST_HELD_BACK = 500
#: What counts as a difference: of an error in parts of the champion's, of a share or a probability as it is. Where a
#: figure is a mean over sessions, twice the standard error of the difference if that is more.
DIFFERENCE = 0.01
#: Part of the buyers that is held back.
HELD_BACK_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Criterion:
    """One figure of both. ``margin`` is how much is a difference; ``gain`` and ``loss`` are of the challenger.

    Neither is true where the figure does not exist for these sessions (NaN).
    """

    name: str
    champion: float
    challenger: float
    margin: float
    more_is_better: bool
    may_win: bool = True

    @property
    def gain(self) -> bool:
        """Whether the challenger is better by more than the margin, in a figure that may decide for it."""
        return self.may_win and self._lead() > self.margin

    @property
    def loss(self) -> bool:
        """Whether the challenger is worse by more than the margin."""
        return self._lead() < -self.margin

    def _lead(self) -> float:
        lead = self.challenger - self.champion
        return lead if self.more_is_better else -lead


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger takes over, and why."""

    sessions: int
    criteria: tuple[Criterion, ...]

    @property
    def accepted(self) -> bool:
        """Better in something, worse in nothing."""
        return any(one.gain for one in self.criteria) and not any(one.loss for one in self.criteria)

    @property
    def reason(self) -> str:
        """The verdict in one sentence."""
        losses = [one.name.replace("_", " ") for one in self.criteria if one.loss]
        gains = [one.name.replace("_", " ") for one in self.criteria if one.gain]
        if losses:
            return f"The challenger is worse in {' and '.join(losses)}."
        if not gains:
            return "The challenger is better in nothing that would be worth a change."
        return f"The challenger is better in {' and '.join(gains)} and worse in nothing."


def split_held_back(log: SessionLog, seed: int) -> tuple[SessionLog, SessionLog]:
    """Return (to adapt to, held back): whole buyers, so that no buyer is on both sides."""
    mixed = (log.key ^ np.uint64(seed + 1)) * np.uint64(0xD6E8FEB86659FD93)
    held_back = (mixed >> np.uint64(11)) / 2.0**53 < HELD_BACK_SHARE
    return log.select(~held_back), log.select(held_back)


def require_enough(held_back: SessionLog) -> None:
    """Raise TrainingDataError when too few sessions are held back to compare anything by."""
    if len(held_back) < LEAST_HELD_BACK:
        raise TrainingDataError(
            f"Only {len(held_back)} recent sessions are held back for the comparison, {LEAST_HELD_BACK} are needed; "
            "give more events."
        )


def judge(
    champion: Encoder, challenger: Encoder, recent: SessionLog, held_back: SessionLog, seed: int, one_network: bool
) -> Verdict:
    """Compare both on held-back sessions; rates of outcomes are learnt from the ``recent`` ones.

    ``one_network`` says that both have the same latents, so that distances may be compared. Raises TrainingDataError
    as ``require_enough``.
    """
    require_enough(held_back)
    begun = draw_beginnings(held_back.lengths, seed)
    old, new = (_figures(encoder, recent, held_back, begun) for encoder in (champion, challenger))
    criteria = [
        Criterion("perplexity", old.perplexity, new.perplexity, 0.1 * old.perplexity, True, may_win=False),
        Criterion("calibration_error", old.calibration, new.calibration, DIFFERENCE, more_is_better=False),
        _saved("purchase_foretold", old.purchase, new.purchase),
        _saved("stratum_foretold", old.stratum, new.stratum),
        Criterion("buyers_recognised", old.buyers, new.buyers, DIFFERENCE, more_is_better=True),
    ]
    if one_network:
        mean = float(old.error.mean())
        margin = max(DIFFERENCE * mean, _noise(old.error, new.error))
        criteria.insert(0, Criterion("quantisation_error", mean, float(new.error.mean()), margin, more_is_better=False))
    return Verdict(len(held_back), tuple(one for one in criteria if not isnan(one.champion + one.challenger)))


@dataclass(frozen=True, slots=True)
class _Figures:
    """Figures of one codebook; error (n,) per session, purchase and stratum (n,) log loss as parts of the base's."""

    error: F64
    perplexity: float
    calibration: float
    purchase: F64
    stratum: F64
    buyers: float


def _figures(encoder: Encoder, recent: SessionLog, held_back: SessionLog, begun: Beginnings) -> _Figures:
    fine_size = encoder.codebook.fine.shape[1]
    latents = encoder.latents(held_back.events, held_back.starts, held_back.lengths)
    learnt = encoder.latents(recent.events, recent.starts, recent.lengths)
    final = encoder.codebook.assign(latents, held_back.lengths).code
    seen = encoder.codebook.assign(learnt, recent.lengths).code
    (seen_stratum, seen_bought), (stratum, bought) = outcomes(recent), outcomes(held_back)
    same, chance = same_buyer_agreement(final // fine_size, held_back.key, held_back.merchant)
    return _Figures(
        error=quantisation_error(encoder.codebook, latents),
        perplexity=perplexity(final // fine_size, len(encoder.codebook.coarse)),
        calibration=_calibration(encoder, held_back, begun, final),
        purchase=relative_loss(seen, seen_bought.astype(np.int64), final, bought.astype(np.int64), 2),
        stratum=relative_loss(seen, seen_stratum.astype(np.int64), final, stratum.astype(np.int64), len(STRATA)),
        buyers=(same - chance) / (1.0 - chance) if chance < 1.0 else float("nan"),
    )


def _saved(name: str, old: F64, new: F64) -> Criterion:
    margin = max(DIFFERENCE, _noise(old, new))
    return Criterion(name, 1.0 - float(old.mean()), 1.0 - float(new.mean()), margin, more_is_better=True)


def _noise(old: F64, new: F64) -> float:
    """Return twice the standard error of the mean difference between two figures of the same sessions."""
    return float(2.0 * (new - old).std() / np.sqrt(len(old)))


def _calibration(encoder: Encoder, log: SessionLog, begun: Beginnings, final: npt.NDArray[np.int32]) -> float:
    latents: F32 = encoder.latents(log.events, log.starts[begun.row], begun.lengths, still_open=True)
    early = encoder.codebook.assign(latents, begun.lengths)
    return calibration_error(early.confidence, early.code == final[begun.row])


def relative_loss(
    seen: npt.NDArray[np.integer],
    seen_outcome: I64,
    codes: npt.NDArray[np.integer],
    outcome: I64,
    classes: int,
) -> F64:
    """Return each session's log loss (n,) at the rates of its code, as a part of the mean loss at the overall rates.

    Rates are learnt from other sessions, ``seen``; half an outcome each way (Krichevsky and Trofimov 1981). NaN where
    the outcome is always the same.
    """
    counts = np.full((int(max(seen.max(), codes.max())) + 1, classes), 0.5)
    np.add.at(counts, (seen, seen_outcome), 1.0)
    rates = counts / counts.sum(1, keepdims=True)
    overall = (np.bincount(seen_outcome, minlength=classes) + 0.5) / (len(seen_outcome) + 0.5 * classes)
    if len(np.unique(outcome)) < 2:
        return np.full(len(codes), np.nan)
    return np.asarray(-np.log(rates[codes, outcome]) / -np.log(overall[outcome]).mean())
