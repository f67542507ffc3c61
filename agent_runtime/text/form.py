"""A session as text that a language model reads: the conversation of ``agent_runtime.traces.chat``, turn by turn.

    <|system|>{"storefront":{…},"shopper":{"type":"<c03><c03.f2>","device":"mobile",…}}
    <|user|>{"step":0,"page":"","cart":0}<|assistant|>{"event":"product_viewed","item":"new",…}
    <|user|>{"step":1,"page":"product","cart":0}<|assistant|>{"event":"cart_viewed","pause":4} …
    <|user|>{…}<|assistant|>{"leave":"shop"}

without the line ends. Every turn adds only what is new. Buyer types and the four markers are tokens of their own.
Pieces of a turn are made into tokens one by one, so that what is trained on and what is played are the same tokens
whatever the tokenizer merges.
"""

from collections.abc import Set
from dataclasses import asdict
from functools import cached_property

import numpy as np
from tokenizers import AddedToken, Tokenizer

from agent_runtime.backends import Kind, kind_at
from agent_runtime.storefront.actions import ACTIONS, MOMENTS, PACES
from agent_runtime.storefront.capabilities import FLAG_GROUPS
from agent_runtime.text.trie import Trie
from agent_runtime.traces.chat import LEAVE, PAGES, State, brief, opening
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from schemas.taxonomy import DEVICES, REFERRERS

MARKERS = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")
_Text = tuple[int, ...]


class TextForm:
    """How a tokenizer writes sessions of a codebook's buyer types. ``Words`` of a training.

    ``offset``: rows of the model's tables from here on are new to it
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary, offset: int = 0) -> None:
        """Add what is missing of the markers and buyer types to the tokenizer."""
        wanted = [*MARKERS, *vocabulary.personas]
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in wanted])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.vocabulary, self.offset = tokenizer, vocabulary, offset
        self.pad, self._system, self._user, self._assistant = self.ids("".join(MARKERS))
        self._turns: dict[State, _Text] = {}

    @property
    def size(self) -> int:
        """Ids of the tokenizer, the added ones included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def spoken(self) -> slice:
        """The words of which the next one is chosen: all."""
        return slice(None)

    def ids(self, text: str) -> _Text:
        """Return a piece's tokens."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def actions(self) -> tuple[_Text, ...]:
        """Tokens of every action, up to where its pause stands."""
        return tuple(self.ids(action_text(place)) for place in range(len(ACTIONS)))

    @cached_property
    def pauses(self) -> tuple[_Text, ...]:
        """Tokens of every pause, which end an action."""
        return tuple(self.ids(pause_text(pace)) for pace in range(PACES))

    @cached_property
    def leaving(self) -> _Text:
        """Tokens of leaving the shop."""
        return self.ids(brief(LEAVE))

    @cached_property
    def _end(self) -> _Text:
        """Tokens of an action's end that has no pause: the first one's."""
        return self.ids("}")

    @cached_property
    def moves_trie(self) -> Trie:
        """All actions in the order of ``ACTIONS``, then leaving."""
        return Trie.of([*self.actions, self.leaving])

    @cached_property
    def pauses_trie(self) -> Trie:
        """All pauses."""
        return Trie.of(self.pauses)

    @cached_property
    def longest(self) -> int:
        """More tokens than any session takes."""
        flags = [(1 << len(group)) - 1 for group in FLAG_GROUPS]
        begins = (
            self._begin(flags, 0, device, referrer, MOMENTS - 1)
            for device in range(len(DEVICES))
            for referrer in range(len(REFERRERS))
        )
        turn = max(len(self.turn(State(MAX_EVENTS, page, MAX_EVENTS))) for page in PAGES.values())
        answer = max(map(len, self.actions)) + max(map(len, self.pauses))
        # A storefront of few events may be written with more tokens, for the tokenizer saw it seldom.
        return 2 * max(map(len, begins)) + (MAX_EVENTS + 1) * (turn + answer)

    def _begin(self, flags: list[int], code: int, device: int, referrer: int, moment: int) -> _Text:
        told = "".join(self.vocabulary.persona(code))
        who = {"type": told, "device": DEVICES[device], "from": REFERRERS[referrer], "moment": moment}
        return (self._system, *self.ids(opening(who, flags)))

    def begin(self, told: Tokens) -> _Text:
        """Return the system message from a session's prompt and traits in the compact words."""
        words = self.vocabulary
        first = words.prompt_length
        flags = [int(token) - words.id(f"<shop{group}:0>") for group, token in enumerate(told[: len(FLAG_GROUPS)])]
        code = int(told[first - 1]) - words.id(f"<{words.code_paths[0]}>")
        kinds = (Kind.DEVICE, Kind.REFERRER, Kind.MOMENT)
        traits = [int(told[first + at]) - words.ranges[kind.value][0] for at, kind in enumerate(kinds)]
        return self._begin(flags, code, *traits)

    def turn(self, state: State) -> _Text:
        """Return the shopper's view before a move, and the marker after which the move is said."""
        if state not in self._turns:
            self._turns[state] = (self._user, *self.ids(brief(asdict(state))), self._assistant)
        return self._turns[state]

    def row(self, told: Tokens) -> Tokens:
        """Return a whole session, (length,) int64, from its compact words, see ``token_rows``."""
        teller = Teller(self)
        return np.array([token for column in range(len(told)) for token in teller.add(told, column)], np.int64)

    def targets(self, ids: Tokens, ignored: int) -> Tokens:
        """Return the ids (B, T) of the shopper's own answers, ``ignored`` in place of all others."""
        asked, answered = np.cumsum(ids == self._user, axis=1), np.cumsum(ids == self._assistant, axis=1)
        said = (asked == answered) & (asked > 0) & (ids != self._assistant) & (ids != self.pad)
        return np.where(said, ids, ignored)

    def stand_ins(self, seen: Set[int]) -> dict[int, list[int]]:
        """Return nothing: whatever is written is made of pieces that were read."""
        return {}


class Teller:
    """Puts one session into text as it goes on."""

    def __init__(self, form: TextForm) -> None:
        self._form, self._state = form, State()

    def add(self, told: Tokens, column: int) -> _Text:
        """Return what the token at ``column`` of a session's compact words adds; call once a column, from the first."""
        form, words, token = self._form, self._form.vocabulary, int(told[column])
        first, end = words.ranges["action"]
        match kind_at(column, words):
            case Kind.MOMENT:
                return form.begin(told) + form.turn(self._state)
            case (Kind.FIRST | Kind.ACTION) as kind if first <= token < end:
                self._state = self._state.after(ACTIONS[token - first])
                said = form.actions[token - first]
                return said if kind is Kind.ACTION else said + form._end + form.turn(self._state)
            case Kind.ACTION if token == words.leave:
                return form.leaving
            case Kind.PACE if token != words.pad:
                return form.pauses[token - words.ranges["pace"][0]] + form.turn(self._state)
        return ()


def action_text(place: int) -> str:
    """Return an action as JSON whose end is left open, for a pause may follow."""
    return brief(ACTIONS[place].to_json())[:-1]


def pause_text(pace: int) -> str:
    """Return what a pause adds to an open action, with its end."""
    return "," + brief({"pause": pace})[1:]
