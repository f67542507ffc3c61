"""Workers that are killed, asked to stop, joined by others, or hung."""

import os
import random
from collections import Counter

import psutil
import pytest

from schemas.assignment_codec import decode_assignments
from schemas.topics import CLICKS_REJECTED, SESSIONS_ASSIGNED
from tests.faults.kafka_log import read_topic
from tests.faults.stage import PARTITIONS, Stage
from tests.worker_process import Worker, until

#: Kills in one replay.
KILLS = max(20, int(os.environ.get("SIMPERSONA_FAULT_KILLS", "20")))
#: Longest wait for a worker to get as far as the kill was meant for; then it dies where it is.
KILL_WITHIN_S = 8.0
#: How long workers hang: many session timeouts.
HUNG_S = 90.0

#: A worker that is to kill itself at a step gets there within this, its start included.
DOOM_S = 120.0
#: What a worker does at a commit and around it.
STEPS = {
    "restoring state": "streams.hops.click_hop:ClickHop.assigned",
    "processing a chunk": "streams.hops.click_hop:ClickHop.process",
    "rows of sessions being acknowledged": "streams.broker.emit:Emitter._acknowledged",
    "beginning a snapshot": "aiokafka:AIOKafkaProducer.begin_transaction",
    "committing a snapshot": "aiokafka:AIOKafkaProducer.commit_transaction",
    "committing offsets": "streams.broker.transport:ChunkConsumer._commit",
    "storing rows": "streams.store.connection:Store.insert",
    "publishing a mix": "streams.mixes.topic:MixTopic.announce",
    "releasing partitions": "streams.hops.click_hop:ClickHop.revoked",
}

pytestmark = pytest.mark.kafka


def doomed(step: str, number: int, blow: str) -> tuple[str, ...]:
    return ("-m", "tests.faults.doomed", step, str(number), blow)


def hung(worker: Worker) -> bool:
    return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED


def test_final_rows_are_those_of_the_offline_pass_although_workers_are_killed_twenty_times(stage: Stage) -> None:
    draw = random.Random(20)
    stage.start_worker()
    stage.start_worker()
    for kill in range(KILLS):
        stage.feed.send((kill + 1) / (KILLS + 1))
        until(lambda: any(worker.partitions for worker in stage.running), "a worker to own partitions")
        victim = draw.choice([worker for worker in stage.running if worker.partitions])
        stage.reach(victim, records=draw.randrange(1 + len(stage.clicks.records) // KILLS), within_s=KILL_WITHIN_S)
        victim.kill()
        stage.start_worker()
    verdict = stage.verdict("worker killed at random", KILLS)
    assert verdict.problems == {}


def test_a_worker_may_be_killed_before_any_step_of_a_commit(stage: Stage) -> None:
    draw = random.Random(7)
    for number, (what, step) in enumerate(STEPS.items()):
        # Restoring and releasing happen once; of the others any of the first calls.
        call = 1 if what in ("restoring state", "releasing partitions") else draw.randint(1, 6)
        worker = stage.start_worker(doomed(step, call, "KILL"), worker_id="lasting")
        if what == "releasing partitions":
            until(lambda worker=worker: worker.partitions > 0, "the worker to join")
            worker.process.terminate()
        # Evenly, so that there are many commits; a worker that is still starting finds the rest at once.
        stage.during(DOOM_S, upto=(number + 1) / (len(STEPS) + 1), until=lambda worker=worker: not worker.running)
        assert not worker.running, f"it did not end before {what}"
    stage.start_worker(worker_id="lasting")
    verdict = stage.verdict("worker killed before each step of a commit", len(STEPS))
    assert verdict.problems == {}


def test_a_worker_asked_to_stop_under_load_ends_well_and_leaves_nothing_to_be_done_twice(stage: Stage) -> None:
    stops = 4
    for number in range(stops):
        worker = stage.start_worker()
        stage.feed.send((number + 1) / (stops + 1))
        stage.reach(worker, records=500)
        assert worker.stop() == 0, worker.log.read_text()
    last = stage.start_worker()
    verdict = stage.verdict("worker asked to stop", stops)
    assert verdict.problems == {}
    assert last.count('events_total{outcome="replayed"') == 0

    finals: Counter[tuple[str, bytes]] = Counter()
    for batch in decode_assignments([record.value or b"" for record in read_topic(stage.bootstrap, SESSIONS_ASSIGNED)]):
        rows = zip(batch.merchant_id.tolist(), batch.session_id.tolist(), batch.is_final.tolist(), strict=True)
        finals.update((merchant, session) for merchant, session, final in rows if final)
    assert max(finals.values()) == 1
    rejected = Counter(record.value for record in read_topic(stage.bootstrap, CLICKS_REJECTED))
    assert max(rejected.values()) == 1


def delays(worker: Worker) -> int:
    """Return how many partitions of live clicks a worker tells the event time of."""
    return worker.page("/metrics").count('simpersona_watermark_delay_seconds{partition="')


def test_one_worker_becomes_three_and_then_two_under_load(stage: Stage) -> None:
    first = stage.start_worker(standby_replicas=1)
    stage.reach(first, records=100, upto=0.2)
    others = [stage.start_worker(standby_replicas=1), stage.start_worker(standby_replicas=1)]
    stage.feed.send(0.4)
    stage.share_out(*stage.running)
    stage.feed.send(0.7)
    stage.reach(others[0], records=100)
    until(lambda: delays(others[0]) > 0, "a new owner to tell how far behind it is")
    until(lambda: sum(map(delays, stage.running)) <= PARTITIONS, "former owners to tell nothing of what they lost")
    assert first.stop() == 0, first.log.read_text()
    stage.feed.send(0.9)
    stage.share_out(*others)
    verdict = stage.verdict("1 → 3 → 2 workers", 3)
    assert verdict.problems == {}


def test_a_worker_with_a_lasting_name_comes_back_to_its_partitions_without_a_rebalance(stage: Stage) -> None:
    patient = {"session_timeout_ms": 45_000}
    rounds = 3
    steady = stage.start_worker(worker_id="steady", **patient)
    comes_back = stage.start_worker(worker_id="comes-back", **patient)
    stage.feed.send(0.1)
    stage.share_out(steady, comes_back)
    rebalances, owned = steady.count("rebalances_total"), comes_back.partitions
    for number in range(rounds):
        stage.reach(comes_back, records=100, upto=0.2 + 0.2 * number)
        comes_back.kill()
        comes_back = stage.start_worker(worker_id="comes-back", **patient)
        until(lambda worker=comes_back: worker.partitions > 0, "the worker to come back")
        assert comes_back.partitions == owned
    verdict = stage.verdict("worker with a lasting name killed", rounds)
    assert verdict.problems == {}
    assert steady.count("rebalances_total") == rebalances


def test_workers_that_hung_for_ninety_seconds_overwrite_nothing_when_they_wake(stage: Stage) -> None:
    """Four owners hang at four steps of a commit; the one that took over is killed too, so that state is restored."""
    steps = ("beginning a snapshot", "committing a snapshot", "committing offsets", "storing rows")
    zombies = [stage.start_worker(doomed(STEPS[step], 60, "STOP")) for step in steps]
    until(lambda: all(worker.partitions for worker in zombies), "four workers to share the partitions")
    stage.during(DOOM_S, upto=0.4, until=lambda: all(hung(worker) for worker in zombies))
    heir = stage.start_worker()
    stage.during(HUNG_S, upto=0.8)
    stage.share_out(heir)
    for worker in zombies:
        worker.resume()
    stage.during(5, upto=0.9)
    heir.kill()
    stage.start_worker()
    verdict = stage.verdict("workers hung for 90 s", len(zombies))
    assert verdict.problems == {}


def test_workers_that_hung_until_everything_was_done_change_nothing_when_they_wake(stage: Stage) -> None:
    """What they do last is late beyond repair: nothing that comes after it can put it right."""
    steps = ("publishing a mix", "storing rows")
    zombies = [stage.start_worker(doomed(STEPS[step], 40, "STOP")) for step in steps]
    until(lambda: all(worker.partitions for worker in zombies), "two workers to share the partitions")
    stage.during(DOOM_S, upto=0.5, until=lambda: all(hung(worker) for worker in zombies))
    assert all(hung(worker) for worker in zombies)
    stage.start_worker()
    stage.settle()
    for worker in zombies:
        worker.resume()
    until(lambda: all(not worker.running or worker.partitions for worker in zombies), "them to join again or to end")
    verdict = stage.verdict("workers hung to the end", len(zombies))
    assert verdict.problems == {}
