"""Apache Kafka itself (KRaft, one node) from Maven's jars: for tests, benchmarks and whoever wants records on disk.

The jars are fetched once into a cache folder; the broker keeps its log in a folder and can be started on it again.
"""

import fcntl
import re
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from infra.errors import JavaMissingError, ServiceFailedError
from infra.stack.child import Child, ChildSpec
from infra.stack.kafka_address import answers_metadata
from infra.stack.ports import LOOPBACK, claim_port, free_port

CONFIGURATION = Path(__file__).parent.parent / "kafka"
OLDEST_JAVA = 17
READY_WITHIN_S = 120.0
FETCH_WITHIN_S = 900.0
DEFAULT_CACHE = Path(".simpersona") / "kafka"


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


class ApacheKafka:
    """A running Apache Kafka on the loopback address."""

    def __init__(self, child: Child, port: int) -> None:
        """Hold a started broker; use `start`."""
        self.child = child
        self.bootstrap = f"{LOOPBACK}:{port}"

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
        port = claim_port(port, "--kafka-port")
        controller = free_port()
        configured = read_properties((CONFIGURATION / "server.properties").read_text()) | dict(properties or {})
        configured |= {
            "listeners": f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"BROKER://{LOOPBACK}:{port}",
            "controller.quorum.voters": f"{configured['node.id']}@{LOOPBACK}:{controller}",
            "log.dirs": str((folder / "log").resolve()),
        }
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in configured.items()))
        log4j = f"-Dlog4j2.configurationFile={CONFIGURATION / 'log4j2.properties'}"
        command = [java(), log4j, "-cp", f"{jars}/*"]
        if not (folder / "log" / "meta.properties").exists():
            # Joined by "=" below: one identifier in 64 begins with a dash and would be taken for an option.
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            format_log = [*command, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(file)]
            done = subprocess.run(format_log, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
                raise ServiceFailedError(f"Apache Kafka could not format {folder}: {said}.")
        heap = [f"-Xmx{heap_mb}m", f"-Xms{heap_mb}m"]
        spec = ChildSpec(
            "Apache Kafka", [*command[:1], *heap, *command[1:], "kafka.Kafka", str(file)], folder / "kafka.log"
        )
        return cls(Child(spec), port)

    def wait_ready(self) -> None:
        """Return once it answers metadata. Raises ServiceFailedError when it does not."""
        self.child.wait_ready(lambda: answers_metadata(self.bootstrap), READY_WITHIN_S)

    def stop(self) -> None:
        """End it cleanly; its log stays in the folder."""
        self.child.stop()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.child.stop(signal.SIGKILL)
