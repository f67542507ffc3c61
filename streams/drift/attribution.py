"""Which buyer types moved: the codes whose share changed by more than chance and more than a trifle. Pure."""

from math import erfc

import numpy as np

from streams.drift.divergence import F64

#: Of the codes named, this share may be wrong on average (Benjamini and Hochberg 1995).
FALSE_DISCOVERIES = 0.05
#: A share must have changed by this much to be named.
LEAST_CHANGE = 0.01


def movers(names: list[str], before: F64, m: float, now: F64, n: float) -> list[tuple[str, float, float]]:
    """Return the codes or types that moved: (name, share before, share now), largest change first.

    ``before`` and ``now`` (K,) are shares found in m and n sessions. Each is tested for equal shares by the
    difference of their angular transforms (Freeman and Tukey 1950); the largest change is named in any case.
    """
    spread = np.sqrt(1.0 / m + 1.0 / n)
    # The usual continuity: half a session more, so that a code without any has a variance too.
    then, later = (np.arcsin(np.sqrt((size * mix + 0.5) / (size + 1.0))) for mix, size in ((before, m), (now, n)))
    z = 2.0 * np.abs(later - then) / spread
    p = np.array([erfc(value / 2.0**0.5) for value in z.tolist()])
    rank = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[rank] <= FALSE_DISCOVERIES * np.arange(1, len(p) + 1) / len(p))
    changes = np.abs(now - before)
    named = {int(i) for i in rank[: passed[-1] + 1 if len(passed) else 0] if changes[i] >= LEAST_CHANGE}
    ranked = sorted(range(len(names)), key=lambda i: (-float(changes[i]), names[i]))
    return [(names[i], float(before[i]), float(now[i])) for i in ranked if i in named or i == ranked[0]]
