"""Apache Kafka itself (KRaft) from Maven's jars: for tests, benchmarks and whoever wants records on disk.

The jars are fetched once into a cache folder; a broker keeps its log in a folder and can be started on it again. One
broker or a cluster of them, each of which is a controller too.
"""

import fcntl
import re
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient

from infra.errors import JavaMissingError, ServiceFailedError
from infra.stack.child import Child, ChildSpec
from infra.stack.kafka_address import answers_metadata
from infra.stack.ports import LOOPBACK, claim_port, free_port, lasting_port

CONFIGURATION = Path(__file__).parent.parent / "kafka"
OLDEST_JAVA = 17
READY_WITHIN_S = 120.0
FETCH_WITHIN_S = 900.0
DEFAULT_CACHE = Path(".simpersona") / "kafka"
#: With so many brokers everything is kept three times, and two must have it.
LEAST_REPLICATED = 3
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


def java() -> str:
    """Return the path of a Java that can run Kafka. Raises JavaMissingError."""
    path = shutil.which("java")
    if path is None:
        raise JavaMissingError(f"Apache Kafka needs Java {OLDEST_JAVA} or newer and no `java` is here; install one.")
    shown = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', shown)
    if version is None or int(version.group(1)) < OLDEST_JAVA:
        said = shown.strip().split("\n", 1)[0]
        raise JavaMissingError(f"Apache Kafka needs Java {OLDEST_JAVA} or newer; `java -version` says: {said}.")
    return path


def fetch_jars(cache: Path = DEFAULT_CACHE) -> Path:
    """Return the folder of Kafka's jars, fetched by Maven when they are not there yet.

    Several processes may call it at once. Raises JavaMissingError without Maven, ServiceFailedError when it fails.
    """
    pom = CONFIGURATION / "pom.xml"
    found = re.search(r"<kafka.version>(.+)</kafka.version>", pom.read_text())
    if found is None:
        raise ServiceFailedError(f"{pom} names no kafka.version; put the package's own file back.")
    jars = cache / found.group(1)
    complete = jars / ".complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists():
            return jars
        maven = shutil.which("mvn")
        if maven is None:
            raise JavaMissingError("Apache Kafka is fetched by Maven and no `mvn` is here; install Maven.")
        target = f"-DoutputDirectory={jars.resolve()}"
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_WITHIN_S)
        if done.returncode != 0:
            said = " / ".join((done.stdout + done.stderr).strip().splitlines()[:3])
            raise ServiceFailedError(f"Maven could not fetch Apache Kafka ({said}); check the network and try again.")
        complete.touch()
    return jars


def read_properties(text: str) -> dict[str, str]:
    """Return the settings of a ``.properties`` text (plain ``name=value`` lines and # comments)."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Node:
    """A broker's number and the ports at which clients and the other controllers reach it."""

    number: int
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        """Host and port for clients."""
        return f"{LOOPBACK}:{self.port}"

    def settings(self, quorum: "Sequence[Node]", log: Path) -> dict[str, str]:
        """Return the properties that belong to this one of a quorum's nodes."""
        voters = [f"{voter.number}@{LOOPBACK}:{voter.controller_port}" for voter in quorum]
        return {
            "node.id": str(self.number),
            "listeners": f"BROKER://{self.address},CONTROLLER://{LOOPBACK}:{self.controller_port}",
            "advertised.listeners": f"BROKER://{self.address}",
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(log.resolve()),
        }


def new_cluster_id() -> str:
    """Return an identifier as `StorageTool random-uuid` makes them."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class ApacheKafka:
    """A running Apache Kafka on the loopback address."""

    def __init__(self, child: Child, node: Node) -> None:
        """Hold a started broker; use `start`."""
        self.child = child
        self.bootstrap = node.address

    @classmethod
    def start(
        cls,
        folder: Path,
        jars: Path,
        port: int = 0,
        heap_mb: int = 512,
        properties: Mapping[str, str] | None = None,
    ) -> "ApacheKafka":
        """Start a broker whose log is in the folder (kept, and used again when it is there), without waiting.

        `properties` replace those of ``infra/kafka/server.properties``. Raises JavaMissingError, PortInUseError, or
        ServiceFailedError when the folder cannot be formatted.
        """
        node = Node(1, claim_port(port, "--kafka-port"), free_port())
        return cls.join([node], node, new_cluster_id(), folder, jars, heap_mb, properties or {})

    @classmethod
    def join(
        cls,
        quorum: Sequence[Node],
        node: Node,
        cluster_id: str,
        folder: Path,
        jars: Path,
        heap_mb: int,
        properties: Mapping[str, str],
    ) -> "ApacheKafka":
        """Start one of a quorum's brokers, without waiting; a folder without a log is formatted for the cluster.

        Raises as `start`.
        """
        shared = read_properties((CONFIGURATION / "server.properties").read_text())
        configured = shared | dict(properties) | node.settings(quorum, folder / "log")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in configured.items()))
        log4j = f"-Dlog4j2.configurationFile={CONFIGURATION / 'log4j2.properties'}"
        command = [java(), log4j, "-cp", f"{jars}/*"]
        if not (folder / "log" / "meta.properties").exists():
            # Joined by "=": one identifier in 64 begins with a dash and would be taken for an option.
            format_log = [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(file)]
            done = subprocess.run(format_log, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
                raise ServiceFailedError(f"Apache Kafka could not format {folder}: {said}.")
        heap = [f"-Xmx{heap_mb}m", f"-Xms{heap_mb}m"]
        spec = ChildSpec(
            "Apache Kafka", [*command[:1], *heap, *command[1:], "kafka.Kafka", str(file)], folder / "kafka.log"
        )
        return cls(Child(spec), node)

    def wait_ready(self) -> None:
        """Return once it answers metadata. Raises ServiceFailedError when it does not."""
        self.child.wait_ready(lambda: answers_metadata(self.bootstrap), READY_WITHIN_S)

    def stop(self) -> None:
        """End it cleanly; its log stays in the folder."""
        self.child.stop()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.child.stop(signal.SIGKILL)


class ApacheKafkaCluster:
    """Brokers on fixed ports of the loopback address, each a controller too; each can be killed and come back."""

    def __init__(
        self,
        folder: Path,
        jars: Path,
        brokers: int = 3,
        heap_mb: int = 384,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Start the brokers, each with its log below the folder, without waiting. Raises as `ApacheKafka.start`.

        `properties` replace those of ``infra/kafka/server.properties`` and, where there are three or more brokers, of
        `REPLICATED`.
        """
        self._nodes = [Node(number, lasting_port(), lasting_port()) for number in range(1, brokers + 1)]
        self._folder = folder
        self._jars = jars
        self._heap_mb = heap_mb
        self._properties = (REPLICATED if brokers >= LEAST_REPLICATED else {}) | dict(properties or {})
        self._id = new_cluster_id()
        self._brokers: dict[int, ApacheKafka] = {}
        for number in self.numbers:
            self.restart(number)

    @property
    def numbers(self) -> list[int]:
        """The brokers' numbers, as Kafka's metadata has them."""
        return [node.number for node in self._nodes]

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, those included that are down."""
        return ",".join(node.address for node in self._nodes)

    def wait_ready(self) -> None:
        """Return once all brokers are part of the cluster. Raises ServiceFailedError when they are not."""
        for broker in self._brokers.values():
            broker.wait_ready()
        self._brokers[1].child.wait_ready(lambda: _members(self.bootstrap) == len(self._nodes), READY_WITHIN_S)

    def kill(self, number: int) -> None:
        """End one broker at once, as a power cut would."""
        self._brokers.pop(number).kill()

    def restart(self, number: int) -> None:
        """Start a broker that is down on its own log and ports, without waiting."""
        node = next(node for node in self._nodes if node.number == number)
        folder = self._folder / f"broker-{number}"
        self._brokers[number] = ApacheKafka.join(
            self._nodes, node, self._id, folder, self._jars, self._heap_mb, self._properties
        )

    def stop(self) -> None:
        """End those that run. A clean end needs a quorum, which the last ones do not have."""
        while self._brokers:
            self._brokers.popitem()[1].kill()


def _members(bootstrap: str) -> int:
    """Return how many brokers the cluster counts."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return len(admin.describe_cluster()["brokers"])
    finally:
        admin.close()
