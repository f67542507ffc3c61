"""A population that lives: shoppers come at a rate, each of a type drawn from the latest mix, and click as time passes.

Pure but for the backend: time comes in as an argument, so a test can run a day in a moment. Event time is whatever the
caller says it is; clicks leave in event-time order, never before their time has come.
"""

import heapq
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import poisson

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.crowds.simulation import check_codebooks
from agent_runtime.draws import Purpose, draw
from agent_runtime.population.population import Mix, sampled
from agent_runtime.storefront.session import PlayedSession, click_events
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.rollout import Span, play


@dataclass(frozen=True, slots=True)
class Come:
    """What one step brought: sessions that began, and the clicks whose time has come, in event-time order."""

    sessions: list[PlayedSession]
    clicks: list[dict[str, object]]


@dataclass(slots=True)
class LivePopulation:
    """One merchant's living population.

    rate_per_ms  mean arrivals per millisecond of event time
    window_ms    newcomers are drawn for this much event time at once: playing many costs little more than playing one
    now_ms       event time up to which it has lived
    """

    run_id: str
    vocabulary: Vocabulary
    backend: Backend | Rowwise
    shop: Shop
    mix: Mix
    rate_per_ms: float
    window_ms: int
    gap_ms: int
    seed: int
    now_ms: int
    agents: int = 0
    begun: int = 0
    windows: int = 0
    _drawn_ms: int = field(init=False)
    _storefront: Storefront = field(init=False)
    _due: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)
    _coming: list[tuple[int, int, PlayedSession]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up the storefront. Raises ShopError for a shop without products, ModelError for another codebook."""
        check_codebooks(self.vocabulary, self.mix)
        self._drawn_ms = self.now_ms
        self._storefront = Storefront(self.shop)

    def follow(self, mix: Mix) -> None:
        """Draw newcomers from this mix from now on. Raises ModelError when it is of another codebook."""
        check_codebooks(self.vocabulary, mix)
        self.mix = mix

    def live(self, until_ms: int) -> Come:
        """Let event time pass up to ``until_ms``: newcomers begin, and clicks that fall due are handed out.

        The windows that newcomers are drawn for do not depend on the steps, so neither does who comes. Within a window
        arrivals are a Poisson number at uniform times, which makes them a Poisson process.
        """
        while self._drawn_ms < until_ms:
            self._draw_window()
        self.now_ms = max(self.now_ms, until_ms)
        sessions = []
        while self._coming and self._coming[0][0] < until_ms:
            sessions.append(heapq.heappop(self._coming)[2])
        self.begun += len(sessions)
        due = []
        while self._due and self._due[0][0] < until_ms:
            due.append(heapq.heappop(self._due)[2])
        return Come(sessions, due)

    @property
    def waiting_clicks(self) -> int:
        """Clicks of begun sessions whose time has not come."""
        return len(self._due)

    def _draw_window(self) -> None:
        span = Span(self._drawn_ms, self._drawn_ms + self.window_ms)
        unit = draw(self.seed, 0, self.windows, Purpose.ARRIVALS)
        count = max(int(poisson.ppf(unit, self.rate_per_ms * self.window_ms)), 0)
        agents = np.arange(self.agents, self.agents + count)
        self.agents, self.windows, self._drawn_ms = self.agents + count, self.windows + 1, span.end_ms
        codes = sampled(self.mix, agents, self.seed)
        played = play(self.backend, self.vocabulary, self._storefront, agents, codes, span, self.seed, self.gap_ms)
        for session in played.sessions:
            heapq.heappush(self._coming, (session.times_ms[0], session.agent, session))
            clicks = click_events(session, self.run_id, self.shop.merchant_id, self.shop.currency)
            for t_ms, click in zip(session.times_ms, clicks, strict=True):
                heapq.heappush(self._due, (t_ms, str(click["event_id"]), click))
