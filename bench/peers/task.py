"""What a peer is told on its command line, the same for every peer."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement of one peer.

    kafka       bootstrap servers
    topic       a click topic that holds at least ``events`` clicks and takes no more during the run
    partitions  of the topic
    events      clicks after which the peer is done
    warm_up     the first of them (at least one), left out of the figure: joining a group, compiling, cold caches
    gap_ms, lateness_ms, commit_ms  the session rules and the commit interval of our own worker
    folder      empty, for the peer's state
    """

    kafka: str
    topic: str
    partitions: int
    events: int
    warm_up: int
    gap_ms: int
    lateness_ms: int
    commit_ms: int
    folder: Path

    def arguments(self) -> list[str]:
        """Return the command line that ``parse`` reads."""
        return [text for name in _NAMES for text in (f"--{name.replace('_', '-')}", str(getattr(self, name)))]

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> "Task":
        """Read a command line (None: the process's own); ends the process with code 2 when it is not complete."""
        parser = argparse.ArgumentParser(prog="python -m bench.peers.NAME", description=__doc__)
        for field in fields(cls):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, required=True)
        return cls(**vars(parser.parse_args(arguments)))


_NAMES = [field.name for field in fields(Task)]
