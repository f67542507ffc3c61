"""How a storefront's conditions move shoppers between buyer types.

A type is read off a finished session, so it already knows how the session went: where prices are high, fewer sessions
are of the types that fill carts. What a change does is therefore the sum of two things, what each type does otherwise
and how many are of each type afterwards. This is the second: a multinomial logit of codes on conditions.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from agent_runtime.models.response import FEATURES
from agent_runtime.newton import least
from agent_runtime.simulators.shrinkage import Group, shrink
from schemas.events import I64

F64 = npt.NDArray[np.float64]

#: Standard deviations before any session was seen: of a code's level in nats, and of its shift in nats per standard
#: deviation of a feature. So wide that they say nothing; ``shrink`` finds the ones that hold.
_LEVEL, _LOOSE = 5.0, 3.0
_STEPS, _SETTLED = 30, 1e-6


def fit_mix(code: I64, coarse: I64, merchant: I64, told: F64) -> tuple[F64, F64]:
    """Return the shifts of codes' log shares, (C, X) nats per unit of a feature, and a root of their covariance.

    code, merchant  (sessions,); coarse (C,) type of each code; told (M, X) the storefronts' features, which must differ

    Storefronts draw their own mixes, which no condition explains: the noise is the sandwich with storefronts as
    clusters (Liang and Zeger 1986), and each feature's shifts are drawn towards zero by it: those of whole types, in
    which storefronts differ most by themselves, apart from those between a type's finer codes, which say how sessions
    went. The root is (C * X, R).
    """
    codes = len(coarse)
    counts = np.zeros((len(told), codes))
    np.add.at(counts, (merchant, code), 1.0)
    size = counts.sum(axis=1)
    centre = size @ told / size.sum()
    deviation = np.sqrt(size @ (told - centre) ** 2 / size.sum())
    scale = np.where(deviation > 0, deviation, 1.0)
    x = np.column_stack([np.ones(len(told)), (told - centre) / scale])  # (M, 1 + X)
    width = x.shape[1]
    precision = np.tile([_LEVEL**-2, *[_LOOSE**-2] * len(FEATURES)], codes)

    def loss(rows: F64) -> float:
        scores = x @ rows.reshape(codes, width).T
        return float((size @ logsumexp(scores, axis=1)) - (counts * scores).sum() + 0.5 * precision @ rows**2)

    def step(rows: F64) -> F64:
        slopes, curvature = _slopes(counts, x, rows.reshape(codes, width))
        return np.asarray(np.linalg.solve(curvature + np.diag(precision), slopes.sum(axis=0) - precision * rows))

    fitted = least(np.zeros(codes * width), loss, step, _STEPS, _SETTLED)
    slopes, curvature = _slopes(counts, x, fitted.reshape(codes, width))
    noise = np.linalg.solve(curvature + np.diag(precision), slopes.T)
    # Shares add up to one: a shift of all codes alike says nothing, and is taken out.
    shifts, noise = fitted.reshape(codes, width)[:, 1:], noise.reshape(codes, width, -1)[:, 1:]
    shifts, noise = shifts - shifts.mean(axis=0), noise - noise.mean(axis=0)
    alike = coarse[:, None] == coarse
    of_type = alike / alike.sum(axis=1)
    parts = of_type - 1.0 / codes, np.eye(codes) - of_type
    places = np.arange(shifts.size).reshape(shifts.shape)
    groups = [Group(places[:, feature], parts) for feature in np.flatnonzero(deviation > 0)]
    mean, root = shrink(shifts.ravel(), noise.reshape(shifts.size, -1), groups, _LOOSE)
    return mean.reshape(shifts.shape) / scale, (root.reshape(*shifts.shape, -1) / scale[:, None]).reshape(root.shape)


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
