"""How long a shopper stays on a page."""

import math

import numba
import numpy as np

from encoders.generator import raw_events as raw
from encoders.generator.randomness import normal, uniform
from encoders.generator.scene import Scene

#: Pauses stay below every session gap in use, so that one visit is one session.
LONGEST_PAUSE_S, SHORTEST_PAUSE_S = 1_500.0, 0.4
#: A pause before a decision: this long, plus an exponential of this mean.
_HESITATION_S, _HESITATION_MEAN_S = 40.0, 200.0
#: Seconds on a page relative to the shopper's tempo, by event code.
_LINGER = np.array([1.0, 1.2, 0.8, 0.7, 1.3, 0.5, 0.5, 0.9, 2.0, 2.2, 1.0])


@numba.njit(cache=True, nogil=True)
def wait(scene: Scene) -> bool:
    """Let the time on the present page pass; return False when the visit would outlast its deadline.

    Log-normal around the shopper's tempo in this shop; those who hesitate pause for minutes now and then, on products
    and in the cart or checkout.
    """
    at, me = scene.at[0], scene.me
    pause_s = me["tempo_s"] * scene.effect[0]["tempo"] * scene.shop["tempo"] * _LINGER[at["place"]]
    pause_s *= math.exp(me["tempo_spread"] * normal(scene.state))
    if uniform(scene.state) < me["hesitate"] and at["place"] >= raw.VIEW:
        pause_s += _HESITATION_S - _HESITATION_MEAN_S * math.log(1.0 - uniform(scene.state))
    pause_s += scene.shop["delay_s"]
    t_ms = at["t_ms"] + int(min(max(pause_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S) * 1000.0)
    if t_ms > at["deadline_ms"]:
        return False
    at["t_ms"] = t_ms
    return True
