"""Exponential decay by event time with integer weights: the result does not depend on the order of arrival. Pure."""

from dataclasses import dataclass

#: Weights change in this many steps per half-life: at six hours one step is five minutes, and a weight is off by at
#: most 2 ** (1 / 72), about one per cent, the same for every session of a step.
STEPS_PER_HALF_LIFE = 72
#: Sessions older than this many half-lives weigh less than 1e-4 of a new one and are left out.
HORIZON_HALF_LIVES = 14
#: Fixed-point bits of a weight: integers add up to the same sum in any order, floats do not.
_FRACTION_BITS = 32


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of buyer types.

    codes        codes present, rising
    weights      their shares, summing to 1
    sessions     sessions of each code
    total        sessions altogether
    n_effective  Kish's effective sample size (Σw)² / Σw² (Kish 1965, Survey Sampling); = total without decay
    """

    codes: list[int]
    weights: list[float]
    sessions: list[int]
    total: int
    n_effective: float

    @staticmethod
    def of_counts(counts: dict[int, int]) -> "Mix":
        """Return the mix of ``{code: sessions}``, which must not be empty."""
        codes = sorted(counts)
        sessions = [counts[code] for code in codes]
        total = sum(sessions)
        return Mix(codes, [n / total for n in sessions], sessions, total, float(total))


class DecayRule:
    """The weight of a session as a function of when it ended; half as much every ``half_life_ms``."""

    def __init__(self, half_life_ms: int) -> None:
        self.step_ms = max(1, half_life_ms // STEPS_PER_HALF_LIFE)
        self.horizon_ms = HORIZON_HALF_LIVES * STEPS_PER_HALF_LIFE * self.step_ms
        exponents = [i / STEPS_PER_HALF_LIFE for i in range(STEPS_PER_HALF_LIFE)]
        #: Growth since the start of the half-life, and its square, as fixed-point integers.
        self.growth = [round(2.0 ** (e + _FRACTION_BITS)) for e in exponents]
        self.growth_squared = [round(2.0 ** (2 * e + _FRACTION_BITS)) for e in exponents]


class DecayedMix:
    """Forward decay (Cormode et al. 2009, ICDE, "Forward decay") of one merchant's sessions.

    A session weighs 2^(t / half-life) once and for all; only its ratio to other weights is ever used. Time is cut into
    half-lives, each with its own sums, so the numbers stay small and the oldest half-life can be dropped.
    """

    def __init__(self, rule: DecayRule) -> None:
        self._rule = rule
        self._newest_step = -1
        #: half-life -> code -> [sessions, Σ weight, Σ weight²]
        self._half_lives: dict[int, dict[int, list[int]]] = {}

    @property
    def newest_ms(self) -> int:
        """Start of the step of the newest session, UTC."""
        return self._newest_step * self._rule.step_ms

    def add(self, code: int, ended_ms: int, sessions: int) -> None:
        """Add sessions of one code that ended in one step; sessions beyond the horizon are ignored."""
        step = ended_ms // self._rule.step_ms
        half_life, phase = divmod(step, STEPS_PER_HALF_LIFE)
        if step > self._newest_step:
            self._newest_step = step
            oldest = half_life - HORIZON_HALF_LIVES + 1
            for gone in [h for h in self._half_lives if h < oldest]:
                del self._half_lives[gone]
        elif half_life < self._newest_step // STEPS_PER_HALF_LIFE - HORIZON_HALF_LIVES + 1:
            return
        sums = self._half_lives.setdefault(half_life, {}).setdefault(code, [0, 0, 0])
        sums[0] += sessions
        sums[1] += sessions * self._rule.growth[phase]
        sums[2] += sessions * self._rule.growth_squared[phase]

    def mix(self) -> Mix:
        """Return the decayed mix as of the newest session. Raises ValueError when nothing was added."""
        if not self._half_lives:
            raise ValueError("A decayed mix needs at least one session.")
        # Shifting left by the half-lives since the oldest keeps everything an integer, hence exact.
        oldest = min(self._half_lives)
        sessions: dict[int, int] = {}
        weights: dict[int, int] = {}
        squares = 0
        for half_life, codes in self._half_lives.items():
            for code, (n, weight, square) in codes.items():
                sessions[code] = sessions.get(code, 0) + n
                weights[code] = weights.get(code, 0) + (weight << (half_life - oldest))
                squares += square << (2 * (half_life - oldest))
        whole = sum(weights.values())
        codes_present = sorted(weights)
        return Mix(
            codes=codes_present,
            weights=[weights[code] / whole for code in codes_present],
            sessions=[sessions[code] for code in codes_present],
            total=sum(sessions.values()),
            n_effective=whole * whole / (squares << _FRACTION_BITS),
        )
