"""What merchants' mixes have in common, learnt from many: it steadies the mix of one that few sessions have shown.

A Dirichlet prior in two levels, over coarse types and over the codes under each: merchants differ much in which types
come, and less in how the sessions of one type go. Its mean is the merchants' mean; how many sessions it is worth is
what makes their counts likeliest (empirical Bayes; Minka 2000, "Estimating a Dirichlet distribution").
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from agent_runtime.population.population import Mix
from agent_runtime.traces.traces import Traces
from agent_runtime.vocabulary import Vocabulary
from schemas.events import I32

F64 = npt.NDArray[np.float64]

#: With fewer merchants nothing is known of how they differ.
LEAST_MERCHANTS = 3
#: Pseudo-sessions that a prior may be worth.
_LEAST_WORTH, _MOST_WORTH = 0.1, 10_000.0
#: Share of a code that no merchant showed: no prior says never.
_UNSEEN = 1e-6


@dataclass(frozen=True, slots=True)
class MixPrior:
    """The mean mix of merchants, and the sessions that it weighs against a merchant's own.

    shares  (K,) mean share of each code, codes of one coarse type side by side
    fine    codes under each coarse type
    types   pseudo-sessions for the shares of coarse types
    codes   pseudo-sessions for the shares of the codes under one type
    """

    shares: F64
    fine: int
    types: float
    codes: float

    @staticmethod
    def learn(code: I32, merchant: I32, merchants: int, size: int, fine: int) -> "MixPrior | None":
        """Return the prior of sessions' codes and merchants, both (n,); None with too few merchants or one type.

        size  codes altogether, ``fine`` under each coarse type
        """
        counts = np.zeros((merchants, size))
        np.add.at(counts, (merchant, code), 1.0)
        counts = counts[counts.sum(axis=1) > 0]
        if len(counts) < LEAST_MERCHANTS or size == fine:
            return None
        own = counts / counts.sum(axis=1, keepdims=True) + _UNSEEN
        own /= own.sum(axis=1, keepdims=True)
        # a merchant's own sessions are left out of the mean they are held against, or it would look too good
        means = (own.sum(axis=0) - own) / (len(own) - 1)
        by_type, of_type = counts.reshape(len(counts), -1, fine), means.reshape(len(means), -1, fine)
        types = _worth(by_type.sum(axis=2), of_type.sum(axis=2))
        within = of_type / of_type.sum(axis=2, keepdims=True)
        codes = _worth(by_type.reshape(-1, fine), within.reshape(-1, fine))
        return MixPrior(own.mean(axis=0), fine, types, codes)

    def steadied(self, mix: Mix) -> Mix:
        """Return a mix drawn towards the prior, the more the fewer sessions it rests on: the posterior's mean."""
        own = np.zeros(len(self.shares))
        own[list(mix.weights)] = list(mix.weights.values())
        counted = (own / own.sum() * mix.n_effective).reshape(-1, self.fine)
        prior = self.shares.reshape(-1, self.fine)
        of_types = counted.sum(axis=1, keepdims=True)
        mean = prior.sum(axis=1, keepdims=True)
        types = (of_types + self.types * mean) / (mix.n_effective + self.types)
        codes = (counted + self.codes * prior / mean) / (of_types + self.codes)
        weights = (types * codes).ravel()
        return replace(mix, weights={code: float(weight) for code, weight in enumerate(weights)})

    def save(self, path: Path) -> None:
        """Write the prior as a file that equal priors make equal."""
        np.savez_compressed(path, shares=self.shares, worth=np.array([self.fine, self.types, self.codes]))

    @staticmethod
    def load(path: Path) -> "MixPrior":
        """Return the prior of ``save``."""
        with np.load(path) as kept:
            fine, types, codes = kept["worth"].tolist()
            return MixPrior(kept["shares"], int(fine), types, codes)


def steadied(mix: Mix, prior: MixPrior | None) -> Mix:
    """Return a mix drawn towards a prior, or as it is where there is none."""
    return mix if prior is None else prior.steadied(mix)


def prior_of(traces: Traces, words: Vocabulary) -> MixPrior | None:
    """Return the prior of sessions with their types; None with too few merchants or one type."""
    return MixPrior.learn(traces.code, traces.merchant, len(traces.merchants), len(words.code_paths), words.fine)


def _worth(counts: F64, means: F64) -> float:
    """Return the pseudo-sessions that ``means`` (R, K) are worth for rows of counts: the likeliest number."""
    size = counts.sum(axis=1)

    def loss(log_worth: float) -> float:
        alpha = np.exp(log_worth) * means
        total = np.exp(log_worth)
        rows = gammaln(total) - gammaln(total + size) + (gammaln(counts + alpha) - gammaln(alpha)).sum(axis=1)
        return -float(rows.sum())

    bounds = (np.log(_LEAST_WORTH), np.log(_MOST_WORTH))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
