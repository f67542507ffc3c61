"""What a merchant's mix has been, and how blocks of newer sessions compare with it. Pure.

A session counts under its code and under its buyer type, the coarse part of the code's path: a change of types is seen
with half as many sessions among a dozen types as among all their finer codes, a change of behaviour only among these.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt

import numpy as np

from schemas.events import I64
from streams.drift.divergence import F64, Shift, shift
from streams.drift.forecast import DAY_MS, WEEKDAYS, Pull, cells_of, forecast, worth

#: Codes get room in steps of so many.
_ROOM = 64
#: Until a merchant is known, no day of its counts for more than a thousand sessions; five looks at two hundred
#: effective sessions say as much about its own restlessness as this.
PRESUMED_RESTLESSNESS, _PRESUMED_SQUARES = 1e-3, 5 * 200.0**2


@dataclass(frozen=True, slots=True)
class Block:
    """Sessions that are judged together: columns of their codes (n,), times of their ends (n,) in ms UTC."""

    columns: I64
    ended_ms: I64

    @property
    def start_ms(self) -> int:
        """When the first of them ended."""
        return int(self.ended_ms.min())

    @property
    def end_ms(self) -> int:
        """When the last of them ended."""
        return int(self.ended_ms.max())


@dataclass(frozen=True, slots=True)
class Look:
    """Some blocks together beside their forecast, by code or by type.

    names               of the codes or types, (K,)
    shift               how far what came lies from the forecast, given how restless the merchant is
    steady              the same for a merchant that is not
    expected, observed  mixes (K,)
    worth               sessions that the forecast counts for
    sessions, blocks    how many were looked at
    one_day             sum of the squared shares of the days they came on: 1 when on one day
    of_types            whether it is by type
    """

    names: list[str]
    shift: Shift
    steady: Shift
    expected: F64
    worth: float
    observed: F64
    sessions: int
    blocks: int
    one_day: float
    of_types: bool


@dataclass(slots=True)
class _Level:
    """Codes or types: their names in order, the place of each code's column among them, and how restless they are.

    When every day has a mix of its own, drawn around the merchant's with Dirichlet concentration A, a divergence
    exceeds its expectation by n_effective · one_day / A times that. 1 / A is fitted to earlier looks by least squares.
    """

    names: list[str] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    restlessness: float = PRESUMED_RESTLESSNESS
    _products: float = PRESUMED_RESTLESSNESS * _PRESUMED_SQUARES
    _squares: float = _PRESUMED_SQUARES
    _noise: float = 0.0

    def learn(self, look: Look) -> None:
        """Take in a look of the past."""
        steady = look.steady
        if steady.chance <= 0.0:
            return
        size = steady.n_effective * look.one_day
        self._products += size * steady.divergence / steady.chance
        self._squares += size * size
        # Looks at so many blocks overlap: that many say no more than one.
        self._noise += look.blocks * (size * steady.spread / steady.chance) ** 2
        # A standard error is taken off, so that a steady merchant is seldom taken for a restless one.
        self.restlessness = max(0.0, (self._products - sqrt(self._noise)) / self._squares)

    def forget(self) -> None:
        """Know nothing of this merchant's restlessness again."""
        self.restlessness, self._noise = PRESUMED_RESTLESSNESS, 0.0
        self._products, self._squares = PRESUMED_RESTLESSNESS * _PRESUMED_SQUARES, _PRESUMED_SQUARES


@dataclass(slots=True)
class _Judged:
    """Running totals with a block: sessions by column as found and as forecast (K,), and by cell (C,).

    days is the block's own, as are the forecast's sizes by cell (C,) and the sessions it was made from.
    """

    found: F64
    expected: F64
    by_cell: I64
    days: list[tuple[int, int]]
    sizes: F64
    past_sessions: int


class Baseline:
    """Counts a merchant's earlier sessions, forecasts later ones and looks at them together.

    Use: ``column`` for each session, then for each block ``judge`` and any number of ``looks``, and ``absorb`` once
    the block belongs to the past. ``restart`` forgets everything but the names of the codes.
    """

    def __init__(self, parts_of_day: int, pull: Pull, most_blocks: int) -> None:
        self._parts_of_day = parts_of_day
        self._pull = pull
        self._columns: dict[int, int] = {}
        self._codes, self._types = _Level(), _Level()
        self._most_blocks = most_blocks
        self.restart()

    def restart(self) -> None:
        """Forget all sessions."""
        self.blocks = 0
        self.start_ms = 0
        self.end_ms = 0
        self._knows_every_weekday = False
        self._past = np.zeros((WEEKDAYS * self._parts_of_day, -(-len(self._columns) // _ROOM) * _ROOM), np.int64)
        nothing = np.zeros(self._past.shape[1])
        begin = _Judged(nothing, nothing, np.zeros(len(self._past), np.int64), [], np.ones(len(self._past)), 0)
        self._judged = deque([begin], maxlen=self._most_blocks + 1)
        for level in (self._codes, self._types):
            level.forget()

    @property
    def sessions(self) -> int:
        """Sessions in the baseline."""
        return int(self._past.sum())

    @property
    def judged_blocks(self) -> int:
        """Blocks judged since the start, at most as many as are kept."""
        return len(self._judged) - 1

    def column(self, code: int, type_name: str) -> int:
        """Return the column of a code of a type; new ones get the next."""
        column = self._columns.get(code)
        if column is None:
            column = self._columns[code] = len(self._columns)
            self._codes.place.append(column)
            self._codes.names.append(str(code))
            if type_name not in self._types.names:
                self._types.names.append(type_name)
            self._types.place.append(self._types.names.index(type_name))
        return column

    def judge(self, block: Block) -> list[Look]:
        """Forecast a block from the sessions absorbed so far, keep both for ``looks``, and return the looks at it."""
        self._widen()
        before = self._judged[-1]
        by_cell = np.bincount(cells_of(block.ended_ms, self._parts_of_day), minlength=len(self._past))
        expected = forecast(self._past, by_cell, self._pull)
        days, sessions = np.unique(block.ended_ms // DAY_MS, return_counts=True)
        self._judged.append(
            _Judged(
                found=before.found + np.bincount(block.columns, minlength=self._past.shape[1]),
                expected=before.expected + expected.mix * len(block.columns),
                by_cell=before.by_cell + by_cell,
                days=list(zip(days.tolist(), sessions.tolist(), strict=True)),
                sizes=expected.sizes,
                past_sessions=self.sessions,
            )
        )
        return self.looks(1)

    def looks(self, blocks: int) -> list[Look]:
        """Put the last ``blocks`` judged blocks together: by code, and by type where these are fewer."""
        before, oldest, newest = self._judged[-blocks - 1], self._judged[-blocks], self._judged[-1]
        found, expected = newest.found - before.found, newest.expected - before.expected
        # How sure the forecasts were is read off the oldest one's.
        sure = worth(oldest.sizes, newest.by_cell - before.by_cell, oldest.past_sessions)
        days: dict[int, int] = {}
        for judged in islice(self._judged, len(self._judged) - blocks, None):
            for day, sessions in judged.days:
                days[day] = days.get(day, 0) + sessions
        one_day = sum(sessions**2 for sessions in days.values()) / sum(days.values()) ** 2
        looks = [_look(self._codes, found, expected, sure, blocks, one_day, of_types=False)]
        if len(self._types.names) < len(self._codes.names):
            place = np.array(self._types.place)
            found, expected = _gathered(found, place), _gathered(expected, place)
            looks.append(_look(self._types, found, expected, sure, blocks, one_day, of_types=True))
        return looks

    def absorb(self, block: Block, looks: Sequence[Look] = ()) -> None:
        """Count a block as past; ``looks`` at what ended with it tell how restless the merchant is.

        They do so once every weekday was seen: before, forecasts count for less than they are worth.
        """
        self._widen()
        self._knows_every_weekday |= self.end_ms - self.start_ms >= WEEKDAYS * DAY_MS
        np.add.at(self._past, (cells_of(block.ended_ms, self._parts_of_day), block.columns), 1)
        self.start_ms = block.start_ms if not self.blocks else min(self.start_ms, block.start_ms)
        self.end_ms = max(self.end_ms, block.end_ms)
        self.blocks += 1
        for look in looks if self._knows_every_weekday else ():
            (self._types if look.of_types else self._codes).learn(look)

    def _widen(self) -> None:
        missing = len(self._columns) - self._past.shape[1]
        if missing > 0:
            room = (0, -(-missing // _ROOM) * _ROOM)
            self._past = np.pad(self._past, ((0, 0), room))
            for judged in self._judged:
                judged.found, judged.expected = np.pad(judged.found, room), np.pad(judged.expected, room)


def _gathered(values: F64, place: I64) -> F64:
    """Add up columns by the place of each."""
    return np.asarray(np.bincount(place, weights=values[: len(place)]), np.float64)


def _look(
    level: _Level, found: F64, expected: F64, sure: float, blocks: int, one_day: float, *, of_types: bool
) -> Look:
    """Compare sessions with a forecast that counts for ``sure`` sessions, were the merchant not restless."""
    sessions = float(found.sum())
    names = len(level.names)
    p, q = expected[:names] / sessions, found[:names] / sessions
    seen = steady = shift(p, sure, q, sessions)
    if level.restlessness > 0.0:
        sure = 1.0 / (1.0 / sure + level.restlessness * one_day)
        seen = shift(p, sure, q, sessions)
    return Look(level.names, seen, steady, p, sure, q, int(sessions), blocks, one_day, of_types)
