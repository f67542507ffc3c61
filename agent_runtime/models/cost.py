"""What a run with an API model would cost, before it is started: requests and tokens, and money where prices are told.

A thousand buyers of the same mix are played by the scripted chain, and what the model would be told before each of
their moves is measured. A token is taken to be four bytes of text, as is usual for English and JSON; a server's own
count differs by some tenths.
"""

from dataclasses import dataclass

import numpy as np

from agent_runtime.models.endpoint import Endpoint
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.rollout import Span, play
from schemas.events import I32

_BYTES_PER_TOKEN = 4.0
#: Buyers that a preview plays: moves per session are known to a few per cent then.
SAMPLED = 1_000
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens told and answered, in whatever currency; 0 where the model runs here."""

    told: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class Preview:
    """For ``buyers`` simulated buyers."""

    buyers: int
    requests: float
    input_tokens: float
    output_tokens: float
    cost: float

    def sentence(self) -> str:
        """Return the preview as a person reads it."""
        return (
            f"{self.buyers:,} buyers: about {self.requests:,.0f} requests, {self.input_tokens / _MILLION:,.2f} million "
            f"tokens told and {self.output_tokens / _MILLION:,.3f} million answered; "
            f"{self.cost:,.2f} at the prices set."
        )


def preview(
    endpoint: Endpoint, storefront: Storefront, codes: I32, span: Span, gap_ms: int, prices: Prices, buyers: int
) -> Preview:
    """Return what ``buyers`` of the types ``codes`` (n,), drawn again and again, would take."""
    sample = np.resize(codes, SAMPLED)
    played = play(endpoint.chain, endpoint.vocabulary, storefront, np.arange(len(sample)), sample, span, 0, gap_ms)
    requests = told = answered = 0.0
    for session in played.sessions:
        for place in range(len(session.actions) + session.left):
            messages = endpoint.messages(session.code, list(session.actions[:place]))
            told += sum(len(message["content"].encode()) for message in messages)
            answered += len(str(ACTIONS[session.actions[min(place, len(session.actions) - 1)]].to_json()))
            requests += 1
    scale = buyers / len(sample)
    told_tokens, answered_tokens = scale * told / _BYTES_PER_TOKEN, scale * answered / _BYTES_PER_TOKEN
    cost = (told_tokens * prices.told + answered_tokens * prices.answered) / _MILLION
    return Preview(buyers, scale * requests, told_tokens, answered_tokens, cost)
