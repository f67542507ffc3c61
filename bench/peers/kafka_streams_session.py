"""Kafka Streams: the count of a session window per client on one thread; a Java program (``bench/kafka_streams``).

This module builds it when it has changed and then becomes it.
"""

import os
import sys
from importlib import resources

from bench.peers.build import session_count_jars
from bench.peers.task import Task
from infra.stack.apache_kafka import java
from schemas.errors import SimpersonaError

#: Room for its caches and for the fetched records, twice what the broker gets.
_HEAP_MB = 1_024


def main() -> None:
    """Replace this process by the Java program; one sentence and exit code 2 when that cannot be built or run."""
    task = Task.parse()
    try:
        jars = session_count_jars()
        program = java()
    except SimpersonaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    schema = resources.files("schemas").joinpath("click_event.avsc")
    heap = [f"-Xms{_HEAP_MB}m", f"-Xmx{_HEAP_MB}m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    command = [program, *heap, "-cp", f"{jars}/*", "simpersona.SessionCount"]
    os.execv(program, [*command, *task.arguments(), "--schema", str(schema)])


if __name__ == "__main__":
    main()
