"""Everything a fault test needs: a broker, a store, the feed and the workers, and the question at the end."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.topics import CLICKS_RAW, CLICKS_REJECTED, SESSIONS_ASSIGNED
from streams.broker.topology import ensure_topics
from streams.hops.click_hop import ClickHop
from tests.faults.clicks import Clicks
from tests.faults.feed import Feed
from tests.faults.kafka_log import committed, unread
from tests.faults.verdict import Verdict, judge
from tests.worker_process import DEADLINE_S, POLL_S, WORKER, Worker, until

PARTITIONS = 4
SECOND_HOP = (SESSIONS_ASSIGNED, CLICKS_REJECTED)
#: A paused feed must not look like an idle partition: between two slices of the log lie minutes of event time.
NEVER_IDLE_MS = 86_400_000
CAUGHT_UP_WITHIN_S = 300.0
#: Between two questions to the broker: each takes a client of its own.
ASK_BROKER_S = 1.0


class Stage:
    """One fault test's broker, store, feed and workers. Workers commit all the time, so that faults hit commits."""

    def __init__(
        self,
        bootstrap: str,
        clickhouse: str,
        clicks: Clicks,
        folder: Path,
        record: Callable[[Verdict], None],
        replication: int = 1,
    ) -> None:
        """Make the topics. ``folder`` takes the workers' logs, ``record`` the verdict for the table."""
        self.bootstrap = bootstrap
        self.clickhouse = clickhouse
        self.clicks = clicks
        self.workers: list[Worker] = []
        #: Of its own: members that were killed are still waited for when the next test begins on the same broker.
        self.group = f"faults-{uuid.uuid4().hex}"
        self._folder = folder
        self._record = record
        self._settings: dict[str, object] = {
            "kafka": bootstrap,
            "clickhouse": clickhouse,
            "encoder": clicks.encoder,
            "group": self.group,
            "partitions": PARTITIONS,
            "replication": replication,
            "chunk_records": 200,
            "commit_interval_ms": 100,
            "provisional_interval_ms": 100,
            "idle_after_ms": NEVER_IDLE_MS,
        }
        asyncio.run(ensure_topics(self.bootstrap, PARTITIONS, replication))
        self.feed = Feed(self.bootstrap, clicks, PARTITIONS)

    def start_worker(self, program: Sequence[str] = WORKER, **settings: object) -> Worker:
        """Start a worker, without waiting for it."""
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(Worker.start(log, {**self._settings, **settings}, program))
        return self.workers[-1]

    @property
    def running(self) -> list[Worker]:
        """Workers that have not ended."""
        return [worker for worker in self.workers if worker.running]

    def share_out(self, *workers: Worker) -> None:
        """Return once these workers own all partitions between them, and each of them some."""
        everything = PARTITIONS * (len(ClickHop.topics) + len(SECOND_HOP))

        def shared() -> bool:
            owned = [worker.partitions for worker in workers]
            return all(owned) and sum(owned) == everything

        until(shared, f"{len(workers)} workers to share the partitions")

    def committed(self, topic: str) -> dict[int, int]:
        """Return the next offset to read per partition of a topic that the workers have committed anything for."""
        return committed(self.bootstrap, self.group, topic)

    def reach(self, worker: Worker, records: int, upto: float | None = None, within_s: float = DEADLINE_S) -> bool:
        """Wait until a worker has processed so many records, sending the log up to a share; say whether it has."""
        if upto is not None:
            self.feed.send(upto)
        give_up = time.monotonic() + within_s
        while worker.count("records_total") < records:
            if time.monotonic() > give_up:
                assert within_s < DEADLINE_S, f"{records} records were never reached"
                return False
            time.sleep(POLL_S)
        return True

    def during(
        self,
        seconds: float,
        upto: float,
        holds: Callable[[], bool] = lambda: True,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """For a time, or until a condition, send the log evenly up to a share of it; ``holds`` must hold all along."""
        began, first = time.monotonic(), self.feed.share
        while (passed := (time.monotonic() - began) / seconds) < 1.0 and not until():
            self.feed.send(first + (upto - first) * passed)
            assert holds()
            time.sleep(POLL_S)
        self.feed.send(upto)

    def settle(self) -> float:
        """Send what is left, wait until the workers have committed all of it; return how many seconds that took."""
        self.feed.finish()
        began = time.monotonic()
        # In this order: the second hop's topics are complete only when the first hop is done.
        for topics in ((CLICKS_RAW,), SECOND_HOP):
            until(
                lambda topics=topics: not unread(self.bootstrap, self.group, topics),
                f"{topics} to be read",
                CAUGHT_UP_WITHIN_S,
                ASK_BROKER_S,
            )
        return time.monotonic() - began

    def verdict(self, fault: str, times: int = 1) -> Verdict:
        """Settle, compare with the offline pass and record the outcome in the table."""
        catch_up_s = self.settle()
        verdict = judge(fault, times, self.bootstrap, self.clickhouse, self.clicks, catch_up_s)
        self._record(verdict)
        return verdict

    def close(self) -> None:
        """Disconnect and end all workers."""
        self.feed.stop()
        for worker in self.running:
            worker.kill()
