"""Traces as conversations: JSON lines in the chat format that transformers' and TRL's trainers read.

One session is one conversation. The system message tells the storefront's capabilities and who shops; each user
message is the state before a move, each assistant message the move as the JSON object that the storefronts take, with
the pause before it. Nothing of a trace is lost on the way, see ``read_conversation``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent_runtime.errors import TraceError
from agent_runtime.storefront.actions import ACTION_INDEX, ACTIONS, Action
from agent_runtime.storefront.capabilities import FLAG_GROUPS, NO_FLAGS, Capabilities
from agent_runtime.traces.traces import Traces
from schemas.taxonomy import DEVICES, REFERRERS

#: What leaving the shop is called, beside the actions.
LEAVE = {"leave": "shop"}
#: What a page is called that a shopper sees after an event.
PAGES = {
    "page_viewed": "home",
    "collection_viewed": "collection",
    "search_submitted": "search",
    "product_viewed": "product",
    "cart_viewed": "cart",
    "checkout_started": "checkout",
    "payment_info_submitted": "review",
    "checkout_completed": "thanks",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One session as read from a conversation: places in ``ACTIONS``, and the pause before each but the first."""

    code_path: str
    device: str
    referrer: str
    moment: int
    actions: tuple[int, ...]
    pauses: tuple[int, ...]


def conversations(
    traces: Traces, code_paths: tuple[str, ...], capabilities: Mapping[str, Capabilities]
) -> Iterator[dict[str, Any]]:
    """Yield every trace as an object with ``messages``, and ``merchant`` to split by.

    code_paths    the codebook's, code by code
    capabilities  of the merchants; those of a merchant that is missing are told as none
    """
    steps = traces.steps
    for row in range(len(traces)):
        first, end = int(steps.offsets[row]), int(steps.offsets[row + 1])
        merchant = traces.merchants[traces.merchant[row]]
        told = Told(
            code_paths[traces.code[row]],
            DEVICES[steps.device[row]],
            REFERRERS[steps.referrer[row]],
            int(steps.moment[row]),
            tuple(map(int, steps.action[first:end])),
            tuple(map(int, steps.pace[first + 1 : end])),
        )
        yield {"merchant": merchant, "messages": _messages(told, capabilities.get(merchant))}


def read_conversation(messages: list[dict[str, str]]) -> Told:
    """Return the session of ``conversations``' messages. Raises TraceError when they are none."""
    try:
        who = json.loads(messages[0]["content"])["shopper"]
        said = [json.loads(message["content"]) for message in messages if message["role"] == "assistant"]
        pauses = tuple(int(move.pop("pause")) for move in said[1:] if move != LEAVE)
        actions = tuple(ACTION_INDEX[Action.from_json(move).name] for move in said if move != LEAVE)
        return Told(who["type"], who["device"], who["from"], int(who["moment"]), actions, pauses)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise TraceError(f"These messages are no session ({error!r}); export them with `finetune --export`.") from error


@dataclass(frozen=True, slots=True)
class State:
    """What a shopper has before them at a move: which it is, where they are, what lies in the cart."""

    step: int = 0
    page: str = ""
    cart: int = 0

    def after(self, action: Action) -> "State":
        """Return the state once an action is done."""
        cart = self.cart + {"product_added_to_cart": 1, "product_removed_from_cart": -1}.get(action.event, 0)
        cart = 0 if action.event == "checkout_completed" else max(cart, 0)
        return State(self.step + 1, PAGES.get(action.event, self.page), cart)


def opening(who: Mapping[str, object], flags: Sequence[int]) -> str:
    """Return the system message: the storefront's flags (see ``Capabilities``) in words, and who shops."""
    told = [
        [name for bit, name in enumerate(group) if bits >> bit & 1]
        for group, bits in zip(FLAG_GROUPS, flags, strict=True)
    ]
    events = [name for group in told[:-1] for name in group]
    return brief({"storefront": {"events": events, "products_tell": told[-1]}, "shopper": who})


def brief(content: object) -> str:
    """Return JSON without spaces."""
    return json.dumps(content, separators=(",", ":"))


def _messages(told: Told, can: Capabilities | None) -> list[dict[str, str]]:
    who = {"type": told.code_path, "device": told.device, "from": told.referrer, "moment": told.moment}
    messages = [_message("system", opening(who, NO_FLAGS if can is None else can.flags()))]
    state = State()
    for place, number in enumerate(told.actions):
        action = ACTIONS[number]
        messages.append(_message("user", brief(asdict(state))))
        pause = {"pause": told.pauses[place - 1]} if place else {}
        messages.append(_message("assistant", brief({**action.to_json(), **pause})))
        state = state.after(action)
    messages.append(_message("user", brief(asdict(state))))
    messages.append(_message("assistant", brief(LEAVE)))
    return messages


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
