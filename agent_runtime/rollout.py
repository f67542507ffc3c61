"""A crowd of shoppers walked through a storefront, many at once: the inner loop of every simulation.

Shoppers are played in tiles of a fixed number of rows, agent ``a`` always in row ``a % TILE``: matrix products differ
in their last bits with their shape, so only equal shapes make a run repeat exactly whatever its size. Every random
number is counted by (seed, agent, step), see ``agent_runtime.draws``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from agent_runtime.actions import ACTIONS, HOUR_MS, MOMENTS, gap_ms_of, moment_of
from agent_runtime.backends import Backend, Kind, Scores, kind_at
from agent_runtime.click import Click
from agent_runtime.draws import F64, Purpose, draw, draws
from agent_runtime.errors import ShopError
from agent_runtime.session import PlayedSession
from agent_runtime.storefront import Storefront
from agent_runtime.visit import Visit
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from schemas.events import I32, I64
from schemas.taxonomy import DEVICES, REFERRERS

Bools = npt.NDArray[np.bool_]

#: Where groups of nearly the same actions begin, which are neighbours: apart from the price or number, then also from
#: the category.
_ALIKE = tuple(
    np.array([place for place, action in enumerate(ACTIONS) if not place or near(action) != near(ACTIONS[place - 1])])
    for near in (
        lambda action: (action.event, action.item, action.category),
        lambda action: (action.event, action.item),
    )
)

#: Rows played together; part of what a run's exact result depends on.
TILE = 128


@dataclass(frozen=True)
class Span:
    """When simulated sessions may begin: a stretch of event time, milliseconds UTC, the end not included."""

    start_ms: int
    end_ms: int

    @cached_property
    def _stretches(self) -> dict[int, list[tuple[int, int]]]:
        """The span cut at full hours, by moment of the week."""
        first_hour = (self.start_ms // HOUR_MS + 1) * HOUR_MS
        marks = [self.start_ms, *range(first_hour, self.end_ms, HOUR_MS), self.end_ms]
        stretches: dict[int, list[tuple[int, int]]] = {}
        for low, high in pairwise(marks):
            stretches.setdefault(moment_of(low), []).append((low, high))
        return stretches

    def moments(self) -> npt.NDArray[np.bool_]:
        """Return which moments of the week the span touches, (MOMENTS,) bool."""
        touched = np.zeros(MOMENTS, bool)
        touched[list(self._stretches)] = True
        return touched

    def place(self, moment: int, unit: float) -> int:
        """Return the time at ``unit`` of [0, 1) within the stretches of a moment that the span touches."""
        stretches = self._stretches[moment]
        rest = unit * sum(high - low for low, high in stretches)
        for low, high in stretches:
            if rest < high - low:
                return low + int(rest)
            rest -= high - low
        return stretches[-1][1] - 1


@dataclass(frozen=True, slots=True)
class Played:
    """Sessions in agent order, and how much of the backend's wish was not on offer.

    masked_mass  mean probability that the backend gave to moves the storefront does not serve
    decisions    number of moves asked for
    """

    sessions: list[PlayedSession]
    masked_mass: float
    decisions: int


def play(
    backend: Backend,
    vocabulary: Vocabulary,
    storefront: Storefront,
    agents: I64,
    codes: I32,
    span: Span,
    seed: int,
    gap_ms: int,
    done: Callable[[int], None] = lambda _: None,
    coupled: bool = False,
) -> Played:
    """Return one session per agent.

    agents, codes  (n,): number and buyer type of each shopper, agents rising
    span           when sessions may begin; their moments follow the backend's wish where the span touches them
    gap_ms         the session gap: no pause is longer
    coupled        draw so that a slight change of the scores seldom changes a move: for crowds that are compared
    ``done`` is told how many agents a tile finished. Raises ModelError when a code is not in the vocabulary, ShopError
    when the storefront serves nothing that a session could begin with.
    """
    if not Visit(storefront, seed, 0).moves().any():
        raise ShopError(f"Merchant {storefront.shop.merchant_id}: nothing is served that a session could begin with.")
    sessions: list[PlayedSession] = []
    mass, decisions = 0.0, 0
    for tile in np.unique(agents // TILE):
        rows = np.flatnonzero(agents // TILE == tile)
        crowd = _Tile(vocabulary, storefront, agents[rows], codes[rows], span, seed, gap_ms, coupled)
        while crowd.open.any():
            crowd.step(backend.scores(crowd.tokens))
        sessions += crowd.sessions()
        mass, decisions = mass + crowd.masked_mass, decisions + crowd.decisions
        done(len(rows))
    return Played(sessions, mass / max(decisions, 1), decisions)


class _Tile:
    """Up to ``TILE`` shoppers in step. ``tokens`` (TILE, T) grows by a column a step; unused rows repeat a used one."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        storefront: Storefront,
        agents: I64,
        codes: I32,
        span: Span,
        seed: int,
        gap_ms: int,
        coupled: bool,
    ) -> None:
        self.vocabulary, self.storefront = vocabulary, storefront
        self.agents, self.codes = agents, codes
        self.rows: I64 = agents % TILE
        self.span, self.seed, self.gap_ms, self.coupled = span, seed, gap_ms, coupled
        flags = storefront.shop.capabilities.flags()
        prompts = {int(code): vocabulary.prompt(flags, int(code)) for code in np.unique(codes)}
        self.tokens: Tokens = np.tile(np.array(prompts[int(codes[0])], np.int64), (TILE, 1))
        self.tokens[self.rows] = [prompts[int(code)] for code in codes]
        self.open = np.ones(len(agents), bool)
        self.masked_mass, self.decisions = 0.0, 0
        self.visits = [Visit(storefront, seed, int(agent)) for agent in agents]
        self.traits: dict[Kind, list[int]] = {}
        self.actions: list[list[int]] = [[] for _ in agents]
        self.clicks: list[list[Click]] = [[] for _ in agents]
        self.times: list[list[int]] = [[] for _ in agents]
        self.left = np.zeros(len(agents), bool)
        self.ranges = {
            kind: (a - vocabulary.offset, b - vocabulary.offset) for kind, (a, b) in vocabulary.ranges.items()
        }
        self.leave = vocabulary.leave - vocabulary.offset

    def step(self, scores: Scores) -> None:
        """Draw the next token of every open row from the backend's scores, (TILE, V), and live it."""
        kind = kind_at(self.tokens.shape[1], self.vocabulary)
        chosen = self._choose(kind, scores[self.rows])
        match kind:
            case Kind.FIRST:
                self._start()
                self._act(chosen)
            case Kind.ACTION:
                self._act(chosen)
            case Kind.PACE:
                self._wait(chosen - self.ranges["pace"][0])
            case _:
                self.traits[kind] = (chosen - self.ranges[kind.value][0]).tolist()
        column = np.full(TILE, self.vocabulary.pad, np.int64)
        column[self.rows[self.open]] = chosen[self.open] + self.vocabulary.offset
        self.tokens = np.concatenate([self.tokens, column[:, None]], axis=1)

    def _choose(self, kind: Kind, scores: Scores) -> I64:
        """Return one token place per row, drawn from the softmax of what is on offer."""
        allowed = np.zeros(scores.shape, bool)
        if kind in (Kind.FIRST, Kind.ACTION):
            first, end = self.ranges["action"]
            for row in np.flatnonzero(self.open):
                allowed[row, first:end] = self.visits[row].moves()
            allowed[:, self.leave] = kind is Kind.ACTION
            wished = np.zeros(scores.shape[1], bool)
            wished[first:end] = True
            wished[self.leave] = kind is Kind.ACTION
            self._count_masked(scores, wished, allowed)
        else:
            first, end = self.ranges[kind.value]
            allowed[:, first:end] = self.span.moments() if kind is Kind.MOMENT else True
        # A row that is closed takes part with leaving alone.
        allowed[~allowed.any(axis=1), self.leave] = True
        if kind in (Kind.FIRST, Kind.ACTION):
            chances = self._nearest_served(scores, wished, allowed)
        else:
            chances = _softmax(np.where(allowed, scores, -np.inf), allowed)
        if self.coupled:
            return self._likeliest_with_noise(chances)
        heap = np.cumsum(chances, axis=1)
        at = draws(self.seed, self.agents, self.tokens.shape[1], Purpose.TOKEN) * heap[:, -1]
        chosen: I64 = np.minimum((heap <= at[:, None]).sum(axis=1), scores.shape[1] - 1)
        return chosen

    def _likeliest_with_noise(self, chances: F64) -> I64:
        """Return one place per row, drawn from ``chances`` (n, V) by the Gumbel-max trick.

        Every token has a number of its own, so that of two crowds with equal numbers one differs from the other only
        where chances do; along a heap of chances a change of one moves all that lie behind it.
        """
        size = chances.shape[1]
        numbers = (self.agents[:, None] * size + np.arange(size)).ravel()
        units = draws(self.seed, numbers, self.tokens.shape[1], Purpose.COUPLED).reshape(chances.shape)
        with np.errstate(divide="ignore"):
            # equally: the least of exponential times, divided by their rates, is drawn in proportion to the rates
            waits = np.where(chances > 0, -np.log1p(-units) / chances, np.inf)
        return np.asarray(waits.argmin(axis=1))

    def _nearest_served(self, scores: Scores, wished: Bools, allowed: Bools) -> F64:
        """Return the chances (n, V) of what is on offer, near wishes first.

        What is not served goes to the same move at another price, then to the same move elsewhere, and only what is
        left of it to everything: who wants to go back to an earlier product goes back to one that is there.
        """
        first, end = self.ranges["action"]
        chances = _softmax(np.where(wished, scores, -np.inf), np.broadcast_to(wished, scores.shape))
        served = np.where(allowed, chances, 0.0)
        homeless = (chances - served)[:, first:end]
        for starts in _ALIKE:
            # sums of neighbours, not matrix products: those would differ with the number of rows
            room, wanting = (_group_sums(part, starts) for part in (served[:, first:end], homeless))
            growth = np.divide(wanting, room, out=np.zeros_like(room), where=room > 0)
            served[:, first:end] *= 1.0 + growth
            homeless = np.where(room > 0, 0.0, homeless)
        total = served.sum(axis=1, keepdims=True)
        even = _softmax(np.where(allowed, scores, -np.inf), allowed)
        return np.where(total > 0, np.divide(served, total, out=np.zeros_like(served), where=total > 0), even)

    def _count_masked(self, scores: Scores, wished: npt.NDArray[np.bool_], allowed: npt.NDArray[np.bool_]) -> None:
        wishes = _softmax(np.where(wished, scores, -np.inf), np.broadcast_to(wished, scores.shape))
        self.masked_mass += float(np.where(allowed, 0.0, wishes)[self.open].sum())
        self.decisions += int(self.open.sum())

    def _start(self) -> None:
        for row, agent in enumerate(self.agents):
            unit = draw(self.seed, int(agent), 0, Purpose.START)
            self.times[row].append(self.span.place(self.traits[Kind.MOMENT][row], unit))

    def _act(self, chosen: I64) -> None:
        for row in np.flatnonzero(self.open):
            if chosen[row] == self.leave:
                self.open[row], self.left[row] = False, True
                continue
            action = int(chosen[row]) - self.ranges["action"][0]
            self.actions[row].append(action)
            self.clicks[row].append(self.visits[row].take(ACTIONS[action]))

    def _wait(self, paces: I64) -> None:
        for row in np.flatnonzero(self.open):
            unit = draw(self.seed, int(self.agents[row]), len(self.times[row]), Purpose.PACE)
            self.times[row].append(self.times[row][-1] + self._pause_ms(int(paces[row]), unit))
            self.open[row] = len(self.times[row]) < MAX_EVENTS

    def _pause_ms(self, pace: int, unit: float) -> int:
        pause = gap_ms_of(pace, unit, self.gap_ms) + self.storefront.delay_ms
        return max(1, min(pause, self.gap_ms - 1)) if self.storefront.delay_ms else pause

    def sessions(self) -> list[PlayedSession]:
        """Return the rows as sessions, in agent order."""
        return [
            PlayedSession(
                agent=int(agent),
                code=int(self.codes[row]),
                code_path=self.vocabulary.code_paths[self.codes[row]],
                device=DEVICES[self.traits[Kind.DEVICE][row]],
                referrer=REFERRERS[self.traits[Kind.REFERRER][row]],
                actions=tuple(self.actions[row]),
                clicks=tuple(self.clicks[row]),
                times_ms=tuple(self.times[row]),
                left=bool(self.left[row]),
            )
            for row, agent in enumerate(self.agents)
        ]


def _group_sums(chances: F64, starts: I64) -> F64:
    """Return for each action (n, A) the sum over its group."""
    sums = np.add.reduceat(chances, starts, axis=1)
    return np.repeat(sums, np.diff(starts, append=chances.shape[1]), axis=1)


def _softmax(scores: npt.NDArray[np.floating], allowed: npt.NDArray[np.bool_]) -> F64:
    """Return the softmax over what is allowed; equal chances where the scores rule all of it out."""
    peak = scores.max(axis=1, keepdims=True)
    weights = np.where(
        np.isfinite(peak), np.exp(scores.astype(np.float64) - np.where(np.isfinite(peak), peak, 0)), allowed
    )
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def total_events(sessions: Sequence[PlayedSession]) -> int:
    """Return the number of clicks of some sessions."""
    return sum(len(session.clicks) for session in sessions)
