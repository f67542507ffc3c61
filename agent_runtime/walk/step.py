"""One step of a crowd, compiled: what each shopper chooses of what is on offer, and what comes of it."""

import math

import numba as nb
import numpy as np

from agent_runtime.backends import Scores
from agent_runtime.draws import Purpose
from agent_runtime.storefront.actions import ACTIONS, gap_ms_of
from agent_runtime.vocabulary import MAX_EVENTS, Tokens
from agent_runtime.walk.clicks import take
from agent_runtime.walk.draws import unit_of
from agent_runtime.walk.moves import find_moves
from agent_runtime.walk.tables import F64, Bools, Clicks, Tables, Visits
from schemas.events import I64
from schemas.machine import allocation_free

_LEAVE = len(ACTIONS)
_ALIKE = 2
#: Group of each action among nearly the same ones, which are neighbours: apart from the price or number, then also
#: from the category. (2, A)
_GROUPS = np.array(
    [
        [next(at for at, other in enumerate(ACTIONS) if near(other) == near(action)) for action in ACTIONS]
        for near in (
            lambda action: (action.event, action.item, action.category),
            lambda action: (action.event, action.item),
        )
    ]
)
_P_TOKEN, _P_COUPLED = int(Purpose.TOKEN), int(Purpose.COUPLED)
_P_PACE, _P_START = int(Purpose.PACE), int(Purpose.START)


@allocation_free
def _weigh(scores: Scores, first: int, leave: int, allowed: Bools, weights: F64) -> float:
    """Write the softmax of what is allowed of ``ACTIONS`` and leaving, (A + 1,); return its sum, 0 or 1.

    Equal chances where the scores rule all of it out.
    """
    peak = -np.inf
    for move in range(_LEAVE + 1):
        if allowed[move]:
            peak = max(peak, scores[leave if move == _LEAVE else first + move])
    total = 0.0
    for move in range(_LEAVE + 1):
        weights[move] = 0.0
        if allowed[move]:
            score = float(scores[leave if move == _LEAVE else first + move])
            weights[move] = math.exp(score - peak) if math.isfinite(peak) else 1.0
        total += weights[move]
    for move in range(_LEAVE + 1):
        weights[move] = weights[move] / total if total > 0.0 else 0.0
    return 1.0 if total > 0.0 else 0.0


@allocation_free
def _to_the_nearest(served: Bools, chances: F64, scratch: F64) -> tuple[float, float]:
    """Move the chances (A + 1,) of what is not served to what is, near wishes first; return what was moved, and all.

    What is not served goes to the same move at another price, then to the same move elsewhere, and only what is left
    of it to everything: who wants to go back to an earlier product goes back to one that is there. ``scratch`` (3, A).
    """
    masked = 0.0
    homeless, room, wanting = scratch[0], scratch[1], scratch[2]
    for move in range(_LEAVE):
        homeless[move] = 0.0 if served[move] else chances[move]
        if not served[move]:
            masked, chances[move] = masked + chances[move], 0.0
    if masked > 0.0:
        for level in range(_ALIKE):
            room[:] = 0.0
            wanting[:] = 0.0
            for move in range(_LEAVE):
                room[_GROUPS[level, move]] += chances[move]
                wanting[_GROUPS[level, move]] += homeless[move]
            for move in range(_LEAVE):
                group = _GROUPS[level, move]
                if room[group] > 0.0:
                    chances[move] *= 1.0 + wanting[group] / room[group]
                    homeless[move] = 0.0
    return masked, chances.sum()


@allocation_free
def _soonest(chance: float, seed: int, agent: int, size: int, word: int, position: int) -> float:
    """Return how long a word of ``size`` lets wait for itself: the first to come is drawn in proportion to the chances.

    The Gumbel-max trick, told by exponential times. Every word has a number of its own, so that of two crowds with
    equal numbers one differs from the other only where chances do; along a heap of chances a change of one moves all
    that lie behind it.
    """
    return -math.log1p(-unit_of(seed, agent * size + word, position, _P_COUPLED)) / chance


@allocation_free
def _first_to_come(chances: F64, places: tuple[int, int, int], size: int, seed: int, agent: int, position: int) -> int:
    """Return the move that comes first of those with a chance."""
    first, leave, _ = places
    chosen, soonest = _LEAVE, np.inf
    for move in range(_LEAVE + 1):
        if chances[move] > 0.0:
            word = leave if move == _LEAVE else first + move
            waits = _soonest(chances[move], seed, agent, size, word, position)
            if waits < soonest:
                chosen, soonest = move, waits
    return chosen


@allocation_free
def _drawn(chances: F64, total: float, unit: float) -> int:
    """Return the move at ``unit`` of [0, 1) of the chances, leaving first."""
    at, heap, last = unit * total, chances[_LEAVE], _LEAVE
    if heap > at:
        return _LEAVE
    for move in range(_LEAVE):
        if chances[move] > 0.0:
            heap, last = heap + chances[move], move
            if heap > at:
                return move
    return last


@nb.njit(cache=True, nogil=True)
def move_on(
    tables: Tables,
    visits: Visits,
    clicks: Clicks,
    rows: I64,
    scores: Scores,
    tokens: Tokens,
    position: int,
    places: tuple[int, int, int],
    may_leave: bool,
    seed: int,
    open_: Bools,
    coupled: bool,
) -> None:
    """Let the shoppers of ``rows`` (n,) choose a move by ``scores`` (n, V) and do it, or leave.

    places  where actions begin among the scores, where leaving stands, and the vocabulary's offset
    """
    first, leave, offset = places
    served, wished, chances = np.zeros(_LEAVE + 1, nb.boolean), np.ones(_LEAVE + 1, nb.boolean), np.zeros(_LEAVE + 1)
    wished[_LEAVE] = served[_LEAVE] = may_leave
    scratch = np.empty((3, _LEAVE))
    for place in range(len(rows)):
        row = rows[place]
        visit = visits[row]
        find_moves(tables, visit, seed, served[:_LEAVE])
        _weigh(scores[place], first, leave, wished, chances)
        masked, total = _to_the_nearest(served, chances, scratch)
        visit.masked += masked
        visit.decisions += 1
        if not total > 0.0:
            total = _weigh(scores[place], first, leave, served, chances)
        if not total > 0.0:
            chosen = _LEAVE
        elif coupled:
            chosen = _first_to_come(chances, places, scores.shape[1], seed, visit.agent, position)
        else:
            chosen = _drawn(chances, total, unit_of(seed, visit.agent, position, _P_TOKEN))
        if chosen == _LEAVE:
            open_[row] = False
            tokens[row, position] = leave + offset
            continue
        tokens[row, position] = first + chosen + offset
        click = clicks[row, visit.step]
        take(tables, visit, chosen, seed, click)
        click.t = visit.t


@nb.njit(cache=True, nogil=True)
def choose(
    visits: Visits, rows: I64, scores: Scores, tokens: Tokens, position: int, first: int, allowed: Bools, offset: int,
    seed: int, chosen: I64, coupled: bool,
) -> None:  # fmt: skip
    """Draw a token of ``allowed`` (S,), which begin at ``first`` among the scores (n, V), for each row: its place."""
    weights = np.zeros(len(allowed))
    for place in range(len(rows)):
        row, peak, total = rows[place], -np.inf, 0.0
        for word in range(len(allowed)):
            if allowed[word]:
                peak = max(peak, scores[place, first + word])
        for word in range(len(allowed)):
            weights[word] = 0.0
            if allowed[word]:
                score = float(scores[place, first + word])
                weights[word] = math.exp(score - peak) if math.isfinite(peak) else 1.0
            total += weights[word]
        agent, last = visits[row].agent, 0
        if coupled:
            soonest = np.inf
            for word in range(len(allowed)):
                if weights[word] > 0.0:
                    chance = weights[word] / total
                    waits = _soonest(chance, seed, agent, scores.shape[1], first + word, position)
                    if waits < soonest:
                        soonest, last = waits, word
        else:
            at, heap = unit_of(seed, agent, position, _P_TOKEN) * total, 0.0
            for word in range(len(allowed)):
                if weights[word] > 0.0:
                    heap, last = heap + weights[word], word
                    if heap > at:
                        break
        chosen[place] = last
        tokens[row, position] = first + last + offset


@allocation_free
def placed(moment: int, unit: float, lows: I64, highs: I64, of_moment: I64) -> int:
    """Return the time at ``unit`` of [0, 1) within a moment's stretches of event time; see ``Span.stretches``."""
    total, last = 0, 0
    for stretch in range(len(lows)):
        if of_moment[stretch] == moment:
            total, last = total + highs[stretch] - lows[stretch], stretch
    rest = unit * total
    for stretch in range(len(lows)):
        if of_moment[stretch] == moment:
            if rest < highs[stretch] - lows[stretch]:
                return int(lows[stretch] + int(rest))
            rest -= highs[stretch] - lows[stretch]
    return int(highs[last] - 1)


@allocation_free
def arrive(visits: Visits, rows: I64, moments: I64, lows: I64, highs: I64, of_moment: I64, seed: int) -> None:
    """Set when each row's session begins: at a random time of its moment (n,)."""
    for place in range(len(rows)):
        visit = visits[rows[place]]
        visit.t = placed(moments[place], unit_of(seed, visit.agent, 0, _P_START), lows, highs, of_moment)


@allocation_free
def wait(
    visits: Visits, clicks: Clicks, rows: I64, paces: I64, pauses_ms: tuple[int, int], seed: int, open_: Bools
) -> None:
    """Let a pause of bucket ``paces`` (n,) pass before each row's last click, as ``gap_ms_of`` draws it.

    ``pauses_ms`` are the session gap, which no pause reaches, and what the storefront adds to every one.
    """
    gap_ms, delay_ms = pauses_ms
    for place in range(len(rows)):
        row, pace = rows[place], paces[place]
        visit = visits[row]
        pause = gap_ms_of(pace, unit_of(seed, visit.agent, visit.step - 1, _P_PACE), gap_ms)
        if delay_ms:
            pause = max(1, min(pause + delay_ms, gap_ms - 1))
        visit.t += pause
        clicks[row, visit.step - 1].t = visit.t
        open_[row] = visit.step < MAX_EVENTS
