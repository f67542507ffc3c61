"""One held-out storefront, every way of peopling it, every measure: the body of ``align``.

All simulations of a storefront share its flags, its mask, its number of sessions and the figures' real side; what
differs is named by the condition.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from agent_runtime.alignment.measures import code_divergence, measures
from agent_runtime.alignment.yardsticks import derangement, mix_of, replay, uniform_mix
from agent_runtime.backends import Backend
from agent_runtime.crowds.fidelity import session_batch
from agent_runtime.draws import seed_of
from agent_runtime.models.decisions import Decisions, decisions
from agent_runtime.models.told import play_told
from agent_runtime.population.population import Mix, quotas
from agent_runtime.population.prior import MixPrior, steadied
from agent_runtime.simulators.adapter import ACTION_DEVIATIONS, EVENTS_ALONE, Adapter, adapted, fit_biases, spread
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.traces.behaviour import Behaviour, of_played
from agent_runtime.traces.held_out import HeldOut, Recorded
from agent_runtime.traces.traces import Traces, token_rows
from agent_runtime.vocabulary import Tokens, Vocabulary
from agent_runtime.walk.rollout import play
from encoders.serving import Encoder
from schemas.events import I32

Figures = dict[str, float]

#: Conditions that are real sessions against real sessions: what agreement can be had at all.
FLOOR, HALVES = "floor", "floor_halves"
OURS, PLAIN = "persona", "persona_plain"


@dataclass(frozen=True, slots=True)
class Player:
    """A backend and its words. ``typed`` is False for one that was never told buyer types."""

    backend: Backend
    vocabulary: Vocabulary
    typed: bool = True

    def rows(self, traces: Traces, flags: tuple[int, ...]) -> list[Tokens]:
        """Return one merchant's sessions as this backend reads them."""
        return token_rows(traces if self.typed else traces.untyped(), self.vocabulary, [flags])


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part.

    persona     the simulator with persona tokens
    others      condition -> backend without persona tokens (none, 8 × the parameters)
    chain       the scripted Markov chain, or None
    training    real sessions of training merchants to replay, or None; ``training_flags`` (merchants,) their flags
    encoder     for the round trip
    prior       what mixes have in common, towards which each merchant's is drawn, or None
    """

    persona: Player
    encoder: Encoder
    others: Mapping[str, Player] = field(default_factory=dict)
    chain: Player | None = None
    training: Recorded | None = None
    training_flags: tuple[tuple[int, ...], ...] = ()
    prior: MixPrior | None = None


@dataclass(frozen=True, slots=True)
class AlignmentPlan:
    """Dials of one comparison.

    derangements      permutations of the coarse types whose mean is the mismatched figure
    code_derangements  permutations of the full codes, likewise
    other_mixes       mixes of other merchants, likewise
    adapter_sessions  past sessions that the adapter is fitted on, at most, evenly spread
    few_biases        whether an adapter has one bias an event instead of one an action
    plain             backends without persona tokens that are also measured without the adapter
    read_out          future sessions that next-action figures are measured on, at most
    """

    seed: int = 0
    gap_ms: int = 1_800_000
    derangements: int = 5
    code_derangements: int = 1
    other_mixes: int = 2
    adapter_sessions: int = 400
    few_biases: bool = False
    plain: tuple[str, ...] = ("no_persona",)
    read_out: int = 300


class Comparison:
    """One storefront under comparison. ``figures`` fills up: condition -> measure -> value."""

    def __init__(self, held: HeldOut, cast: Cast, plan: AlignmentPlan) -> None:
        self.held, self.cast, self.plan = held, cast, plan
        #: Of its own: storefronts that draw the same numbers err alike, and their mean hardly less than each.
        self.seed = seed_of(plan.seed, held.merchant_id)
        self.storefront = Storefront(held.shop)
        self.flags = held.shop.capabilities.flags()
        self.future = held.future.behaviour
        self.size = len(held.future)
        counted = mix_of(held.merchant_id, cast.encoder.version, held.past.traces.code, held.span.start_ms)
        self.mix = steadied(counted, cast.prior)
        #: full codes under each coarse type
        self.fine = cast.persona.vocabulary.fine
        self.figures: dict[str, Figures] = {}
        self.by_token: list[tuple[I32, Behaviour]] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.adapters: dict[str, Adapter] = {}
        self._read: dict[str, Figures] = {}

    def run(self, other_mixes: Mapping[str, Mix], say: Callable[[str], None] = lambda _: None) -> dict[str, Figures]:
        """Measure every condition and return the figures. ``say`` is told each condition before it begins."""
        self._floors()
        say(OURS)
        adapter = self.adapter(OURS, self.cast.persona)
        codes = quotas(self.mix, self.size, self.seed)
        ours = self.played(self.cast.persona, codes, adapter)
        self.figures[OURS] = self._scored(of_played(ours)) | self._round_trip(ours)
        self.by_token.append((codes, of_played(ours)))
        say(PLAIN)
        self.figures[PLAIN] = self._scored(of_played(self.played(self.cast.persona, codes, None)))
        self._mismatched(codes, adapter, other_mixes, say)
        for name, player in self.cast.others.items():
            say(name)
            nobody = np.zeros(self.size, np.int32)
            own = self.adapter(name, player)
            self.behaviours[name] = of_played(self.played(player, nobody, own))
            self.figures[name] = self._scored(self.behaviours[name])
            if name in self.plan.plain:
                self.figures[f"{name}_plain"] = self._scored(of_played(self.played(player, nobody, None)))
        self._scripted(codes, say)
        for name, figures in self._read.items():
            self.figures[name] |= figures
        return self.figures

    def _floors(self) -> None:
        past, future = self.held.past, self.held.future
        size = self.cast.encoder.size
        fine = self.fine
        self.figures[FLOOR] = measures(self.future, past.behaviour) | {
            "round_trip_js": code_divergence(future.traces.code // fine, past.traces.code // fine, size // fine),
            "round_trip_js_full": code_divergence(future.traces.code, past.traces.code, size),
        }
        joined = past.behaviour.and_more(self.future)
        order = np.random.default_rng(self.seed).permutation(len(joined))
        half = len(joined) // 2
        self.figures[HALVES] = measures(joined.select(order[:half]), joined.select(order[half:]))
        ceiling = play_told(
            self.cast.persona.vocabulary,
            self.storefront,
            future.traces,
            self.held.span,
            self.plan.gap_ms,
            self.seed,
        )
        self.figures["tokeniser"] = self._round_trip(ceiling)

    def _mismatched(
        self, codes: I32, adapter: Adapter, other_mixes: Mapping[str, Mix], say: Callable[[str], None]
    ) -> None:
        paths, seed = self.cast.encoder.code_paths, self.seed
        for name, whole in (("mismatched", True), ("mismatched_codes", False)):
            rounds = []
            for turn in range(self.plan.derangements if whole else self.plan.code_derangements):
                say(f"{name.replace('_', ' ')}, {turn + 1}")
                wrong = derangement(paths, seed + turn, whole)[codes]
                behaviour = of_played(self.played(self.cast.persona, wrong, adapter, turn))
                self.by_token.append((wrong, behaviour))
                rounds.append(self._scored(behaviour))
            self._note(name, rounds)
        rounds = []
        for turn, (merchant, mix) in enumerate(other_mixes.items()):
            say(f"the mix of {merchant}")
            theirs = quotas(steadied(mix, self.cast.prior), self.size, self.seed + turn)
            rounds.append(self._scored(of_played(self.played(self.cast.persona, theirs, adapter, turn))))
        self._note("other_mix", rounds)
        say("uniform mix")
        equal = quotas(uniform_mix(self.mix, self.cast.encoder.size), self.size, self.seed)
        behaviour = of_played(self.played(self.cast.persona, equal, adapter))
        self.by_token.append((equal, behaviour))
        self.figures["uniform"] = self._scored(behaviour)

    def _scripted(self, codes: I32, say: Callable[[str], None]) -> None:
        if self.cast.chain is not None:
            say("markov")
            adapter = self.adapter("markov", self.cast.chain)
            for name, own in (("markov", adapter), ("markov_plain", None)):
                sessions = self.played(self.cast.chain, codes, own)
                self.figures[name] = self._scored(of_played(sessions)) | self._round_trip(sessions)
        training = self.cast.training
        if training is not None:
            say("replay")
            alike = np.array([flags == self.flags for flags in self.cast.training_flags])[training.traces.merchant]
            for name, allowed in (("replay", np.ones(len(training), bool)), ("replay_same_flags", alike)):
                self.figures[name] = self._scored(replay(codes, training, allowed, self.seed))

    def adapter(self, name: str, player: Player, told: Traces | None = None) -> Adapter:
        """Return a backend's adapter, fitted on the past; note what it foretells of the future's next actions.

        told  past sessions with other types than their own, where those are what the backend goes by; then nothing
        is foretold.
        """
        past = self.held.past.traces if told is None else told
        deviations = EVENTS_ALONE if self.plan.few_biases else ACTION_DEVIATIONS
        adapter = fit_biases(self._decisions(player, past, self.plan.adapter_sessions), deviations)
        self.adapters[name] = adapter
        if told is not None:
            return adapter
        ahead = self._decisions(player, self.held.future.traces, self.plan.read_out)
        zero = np.zeros_like(adapter.moves)
        self._read[name] = {
            "next_action_nats": float(ahead.moves.losses(adapter.moves).mean()),
            "next_action_nats_plain": float(ahead.moves.losses(zero).mean()),
            "next_action_accuracy": ahead.moves.accuracy(adapter.moves),
        }
        return adapter

    def _decisions(self, player: Player, traces: Traces, most: int) -> Decisions:
        rows = player.rows(traces, self.flags)
        chosen = [rows[row] for row in spread(len(rows), most)]
        return decisions(player.backend, player.vocabulary, chosen, self.held.shop.capabilities)

    def played(self, player: Player, codes: I32, adapter: Adapter | None, turn: int = 0) -> list[PlayedSession]:
        backend = player.backend if adapter is None else adapted(player.backend, player.vocabulary, adapter)
        return play(
            backend,
            player.vocabulary,
            self.storefront,
            np.arange(len(codes)),
            codes,
            self.held.span,
            self.seed + turn,
            self.plan.gap_ms,
        ).sessions

    def _scored(self, behaviour: Behaviour) -> Figures:
        return measures(self.future, behaviour)

    def _note(self, name: str, rounds: list[Figures]) -> None:
        if rounds:
            self.figures[name] = {key: float(np.mean([one[key] for one in rounds])) for key in rounds[0]}

    def _round_trip(self, sessions: list[PlayedSession]) -> Figures:
        """Return how many sessions come back as the type they were given, and how far the mix is off."""
        encoder = self.cast.encoder
        found = encoder.encode(session_batch(sessions, self.held.merchant_id)).code
        given = np.array([session.code for session in sessions], np.int32)
        fine, real = self.fine, self.held.future.traces.code
        return {
            "own_type": float((found // fine == given // fine).mean()),
            "own_code": float((found == given).mean()),
            "round_trip_js": code_divergence(real // fine, found // fine, encoder.size // fine),
            "round_trip_js_full": code_divergence(real, found, encoder.size),
        }
