"""A model behind an OpenAI-compatible endpoint (vLLM, Ollama, a paid one) as a backend, and what it would cost.

The model is asked for moves alone: who the shopper is, what the shop offers, what happened so far; it answers with one
action as JSON. Device, moment and pauses are the scripted chain's: they would cost as many requests again and tell
nothing about a storefront. Answers are asked for with a seed of (seed, agent, step), which servers honour as they can.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent_runtime.backends import Cast, Kind, Scores, kind_at
from agent_runtime.errors import EndpointError, TraceError
from agent_runtime.models.markov import MarkovChain
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS, Action
from agent_runtime.vocabulary import TRAITS, Tokens, Vocabulary
from schemas.events import I32, I64

LEAVE_ANSWER: Mapping[str, str] = {"event": "leave"}
#: Log-probability of what was not answered: drawn only where the answer is not on offer.
_UNTOLD = -60.0
_TIMEOUT_S = 60.0
#: An answer that is no action is asked for once more; then the shopper leaves.
_ASKED = 2
#: A server that is busy or stumbles is asked again after these pauses.
_PAUSES_S = (0.5, 2.0, 8.0)
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_SEEDS = 2**31

_TASK = (
    "You are a shopper in an online shop. Answer with your next move alone, as one JSON object from this list: "
    + json.dumps([action.to_json() for action in ACTIONS] + [dict(LEAVE_ANSWER)], separators=(",", ":"))
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the model is. ``url`` ends before ``/chat/completions``; ``at_once`` requests are under way together."""

    url: str
    model: str
    key: str = ""
    at_once: int = 16


@dataclass(slots=True)
class Tally:
    """What a run has asked for so far; ``invalid`` answers were no action."""

    requests: int = 0
    invalid: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Endpoint:
    """A ``Rowwise`` backend. ``personas`` code path -> a sentence about it. Raises EndpointError while playing."""

    address: Address
    chain: MarkovChain
    personas: Mapping[str, str]
    tally: Tally = field(default_factory=Tally)

    @property
    def vocabulary(self) -> Vocabulary:
        """The chain's words."""
        return self.chain.vocabulary

    def cast(self, seed: int, agents: I64, codes: I32) -> Cast:
        """Return what decides for these shoppers; see ``Rowwise``."""
        return _Asked(self, seed, agents, codes)

    def messages(self, code: int, actions: list[int]) -> list[dict[str, str]]:
        """Return what the model is told before a move: the type in words and the moves so far."""
        path = self.vocabulary.code_paths[code]
        who = self.personas.get(path, f"a shopper of type {path}")
        so_far = json.dumps([ACTIONS[action].to_json() for action in actions], separators=(",", ":"))
        return [
            {"role": "system", "content": f"{_TASK}\nWho you are: {who}"},
            {"role": "user", "content": f"Your moves so far: {so_far}\nYour next move:"},
        ]


class _Asked:
    """A ``Cast`` that asks for every move."""

    def __init__(self, endpoint: Endpoint, seed: int, agents: I64, codes: I32) -> None:
        self._endpoint, self._seed, self._agents, self._codes = endpoint, seed, agents, codes

    def scores(self, tokens: Tokens, rows: I64) -> Scores:
        """Return the chain's scores of traits and pauses, and all but the answer ruled out for moves."""
        words, position = self._endpoint.vocabulary, tokens.shape[1]
        if kind_at(position, words) not in (Kind.FIRST, Kind.ACTION):
            return self._endpoint.chain.scores(tokens[rows])
        scores = np.full((len(rows), len(words)), _UNTOLD, np.float32)
        with ThreadPoolExecutor(self._endpoint.address.at_once) as pool:
            answers = list(pool.map(lambda row: self._move(tokens[row], int(row)), rows))
        for place, move in enumerate(answers):
            scores[place, (words.leave if move is None else words.action(move)) - words.offset] = 0.0
        return scores

    def _move(self, told: Tokens, row: int) -> int | None:
        """Return the place in ``ACTIONS`` of one shopper's next move, None for leaving."""
        first, end = self._endpoint.vocabulary.ranges["action"]
        said = told[self._endpoint.vocabulary.prompt_length + TRAITS :]
        actions = [int(word - first) for word in said if first <= word < end]
        messages = self._endpoint.messages(int(self._codes[row]), actions)
        tally = self._endpoint.tally
        for turn in range(_ASKED):
            seed = hash((self._seed, int(self._agents[row]), len(actions), turn)) % _SEEDS
            answer = ask(self._endpoint.address, messages, seed)
            usage = answer.get("usage") or {}
            tally.requests += 1
            tally.input_tokens += int(usage.get("prompt_tokens", 0))
            tally.output_tokens += int(usage.get("completion_tokens", 0))
            try:
                return read_move(str(answer["choices"][0]["message"]["content"]))
            except (TraceError, KeyError, IndexError, TypeError):
                tally.invalid += 1
        return None


def read_move(text: str) -> int | None:
    """Return the place in ``ACTIONS`` of an answer, None for leaving. Raises TraceError when it is neither."""
    begin, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[begin : end + 1])
    except ValueError as error:
        raise TraceError(f"{text!r} is no JSON object.") from error
    if value == LEAVE_ANSWER:
        return None
    return ACTION_INDEX[Action.from_json(value).name]


def ask(address: Address, messages: list[dict[str, str]], seed: int) -> dict[str, Any]:
    """Return a chat completion. Raises EndpointError when the server does not answer, or refuses."""
    body = {"model": address.model, "messages": messages, "temperature": 1.0, "max_tokens": 64, "seed": seed}
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {address.key}"} if address.key else {}),
    }
    url = f"{address.url.rstrip('/')}/chat/completions"
    for pause_s in (*_PAUSES_S, None):
        try:
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                value: dict[str, Any] = json.loads(answer.read())
                return value
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code not in _BUSY:
                pause_s = None
        except (OSError, ValueError) as error:
            reason = str(error)
        if pause_s is None:
            break
        time.sleep(pause_s)
    raise EndpointError(
        f"The model {address.model} at {address.url} does not answer ({reason}); check SIMPERSONA_ENDPOINT, "
        "SIMPERSONA_ENDPOINT_MODEL and SIMPERSONA_ENDPOINT_KEY."
    )
