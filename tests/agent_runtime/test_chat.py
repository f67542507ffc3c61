"""Traces as conversations: nothing is lost on the way to JSON and back."""

import json

import numpy as np
import pytest

from agent_runtime.errors import TraceError
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.shop import Shop
from agent_runtime.traces.chat import LEAVE, conversations, read_conversation
from agent_runtime.traces.traces import Traces
from schemas.taxonomy import DEVICES, REFERRERS
from tests.agent_runtime.conftest import CODE_PATHS

pytestmark = pytest.mark.fast


def test_every_session_comes_back_whole(toy_traces: Traces, shop: Shop) -> None:
    steps = toy_traces.steps
    lines = list(conversations(toy_traces, CODE_PATHS, {"shop": shop.capabilities}))
    assert len(lines) == len(toy_traces)
    for row, line in enumerate(json.loads(json.dumps(lines))):
        told = read_conversation(line["messages"])
        first, end = steps.offsets[row], steps.offsets[row + 1]
        assert told.actions == tuple(steps.action[first:end])
        assert told.pauses == tuple(steps.pace[first + 1 : end])
        assert told.code_path == CODE_PATHS[toy_traces.code[row]]
        assert (told.device, told.referrer) == (DEVICES[steps.device[row]], REFERRERS[steps.referrer[row]])
        assert told.moment == steps.moment[row]


def test_a_buyers_conversation_reads_as_state_and_action_in_turn(toy_traces: Traces, shop: Shop) -> None:
    buyers = toy_traces.select(np.flatnonzero(toy_traces.code == 2))
    line = next(conversations(buyers, CODE_PATHS, {"shop": shop.capabilities}))
    roles = [message["role"] for message in line["messages"]]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
    said = [json.loads(message["content"]) for message in line["messages"]]
    assert [move["event"] for move in said[2:-2:2]][-3:] == [
        "product_added_to_cart",
        "checkout_started",
        "checkout_completed",
    ]
    assert said[-1] == LEAVE
    assert [state["cart"] for state in said[1::2]][-3:] == [1, 1, 0]
    assert said[-2]["page"] == "thanks"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_every_action_has_one_json_form_that_is_not_leaving(action: object) -> None:
    assert ACTIONS[ACTIONS.index(action)].to_json() != LEAVE  # type: ignore[arg-type]


def test_messages_that_are_no_session_are_said_to_be_none() -> None:
    with pytest.raises(TraceError, match="no session"):
        read_conversation([{"role": "system", "content": "{}"}])
