"""Two workers against one on the same backlog, and what a worker costs that has nothing to do."""

import time
from pathlib import Path

from bench.backlog import Pace, fill, time_workers
from bench.stand import Stand

DEADLINE_S = 300.0
_IDLE_S = 60.0
#: After the last commit: buyers are refreshed, watermarks settle.
_SETTLE_S = 10.0
#: The broker waits this long for further members before a group's first deal, so that both share it from the start.
_FIRST_DEAL_MS = 6_000


def time_two_workers(folder: Path, encoder: Path, log: Path) -> Pace:
    """Work a log off with two workers, on a broker and a store of their own below ``folder``; return their pace.

    CPU seconds and memory are those of both together.
    """
    with Stand.open(folder, encoder, {"group.initial.rebalance.delay.ms": str(_FIRST_DEAL_MS)}) as stand:
        fill(stand.settings, log)
        workers = [stand.start_worker(f"worker-{number}") for number in (1, 2)]
        return time_workers(stand.settings, workers, DEADLINE_S)


def idle_share(stand: Stand) -> float:
    """Return the CPU seconds per second of a worker that owns all partitions while nothing is produced."""
    worker = stand.start_worker("idle-worker")
    worker.wait_joined()
    time.sleep(_SETTLE_S)
    begun_s, begun_cpu_s = time.monotonic(), worker.cpu_s()
    time.sleep(_IDLE_S)
    share = (worker.cpu_s() - begun_cpu_s) / (time.monotonic() - begun_s)
    stand.stop(worker)
    return share
