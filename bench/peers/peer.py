"""The list of peers, and how one of them is run and its answer read."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.peers.build import peers_python
from bench.peers.task import Task
from infra.errors import BenchError
from infra.stack.child import Child, ChildSpec
from infra.stack.supervisor import Supervisor

_DEADLINE_S = 600.0
_POLL_INTERVAL_S = 0.05
_TAIL_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to be measured beside.

    name     its figure, and its module in ``bench.peers``
    at_most  events it gets where it is too slow for the whole backlog; None: all
    python   the interpreter that has what it needs; raises BenchError when that cannot be had
    """

    name: str
    at_most: int | None
    python: Callable[[], Path]


def _own_python() -> Path:
    return Path(sys.executable)


#: In the order in which they run. Bytewax slows down with the events behind it (docs/log.md): a short beginning of the
#: backlog would flatter it threefold. Quix Streams costs the same at 50 000 events as at 200 000.
PEERS = (
    Peer("aiokafka_fastavro", None, _own_python),
    Peer("kafka_streams_session", None, _own_python),
    Peer("quix_session", 100_000, peers_python),
    Peer("bytewax_session", 300_000, peers_python),
    Peer("faust_plain", 40_000, _own_python),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer said: time and processor time for so many events, and the versions it ran with."""

    seconds: float
    cpu_s: float
    events: int
    versions: dict[str, str]


def run_peer(peer: Peer, task: Task, supervisor: Supervisor, log: Path) -> Answer:
    """Run a peer to its end and return its answer.

    Raises BenchError, one sentence, when it cannot be run, fails, or takes longer than ten minutes.
    """
    argv = [str(peer.python()), "-m", f"bench.peers.{peer.name}", *task.arguments()]
    environment = {"PYTHONPATH": str(Path(bench.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    spec = ChildSpec(peer.name, argv, log, env=environment)
    program = supervisor.start(lambda: _Program(Child(spec)))
    try:
        code = _exit_code(program.child)
    finally:
        supervisor.stop(program)
    return read_answer(peer.name, log.read_text(errors="replace"), code)


def read_answer(name: str, said: str, code: int | None) -> Answer:
    """Return the answer in what a peer printed. Raises BenchError when there is none."""
    lines = [line for line in said.splitlines() if line.strip()]
    answers = [line for line in lines if line.startswith('{"seconds"')]
    if not answers:
        how = "took too long" if code is None else f"ended with code {code}"
        raise BenchError(f"{name} {how} and said: {(lines or ['nothing'])[-1].strip()[-_TAIL_CHARACTERS:]}")
    return Answer(**json.loads(answers[-1]))


class _Program:
    """A peer as the supervisor keeps it."""

    def __init__(self, child: Child) -> None:
        self.child = child


def _exit_code(child: Child) -> int | None:
    give_up_s = time.monotonic() + _DEADLINE_S
    while child.exit_code() is None and time.monotonic() < give_up_s:
        time.sleep(_POLL_INTERVAL_S)
    return child.exit_code()
