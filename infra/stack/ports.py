"""TCP ports on this machine: free ones, and a clear word about taken ones."""

import random
import socket

from infra.errors import PortInUseError

LOOPBACK = "127.0.0.1"
#: Ports that neither Linux nor IANA's recommendation gives to outgoing connections, and that need no privilege.
LASTING_PORTS = range(10_000, 32_768)


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def lasting_port(host: str = LOOPBACK) -> int:
    """Return a free port that no outgoing connection takes while its owner is away and wants to come back to it."""
    port = random.choice(LASTING_PORTS)
    while answers(port, host):
        port = random.choice(LASTING_PORTS)
    return port


def claim_port(port: int, option: str, host: str = LOOPBACK) -> int:
    """Return the port itself, or a free one for 0. Raises PortInUseError when another program listens on it."""
    if port == 0:
        return free_port(host)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUseError(
                f"Port {port} on {host} cannot be used ({error.strerror}): stop the program that listens there, "
                f"or name another port with {option}."
            ) from error
    return port


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Return whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0
