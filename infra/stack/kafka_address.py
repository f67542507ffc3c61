"""Whether a Kafka answers at an address, asked quietly."""

import socket

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from infra.errors import BrokerUnreachableError

CONNECT_TIMEOUT_S = 5.0


def answers_metadata(bootstrap: str) -> bool:
    """Return whether a broker at the bootstrap addresses answers a metadata request."""
    try:
        require_kafka(bootstrap)
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    except (KafkaError, BrokerUnreachableError):
        return False
    admin.close()
    return True


def require_kafka(bootstrap: str) -> None:
    """Return when one of the bootstrap addresses accepts connections. Raises BrokerUnreachableError.

    Kafka clients retry for a long time and log every try; a plain socket says at once what is wrong.
    """
    reasons = []
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
            return
        except OSError as error:
            reasons.append(f"{address.strip()}: {error.strerror or error}")
        except (ValueError, OverflowError):
            reasons.append(f"{address.strip()!r} is not host:port")
    raise BrokerUnreachableError(
        f"No Kafka broker answers ({'; '.join(reasons)}); start one with `simpersona up` or correct SIMPERSONA_KAFKA."
    )
