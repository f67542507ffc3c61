"""One simulated shopper in a browser: asks the backend what next, does it on the page, and notes how it went."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent_runtime.backends import Backend, Kind, Scores, kind_at
from agent_runtime.browser.choice import LEAVE, NONSENSE, choose, wish
from agent_runtime.browser.hand import Hand, MissedError
from agent_runtime.browser.memory import Memory
from agent_runtime.browser.moves import Offers, offers
from agent_runtime.browser.observation import Observation
from agent_runtime.draws import F64, Purpose, draw
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS, gap_ms_of
from agent_runtime.storefront.click import Click
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.storefront.visit import Visit
from agent_runtime.vocabulary import MAX_EVENTS, Vocabulary
from agent_runtime.walk.rollout import Span
from schemas.taxonomy import DEVICES, REFERRERS

#: Pages that a session can begin on: they have an address.
LANDINGS = ("page_viewed", "collection_viewed", "search_submitted", "product_viewed", "cart_viewed")
_LANDING_ACTIONS = tuple(place for place, action in enumerate(ACTIONS) if action.event in LANDINGS)
#: An invalid action is tried once more, then the session ends as a crash.
TRIES = 2
#: Draws of a second try, and those of steps back from a wish, are numbered from here on.
_RETRY, _STEP_BACK = 1 << 16, 1 << 20
_DRAWS = 4


@dataclass(frozen=True, slots=True)
class Manners:
    """How a shopper behaves on pages.

    masked  wishes are held against what the page offers before anything is done; else they are tried as they come
    flags   what the backend is told of the storefront, see ``Capabilities.flags``
    """

    masked: bool
    flags: tuple[int, ...]
    gap_ms: int
    seed: int


@dataclass(frozen=True, slots=True)
class Walk:
    """A browser session. ``invalid`` says of each invalid action what was wrong; ``steps`` is what the shopper saw
    and did, as JSON-ready objects in order; ``seconds`` how long it all took.
    """

    session: PlayedSession
    invalid: tuple[str, ...]
    dialogs: int
    steps: tuple[dict[str, Any], ...]
    seconds: float = 0.0


@dataclass(slots=True)
class Shopper:
    """One shopper. ``agent`` and ``manners.seed`` number its random draws; the same draws give the same session."""

    backend: Backend
    vocabulary: Vocabulary
    storefront: Storefront
    span: Span
    manners: Manners
    agent: int
    code: int
    memory: Memory = field(init=False)
    queries: dict[str, float] = field(init=False)
    tokens: list[int] = field(init=False)
    clicks: list[Click] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing but the storefront's flags and the buyer type."""
        self.memory = Memory(self.storefront.shop.capabilities)
        self.queries = dict(zip(self.storefront.queries, map(float, self.storefront.query_weights), strict=True))
        self.tokens = self.vocabulary.prompt(self.manners.flags, self.code)

    async def shop(self, hand: Hand, watch: Callable[[int, bytes], None] | None = None) -> Walk:
        """Walk through the storefront until leaving, the length limit or a crash. ``watch`` is given screenshots."""
        device, referrer, moment = (self._trait(kind) for kind in (Kind.DEVICE, Kind.REFERRER, Kind.MOMENT))
        begun_ms = self.span.place(moment, draw(self.manners.seed, self.agent, 0, Purpose.START))
        crashed = left = False
        while len(self.clicks) < MAX_EVENTS and not left:
            try:
                left = not await self._step(hand, begun_ms)
            except MissedError:
                crashed = True
                break
            if watch is not None and not left:
                watch(len(self.clicks), await hand.picture())
        session = PlayedSession(
            agent=self.agent,
            code=self.code,
            code_path=self.vocabulary.code_paths[self.code],
            device=DEVICES[device],
            referrer=REFERRERS[referrer],
            actions=tuple(self.actions),
            clicks=tuple(self.clicks),
            times_ms=tuple(self.times_ms),
            left=left,
            crashed=crashed,
        )
        return Walk(session, tuple(self.invalid), hand.dialogs, tuple(self.steps))

    async def _step(self, hand: Hand, begun_ms: int) -> bool:
        """Do the next action and wait as long as its pause; return False on leaving. Raises MissedError on a crash."""
        click = await self._act(hand)
        if click is None:
            return False
        action = ACTION_INDEX[self.memory.action_of(click).name]
        self.memory.note(click)
        self.clicks.append(click)
        self.actions.append(action)
        self.tokens.append(self.vocabulary.action(action))
        if self.times_ms:
            unit = draw(self.manners.seed, self.agent, len(self.times_ms), Purpose.PACE)
            pause_ms = gap_ms_of(self._trait(Kind.PACE), unit, self.manners.gap_ms)
            self.times_ms.append(self.times_ms[-1] + pause_ms)
        else:
            self.times_ms.append(begun_ms)
        return True

    async def _act(self, hand: Hand) -> Click | None:
        """Return the click of the next action, None on leaving. Raises MissedError when it was invalid every time."""
        position = len(self.tokens)
        first = kind_at(position, self.vocabulary) is Kind.FIRST
        wished = wish(self._scores(), self.vocabulary, not first, self.manners.masked)
        failed: set[int] = set()
        again: int | None = None
        for attempt in range(TRIES):
            seen, action = None, NONSENSE
            try:
                seen, offered = await self._look(hand, first)
                if again in offered:
                    action = again
                else:
                    action = choose(wished, offered, failed, self.manners.masked, self._units(position, attempt))
                if action == LEAVE:
                    self._note(seen, {"leave": "shop"}, "left")
                    return None
                if action not in offered:
                    failed |= {action} - {NONSENSE}
                    raise MissedError("not on the page" if action != NONSENSE else "no action")
                again = action
                click = await self._do(hand, action, offered, position)
            except MissedError as error:
                self.invalid.append(str(error))
                self._note(seen, {} if action == NONSENSE else ACTIONS[action].to_json(), str(error))
                await hand.give_up()
            else:
                self._note(seen, ACTIONS[action].to_json(), "done")
                return click
        raise MissedError(f"invalid {TRIES} times: {self.invalid[-1]}")

    async def _look(self, hand: Hand, first: bool) -> tuple[Observation | None, Offers]:
        """Return the page and its moves; before the first page, the actions that a session can begin with."""
        if first:
            served = Visit(self.storefront, self.manners.seed, self.agent).moves()
            return None, {place: [] for place in _LANDING_ACTIONS if served[place]}
        seen = await hand.look()
        return seen, offers(seen, self.memory, self.queries)

    async def _do(self, hand: Hand, action: int, offered: Offers, position: int) -> Click:
        if not offered[action]:
            visit = Visit(self.storefront, self.manners.seed, self.agent)
            return await hand.arrive(visit.take(ACTIONS[action]))
        moves = offered[action]
        heap = np.cumsum([move.weight for move in moves])
        unit = draw(self.manners.seed, self.agent, position, Purpose.PRODUCT)
        place = min(int(np.searchsorted(heap, unit * heap[-1], side="right")), len(moves) - 1)
        return await hand.do(moves[place])

    def _scores(self) -> Scores:
        return np.asarray(self.backend.scores(np.array([self.tokens], np.int64))[0])

    def _trait(self, kind: Kind) -> int:
        """Return what the backend says at a position that is no action, and add it to the tokens."""
        first, end = self.vocabulary.ranges[kind.value]
        scores = self._scores()[first - self.vocabulary.offset : end - self.vocabulary.offset].astype(np.float64)
        if kind is Kind.MOMENT:
            scores = np.where(self.span.moments(), scores, -np.inf)
        heap = np.cumsum(np.exp(scores - scores.max()))
        unit = draw(self.manners.seed, self.agent, len(self.tokens), Purpose.TOKEN)
        place = min(int(np.searchsorted(heap, unit * heap[-1], side="right")), len(heap) - 1)
        self.tokens.append(first + place)
        return place

    def _units(self, position: int, attempt: int) -> F64:
        steps = [position + attempt * _RETRY + back * _STEP_BACK for back in range(_DRAWS)]
        return np.array([draw(self.manners.seed, self.agent, step, Purpose.TOKEN) for step in steps])

    def _note(self, seen: Observation | None, action: dict[str, str], outcome: str) -> None:
        state = {} if seen is None else seen.to_json()
        self.steps.append({"state": state, "action": action, "outcome": outcome})
