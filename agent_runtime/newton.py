"""The least place of a convex loss: Newton's steps, each halved until the loss falls. Pure.

Without the halving a fit whose start is far off can leap over the minimum, further at every step: at a shop unlike all
it had seen, a simulator lost 390 nats a move to its own adapter.
Source: Boyd and Vandenberghe, Convex Optimization (2004), 9.5.2.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

#: A step this small that still does not lower the loss has come to the limits of the arithmetic.
_SMALLEST = 2.0**-30


def least(start: F64, loss: Callable[[F64], float], step: Callable[[F64], F64], steps: int, settled: float) -> F64:
    """Return where ``loss`` is least, after at most ``steps`` steps.

    step     from a place (n,) to the least place of the loss's quadratic approximation there: a difference (n,)
    settled  a largest difference below which it is there
    """
    place, height = start, loss(start)
    for _ in range(steps):
        whole, size = step(place), 1.0
        while not (lower := loss(place + size * whole)) < height:
            size /= 2.0
            if size < _SMALLEST:
                return place
        place, height = place + size * whole, lower
        if size * np.abs(whole).max() < settled:
            break
    return place
