"""How a storefront's conditions move shoppers between buyer types.

A type is read off a finished session, so it already knows how the session went: where prices are high, fewer sessions
are of the types that fill carts. What a change does is therefore the sum of two things, what each type does otherwise
and how many are of each type afterwards. This is the second: a multinomial logit of types on conditions.
"""

import numpy as np
import numpy.typing as npt

from agent_runtime.response import FEATURES
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviations before any session was seen, in nats per standard deviation of a feature: of a coarse type's
#: shift, and of a full code's beside it. Levels of codes are left free.
_COARSE, _OWN, _LEVEL = 0.4, 0.2, 5.0
_STEPS, _SETTLED = 12, 1e-6


def fit_mix(code: I64, coarse: I64, merchant: I64, told: F64) -> tuple[F64, F64]:
    """Return the shifts of codes' log shares, (C, X) nats per unit of a feature, and a root of their covariance.

    code, merchant  (sessions,); coarse (C,) type of each code; told (M, X) the storefronts' features, which must differ

    Storefronts draw their own mixes, which no condition explains: the covariance is the sandwich with storefronts as
    clusters (Liang and Zeger 1986), the prior counted as one more. The root is (C * X, R).
    """
    codes, kinds, width = len(coarse), int(coarse.max()) + 1, len(FEATURES) + 1
    counts = np.zeros((len(told), codes))
    np.add.at(counts, (merchant, code), 1.0)
    size = counts.sum(axis=1)
    centre = size @ told / size.sum()
    deviation = np.sqrt(size @ (told - centre) ** 2 / size.sum())
    scale = np.where(deviation > 0, deviation, 1.0)
    x = np.column_stack([np.ones(len(told)), (told - centre) / scale])  # (M, 1 + X)
    # every code's row is its own plus its coarse type's; a level is its own alone
    member = np.eye(kinds)[coarse]
    member_x = np.kron(member, np.diag([0.0, *np.ones(len(FEATURES))]))
    spell = np.concatenate([member_x, np.eye(codes * width)], axis=1)  # to (C * (1 + X)) from what is fitted
    precision = np.concatenate(
        [
            np.tile([1.0, *[_COARSE**-2] * len(FEATURES)], kinds),
            np.tile([_LEVEL**-2, *[_OWN**-2] * len(FEATURES)], codes),
        ]
    )
    fitted = np.zeros(len(precision))
    for _ in range(_STEPS):
        slopes, curvature = _slopes(counts, x, (spell @ fitted).reshape(codes, width))
        step = np.linalg.solve(
            spell.T @ curvature @ spell + np.diag(precision), spell.T @ slopes.sum(axis=0) - precision * fitted
        )
        fitted += step
        if np.abs(step).max() < _SETTLED:
            break
    slopes, curvature = _slopes(counts, x, (spell @ fitted).reshape(codes, width))
    bread = np.linalg.inv(spell.T @ curvature @ spell + np.diag(precision))
    root = spell @ bread @ np.concatenate([spell.T @ slopes.T, np.diag(np.sqrt(precision))], axis=1)
    shifts = (spell @ fitted).reshape(codes, width)[:, 1:] / scale
    spread = root.reshape(codes, width, -1)[:, 1:] / scale[:, None]
    return shifts, spread.reshape(codes * len(FEATURES), -1)


def _slopes(counts: F64, x: F64, rows: F64) -> tuple[F64, F64]:
    """Return each storefront's gradient (M, C * W) and the negative Hessian of the log likelihood; ``rows`` (C, W)."""
    scores = x @ rows.T
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    size = counts.sum(axis=1)
    slopes = ((counts - size[:, None] * chances)[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    weighted = (np.sqrt(size)[:, None, None] * chances[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    curvature = -weighted.T @ weighted
    width = x.shape[1]
    own = np.einsum("m,mc,mv,mw->cvw", size, chances, x, x)
    for code, block in enumerate(own):
        span = slice(code * width, (code + 1) * width)
        curvature[span, span] += block
    return slopes, curvature
