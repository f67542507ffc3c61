"""Traces as conversations: JSON lines in the chat format that transformers' and TRL's trainers read.

One session is one conversation. The system message tells the storefront's capabilities and who shops; each user
message is the state before a move, each assistant message the move as the JSON object that the storefronts take, with
the pause before it. Nothing of a trace is lost on the way, see ``read_conversation``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent_runtime.actions import ACTION_INDEX, ACTIONS, Action
from agent_runtime.capabilities import FLAG_GROUPS, Capabilities
from agent_runtime.errors import TraceError
from agent_runtime.traces import Traces
from schemas.taxonomy import DEVICES, REFERRERS

#: What leaving the shop is called, beside the actions.
LEAVE = {"leave": "shop"}
_PAGES = {
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


def _messages(told: Told, can: Capabilities | None) -> list[dict[str, str]]:
    who = {"type": told.code_path, "device": told.device, "from": told.referrer, "moment": told.moment}
    offered = [] if can is None else [name for group in FLAG_GROUPS[:-1] for name in group if name in can.events]
    listed = [] if can is None else [name for name in FLAG_GROUPS[-1] if can.fills("product_viewed", name)]
    messages = [_message("system", {"storefront": {"events": offered, "products_tell": listed}, "shopper": who})]
    page, cart = "", 0
    for place, number in enumerate(told.actions):
        action = ACTIONS[number]
        messages.append(_message("user", {"step": place, "page": page, "cart": cart}))
        pause = {"pause": told.pauses[place - 1]} if place else {}
        messages.append(_message("assistant", {**action.to_json(), **pause}))
        page = _PAGES.get(action.event, page)
        cart += {"product_added_to_cart": 1, "product_removed_from_cart": -1}.get(action.event, 0)
        cart = 0 if action.event == "checkout_completed" else max(cart, 0)
    messages.append(_message("user", {"step": len(told.actions), "page": page, "cart": cart}))
    messages.append(_message("assistant", LEAVE))
    return messages


def _message(role: str, content: Mapping[str, object]) -> dict[str, str]:
    return {"role": role, "content": json.dumps(content, separators=(",", ":"))}
