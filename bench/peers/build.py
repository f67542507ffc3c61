"""What peers need beyond our own environment, made on demand in a cache folder and kept there."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.errors import BenchError

CACHE = Path(".simpersona") / "peers"
_WITHIN_S = 900.0
_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "requirements.txt"
_KAFKA_STREAMS = _HERE.parent / "kafka_streams"
#: Bytewax has no wheels for later ones.
_PYTHON = ">=3.11,<3.13"


def peers_python(cache: Path = CACHE) -> Path:
    """Return the Python of the environment that holds Quix Streams and Bytewax.

    Raises BenchError, one sentence, when it is not there yet and cannot be made.
    """

    def make(folder: Path) -> None:
        uv = _program("uv", "The peers' environment is made by uv and no `uv` is here; install it with pip.")
        _run([uv, "venv", "--quiet", "--clear", "--python", _PYTHON, str(folder)], "The peers' environment")
        python = folder / "bin" / "python"
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(_REQUIREMENTS)]
        _run(install, "The peers' environment")

    return _made(cache / "python", [_REQUIREMENTS], make) / "bin" / "python"


def session_count_jars(cache: Path = CACHE) -> Path:
    """Return the folder of jars with the Kafka Streams peer and all it needs, built by Maven.

    Raises BenchError, one sentence, when it is not there yet and cannot be built.
    """

    def make(folder: Path) -> None:
        _program("javac", "The Kafka Streams peer is compiled by a JDK and no `javac` is here; install one.")
        maven = _program("mvn", "The Kafka Streams peer is built by Maven and no `mvn` is here; install Maven.")
        pom = str(_KAFKA_STREAMS / "pom.xml")
        target = f"-Dtarget.folder={folder.resolve()}"
        _run([maven, "-q", "-B", "-f", pom, "package", target], "The Kafka Streams peer")

    sources = [_KAFKA_STREAMS / "pom.xml", *sorted((_KAFKA_STREAMS / "src").rglob("*.java"))]
    return _made(cache / "kafka-streams", sources, make)


def _made(cache: Path, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """Return the folder made from some sources, making it first when they have changed; one process at a time."""
    fingerprint = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    # Environments do not survive being moved or reached by another relative path.
    folder = cache.resolve() / fingerprint
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            make(folder)
            (folder / ".complete").touch()
    return folder


def _program(name: str, without: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise BenchError(without)
    return path


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WITHIN_S)
    if done.returncode != 0:
        said = " / ".join((done.stdout + done.stderr).strip().splitlines()[:3])
        raise BenchError(f"{what} could not be made ({said}); check the network and try again.")
