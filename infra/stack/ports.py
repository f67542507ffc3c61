"""TCP ports on this machine: free ones, and a clear word about taken ones."""

import socket

from infra.errors import PortInUseError

LOOPBACK = "127.0.0.1"


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
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
