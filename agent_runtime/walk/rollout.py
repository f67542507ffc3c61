"""A crowd of shoppers walked through a storefront, many at once: the inner loop of every simulation.

Every random number is counted by (seed, agent, step), see ``agent_runtime.draws``, and the storefront is compiled
(``agent_runtime.walk.step``). What is left is that matrix products differ in their last bits with their shape. A
backend that answers row by row (``Rowwise``) may be played in any batches; any other sees tiles of one fixed size,
agent ``a`` always in row ``a % TILE``, so that a run repeats exactly whatever its size.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from agent_runtime.backends import Backend, Cast, Kind, Rowwise, Scores, kind_at
from agent_runtime.errors import ShopError
from agent_runtime.storefront.actions import HOUR_MS, MOMENTS, moment_of
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.vocabulary import MAX_EVENTS, TRAITS, Tokens, Vocabulary
from agent_runtime.walk.played import Played
from agent_runtime.walk.step import arrive, choose, move_on, placed, wait
from agent_runtime.walk.tables import CLICK, Tables, new_visits, tables_of
from schemas.events import I32, I64

_Item = TypeVar("_Item", bound=np.generic)

#: Rows played together where their number is part of the result.
TILE = 128
#: Rows of a batch where it is not: many enough that a step's overhead does not count, few enough for the caches.
BATCH = 1_024


@dataclass(frozen=True)
class Span:
    """When simulated sessions may begin: a stretch of event time, milliseconds UTC, the end not included."""

    start_ms: int
    end_ms: int

    @cached_property
    def stretches(self) -> tuple[I64, I64, I64]:
        """The span cut at full hours: begin, end (ms UTC) and moment of the week of every stretch, (S,) each."""
        first_hour = (self.start_ms // HOUR_MS + 1) * HOUR_MS
        marks = [self.start_ms, *range(first_hour, self.end_ms, HOUR_MS), self.end_ms]
        low, high = np.array(list(pairwise(marks)), np.int64).T
        return low.copy(), high.copy(), np.array([moment_of(int(begin)) for begin in low], np.int64)

    def moments(self) -> npt.NDArray[np.bool_]:
        """Return which moments of the week the span touches, (MOMENTS,) bool."""
        touched = np.zeros(MOMENTS, bool)
        touched[self.stretches[2]] = True
        return touched

    def place(self, moment: int, unit: float) -> int:
        """Return the time at ``unit`` of [0, 1) within the stretches of a moment that the span touches."""
        return int(placed(moment, unit, *self.stretches))


def play(
    backend: Backend | Rowwise,
    vocabulary: Vocabulary,
    storefront: Storefront,
    agents: I64,
    codes: I32,
    span: Span,
    seed: int,
    gap_ms: int,
    done: Callable[[int], None] = lambda _: None,
    coupled: bool = False,
    batch: int = BATCH,
    threads: int = 1,
) -> Played:
    """Return one session per agent.

    agents, codes  (n,): number and buyer type of each shopper, agents rising
    span           when sessions may begin; their moments follow the backend's wish where the span touches them
    gap_ms         the session gap: no pause is longer
    coupled        draw so that a slight change of the scores seldom changes a move: for crowds that are compared
    batch, threads rows played together and batches played at the same time by a ``Rowwise`` backend: the result is the
                   same with any
    ``done`` is told how many agents a batch finished. Raises ModelError when a code is not in the vocabulary, ShopError
    when the storefront serves nothing that a session could begin with.
    """
    if not Visit(storefront, seed, 0).moves().any():
        raise ShopError(f"Merchant {storefront.shop.merchant_id}: nothing is served that a session could begin with.")
    tables, flags = tables_of(storefront), storefront.shop.capabilities.flags()

    def played(rows: I64) -> _Crowd:
        told, types = agents[rows], codes[rows]
        if isinstance(backend, Rowwise):
            cast: Cast = backend.cast(seed, told, types)
        else:
            cast = _Fixed(backend, told % TILE)
        crowd = _Crowd(vocabulary, tables, flags, told, types, span, seed, (gap_ms, storefront.delay_ms), coupled)
        crowd.walk(cast)
        return crowd

    parts = list(_parts(agents, batch if isinstance(backend, Rowwise) else None))
    crowds = []
    for crowd in _in_order(played, parts, threads if isinstance(backend, Rowwise) else 1):
        crowds.append(crowd)
        done(len(crowd.agents))
    lengths = np.concatenate([crowd.visits["step"] for crowd in crowds]) if crowds else np.empty(0, np.int64)
    return Played(
        storefront,
        vocabulary.code_paths,
        agents,
        codes,
        _joined([crowd.traits for crowd in crowds], np.empty((0, TRAITS), np.int64)),
        _joined([crowd.left for crowd in crowds], np.empty(0, bool)),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        _joined([crowd.clicks for crowd in crowds], np.empty(0, CLICK)),
        _joined([crowd.visits["masked"] for crowd in crowds], np.empty(0)),
        sum(int(crowd.visits["decisions"].sum()) for crowd in crowds),
    )


def _parts(agents: I64, batch: int | None) -> Iterator[I64]:
    """Return which agents are played together, as places: by tiles of their numbers, or simply in turn."""
    if batch is not None:
        yield from (np.arange(first, min(first + batch, len(agents))) for first in range(0, len(agents), batch))
        return
    tiles = agents // TILE
    yield from (np.flatnonzero(tiles == tile) for tile in np.unique(tiles))


def _in_order(played: "Callable[[I64], _Crowd]", parts: list[I64], threads: int) -> "Iterator[_Crowd]":
    if threads < 2 or len(parts) < 2:
        yield from map(played, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(played, parts)


def _joined(parts: Sequence[npt.NDArray[_Item]], nothing: npt.NDArray[_Item]) -> npt.NDArray[_Item]:
    return np.concatenate(parts) if parts else nothing


class _Fixed:
    """A ``Cast`` over a backend whose answers may depend on the shape: always ``TILE`` rows, unused ones a copy."""

    def __init__(self, backend: Backend, places: I64) -> None:
        self._backend, self._places = backend, places

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        whole = np.tile(tokens[:1], (TILE, 1))
        whole[self._places] = tokens
        return self._backend.scores(whole)[self._places[rows]]


class _Crowd:
    """Shoppers in step. ``tokens`` (B, longest + 1) are filled a column a step; rows who have left stay as they are."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        tables: Tables,
        flags: Sequence[int],
        agents: I64,
        codes: I32,
        span: Span,
        seed: int,
        pauses_ms: tuple[int, int],
        coupled: bool,
    ) -> None:
        """``pauses_ms``: what no pause may reach, and what the storefront adds to every one."""
        self.vocabulary, self.tables, self.agents = vocabulary, tables, agents
        self.span, self.seed, self.pauses_ms, self.coupled = span, np.uint64(seed), pauses_ms, coupled
        prompts = {int(code): vocabulary.prompt(flags, int(code)) for code in np.unique(codes)}
        self.tokens: Tokens = np.full((len(agents), vocabulary.longest + 1), vocabulary.pad, np.int64)
        self.tokens[:, : vocabulary.prompt_length] = [prompts[int(code)] for code in codes]
        self.visits = new_visits(agents)
        self.traits = np.zeros((len(agents), TRAITS), np.int64)
        self._all_clicks = np.zeros((len(agents), MAX_EVENTS), CLICK)
        self._open = np.ones(len(agents), bool)

    def walk(self, cast: Cast) -> None:
        """Play all sessions to their end."""
        position, rows = self.vocabulary.prompt_length, np.flatnonzero(self._open)
        while len(rows):
            scores = cast.scores(self.tokens[:, :position], rows)
            self._step(kind_at(position, self.vocabulary), position, rows, np.ascontiguousarray(scores, np.float32))
            position, rows = position + 1, np.flatnonzero(self._open)

    @property
    def left(self) -> npt.NDArray[np.bool_]:
        """Whether each shopper left before being cut, (B,)."""
        told = self.tokens[np.arange(len(self.tokens)), self.vocabulary.prompt_length + TRAITS + self._told]
        return np.asarray(told == self.vocabulary.leave)

    @property
    def _told(self) -> I64:
        """Tokens that each shopper's clicks took: a move, then pairs of move and pause."""
        return np.asarray(2 * self.visits["step"] - 1)

    @property
    def clicks(self) -> npt.NDArray[np.void]:
        """All clicks, session by session."""
        return self._all_clicks[np.arange(MAX_EVENTS) < self.visits["step"][:, None]]

    def _step(self, kind: Kind, position: int, rows: I64, scores: Scores) -> None:
        """Draw the next token of every open row from the scores (n, V), and live it."""
        words, offset, seed = self.vocabulary, self.vocabulary.offset, self.seed
        if kind in (Kind.FIRST, Kind.ACTION):
            if kind is Kind.FIRST:
                arrive(self.visits, rows, self.traits[rows, -1], *self.span.stretches, seed)
            places = (words.ranges["action"][0] - offset, words.leave - offset, offset)
            move_on(
                self.tables, self.visits, self._all_clicks, rows, scores, self.tokens, position, places,
                kind is Kind.ACTION, seed, self._open, self.coupled,
            )  # fmt: skip
            return
        first, end = (bound - offset for bound in words.ranges[kind.value])
        allowed = self.span.moments() if kind is Kind.MOMENT else np.ones(end - first, bool)
        chosen = np.zeros(len(rows), np.int64)
        choose(self.visits, rows, scores, self.tokens, position, first, allowed, offset, seed, chosen, self.coupled)
        if kind is Kind.PACE:
            wait(self.visits, self._all_clicks, rows, chosen, self.pauses_ms, seed, self._open)
        else:
            self.traits[rows, position - words.prompt_length] = chosen
