"""Free ports and taken ones."""

import socket

import pytest

from infra.errors import PortInUseError
from infra.stack.ports import LASTING_PORTS, LOOPBACK, answers, claim_port, free_port, lasting_port

pytestmark = pytest.mark.fast


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server((LOOPBACK, free_port())) as server:
        assert answers(server.getsockname()[1])


def test_a_port_that_was_asked_for_is_kept() -> None:
    port = free_port()
    assert claim_port(port, "--kafka-port") == port


def test_a_taken_port_is_one_clear_sentence_with_the_option_to_change() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError) as raised:
            claim_port(port, "--kafka-port")
    assert str(raised.value) == (
        f"Port {port} on {LOOPBACK} cannot be used (Address already in use): stop the program that listens there, "
        "or name another port with --kafka-port."
    )


def test_nothing_answers_on_a_free_port() -> None:
    assert not answers(free_port())


def test_a_lasting_port_is_free_and_none_that_outgoing_connections_take() -> None:
    port = lasting_port()
    assert port in LASTING_PORTS
    assert claim_port(port, "--kafka-port") == port
    with socket.create_server((LOOPBACK, port)), socket.create_connection((LOOPBACK, port)) as outgoing:
        assert outgoing.getsockname()[1] not in LASTING_PORTS
