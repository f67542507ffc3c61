"""A model behind an endpoint, asked over HTTP; the server here answers by a rule instead of a model."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from agent_runtime.errors import EndpointError, TraceError
from agent_runtime.models.cost import Prices, preview
from agent_runtime.models.endpoint import Address, Endpoint, read_move
from agent_runtime.models.markov import MarkovChain
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.walk.rollout import Span, play

pytestmark = pytest.mark.fast
SPAN = Span(1_763_942_400_000, 1_763_942_400_000 + 7 * 86_400_000)
GAP_MS = 1_800_000
VIEW = '{"event":"product_viewed","item":"new","category":"new","price":"similar"}'


class Server:
    """Answers every request by ``rule``, a function of the request's body to a status and a text."""

    def __init__(self, rule: Callable[[dict[str, Any]], tuple[int, str]]) -> None:
        self.seen: list[tuple[dict[str, Any], str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.seen.append((body, self.headers["Authorization"]))
                status, text = rule(body)
                usage = {"prompt_tokens": 100, "completion_tokens": 10}
                answer = json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()
                self.send_response(status if self.path == "/v1/chat/completions" else 404)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[dict[str, Any]], tuple[int, str]]], Server]]:
    started: list[Server] = []

    def start(rule: Callable[[dict[str, Any]], tuple[int, str]]) -> Server:
        started.append(Server(rule))
        return started[-1]

    yield start
    for server in started:
        server.close()


def so_far(body: dict[str, Any]) -> list[dict[str, str]]:
    line = body["messages"][1]["content"].splitlines()[0]
    moves: list[dict[str, str]] = json.loads(line.partition(": ")[2])
    return moves


def walked(endpoint: Endpoint, shop: Shop, count: int = 6) -> Any:
    agents = np.arange(count)
    codes = (agents % 3).astype(np.int32)
    return play(endpoint, endpoint.vocabulary, Storefront(shop), agents, codes, SPAN, 1, GAP_MS)


def test_shoppers_do_what_the_model_answers(serve: Any, chain: MarkovChain, shop: Shop) -> None:
    def rule(body: dict[str, Any]) -> tuple[int, str]:
        return 200, VIEW if len(so_far(body)) < 3 else 'Well: {"event":"leave"}'

    server = serve(rule)
    endpoint = Endpoint(Address(server.url, "small", "secret"), chain, {"c00.f0": "looks once"})
    sessions = walked(endpoint, shop).sessions
    assert [[ACTIONS[action].event for action in session.actions] for session in sessions] == [
        ["product_viewed"] * 3
    ] * 6
    assert {ACTIONS[session.actions[0]].name for session in sessions} == {"product_viewed:new:new:similar"}
    assert all(session.left for session in sessions)
    assert (endpoint.tally.requests, endpoint.tally.invalid) == (24, 0)
    assert (endpoint.tally.input_tokens, endpoint.tally.output_tokens) == (2_400, 240)
    bodies = [body for body, _ in server.seen]
    assert {key for _, key in server.seen} == {"Bearer secret"}
    assert len({body["seed"] for body in bodies}) == 24
    told = {body["messages"][0]["content"].splitlines()[-1] for body in bodies}
    assert "Who you are: looks once" in told and "Who you are: a shopper of type c01.f0" in told


def test_an_answer_that_is_no_move_is_asked_for_once_more_and_then_ends_the_session(
    serve: Any, chain: MarkovChain, shop: Shop
) -> None:
    server = serve(lambda body: (200, VIEW if not so_far(body) else "I would rather dance."))
    endpoint = Endpoint(Address(server.url, "small"), chain, {})
    sessions = walked(endpoint, shop).sessions
    assert [len(session.actions) for session in sessions] == [1] * 6
    assert (endpoint.tally.requests, endpoint.tally.invalid) == (6 * 3, 6 * 2)


def test_a_busy_server_is_asked_again(serve: Any, chain: MarkovChain, shop: Shop) -> None:
    busy = iter([503])
    server = serve(lambda body: (next(busy, 200), VIEW if not so_far(body) else '{"event":"leave"}'))
    assert len(walked(Endpoint(Address(server.url, "small", at_once=1), chain, {}), shop, 1).sessions) == 1
    assert len(server.seen) == 3


def test_a_server_that_refuses_is_named(serve: Any, chain: MarkovChain, shop: Shop) -> None:
    server = serve(lambda body: (401, ""))
    with pytest.raises(EndpointError, match=r"small at http.* does not answer \(401 .*SIMPERSONA_ENDPOINT_KEY"):
        walked(Endpoint(Address(server.url, "small"), chain, {}), shop)


@pytest.mark.parametrize("text", ["", "{}", '{"event":"dance"}', "[1]", "{"])
def test_what_is_no_move_is_told(text: str) -> None:
    with pytest.raises(TraceError):
        read_move(text)


def test_a_preview_foretells_what_a_run_takes(serve: Any, chain: MarkovChain, shop: Shop) -> None:
    endpoint = Endpoint(Address("http://nowhere", "small"), chain, {})
    codes = np.array([0, 1, 2], np.int32)
    asked = preview(endpoint, Storefront(shop), codes, SPAN, GAP_MS, Prices(2.0, 8.0), 1_000)
    played = play(chain, chain.vocabulary, Storefront(shop), np.arange(1_000), np.resize(codes, 1_000), SPAN, 9, GAP_MS)
    moves = sum(len(session.actions) + session.left for session in played.sessions)
    assert asked.requests == pytest.approx(moves, rel=0.15)
    assert asked.cost == pytest.approx((2.0 * asked.input_tokens + 8.0 * asked.output_tokens) / 1e6)
    system = len(endpoint.messages(0, [])[0]["content"]) / 4
    assert system * asked.requests < asked.input_tokens < 3 * system * asked.requests
    assert "1,000 buyers" in asked.sentence()
