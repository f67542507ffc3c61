"""What `simpersona doctor` looks at in Kafka: broker, topics, copies, retention, clock and the workers' progress."""

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, UnsupportedVersionError

from infra.stack.finding import Finding, Verdict
from infra.stack.kafka_address import require_kafka
from schemas.settings import Settings
from schemas.topics import CLICKS_REJECTED, COMPACTED, SESSIONS_ASSIGNED, SESSIONS_CHANGELOG, SOURCE_OF_TOPIC
from streams.broker.topology import TOPICS

#: Beyond this, lateness and idleness are judged by a clock that is not the others'.
CLOCK_TOLERANCE_MS = 1_000
#: Copies of every record that a cluster of this size or larger should keep.
COPIES = 3
#: What workers read and commit.
READ_TOPICS = (*SOURCE_OF_TOPIC, SESSIONS_ASSIGNED, CLICKS_REJECTED)
#: Commit intervals, and seconds at least, for which the doctor watches whether offsets move.
WATCHED_INTERVALS, WATCHED_S = 3, 3.0


def broker(settings: Settings) -> Finding:
    """A Kafka broker answers."""
    with _admin(settings) as admin:
        brokers = admin.describe_cluster()["brokers"]
    return Finding("broker", Verdict.OK, f"{settings.kafka} answers, {len(brokers)} broker(s)")


def topics(settings: Settings) -> Finding:
    """All topics exist; a click topic's sessions find their changelog partition (co-partitioning)."""
    with _admin(settings) as admin:
        counts = {name: len(partitions) for name, partitions in _described(admin).items()}
        brokers = len(admin.describe_cluster()["brokers"])
    if settings.replication > brokers and len(counts) < len(TOPICS):
        found = f"SIMPERSONA_REPLICATION is {settings.replication}, the cluster has {brokers} broker(s)"
        return Finding("topics", Verdict.FAILED, found, "Lower it, or start more brokers; then `simpersona migrate`.")
    return judged_topics(counts, settings.partitions)


def judged_topics(counts: Mapping[str, int], wanted: int) -> Finding:
    """Judge the partitions of the topics that are there against each other and the setting."""
    missing = [topic for topic in TOPICS if topic not in counts]
    if missing:
        return Finding("topics", Verdict.FAILED, f"missing: {', '.join(missing)}", "Run `simpersona migrate`.")
    short = [topic for topic in SOURCE_OF_TOPIC if counts[topic] > counts[SESSIONS_CHANGELOG]]
    if short:
        return Finding(
            "topics",
            Verdict.FAILED,
            f"not co-partitioned: {', '.join(short)} with more partitions than {SESSIONS_CHANGELOG} "
            f"({counts[SESSIONS_CHANGELOG]})",
            f"Give {SESSIONS_CHANGELOG} as many partitions as the click topics.",
        )
    other = {topic: count for topic, count in counts.items() if count != wanted}
    shown = ", ".join(f"{topic} {count}" for topic, count in counts.items())
    if other:
        remedy = "New topics would get other counts: set SIMPERSONA_PARTITIONS to what is there."
        return Finding("topics", Verdict.WARNING, f"partitions: {shown}; the setting says {wanted}", remedy)
    return Finding("topics", Verdict.OK, f"{len(counts)} topics of {wanted} partitions")


def copies(settings: Settings) -> Finding:
    """Every partition has a leader, and as many living copies as it should and the cluster can hold."""
    with _admin(settings) as admin:
        return judged_copies(_described(admin), len(admin.describe_cluster()["brokers"]))


def judged_copies(partitions: Mapping[str, Sequence[Mapping[str, Any]]], brokers: int) -> Finding:
    """Judge leaders and replicas of topics' partitions, as Kafka describes them."""
    leaderless = sorted(topic for topic, found in partitions.items() if any(one["leader_id"] < 0 for one in found))
    if leaderless:
        remedy = "Bring the missing brokers back; until then nothing can be written there."
        return Finding("copies", Verdict.FAILED, f"partitions without a leader: {', '.join(leaderless)}", remedy)
    behind = sorted(
        t for t, found in partitions.items() if any(len(p["isr_nodes"]) < len(p["replica_nodes"]) for p in found)
    )
    if behind:
        remedy = "A broker is away or slow: bring it back before another one fails."
        return Finding("copies", Verdict.WARNING, f"copies missing or behind: {', '.join(behind)}", remedy)
    fewest = min((len(one["replica_nodes"]) for found in partitions.values() for one in found), default=1)
    if fewest < min(COPIES, brokers):
        few = sorted(t for t, found in partitions.items() if any(len(one["replica_nodes"]) == fewest for one in found))
        remedy = "Add replicas with kafka-reassign-partitions.sh, and set SIMPERSONA_REPLICATION for new topics."
        found = f"{fewest} copy of {', '.join(few)} on {brokers} brokers: one broker lost may lose records"
        return Finding("copies", Verdict.WARNING, found, remedy)
    return Finding("copies", Verdict.OK, f"{fewest} on {brokers} broker(s), all in step")


def retention(settings: Settings) -> Finding:
    """What must keep the latest record of every key for ever is compacted, and never deleted by age or size."""
    with _admin(settings) as admin:
        there = sorted(COMPACTED & set(admin.list_topics()))
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in there]
        told = admin.describe_configs(resources, config_filter="all").get("topic", {}) if there else {}
    policies = {topic: str(told[topic].get("cleanup.policy", {}).get("value", "unknown")) for topic in there}
    wrong = {topic: policy for topic, policy in policies.items() if policy != "compact"}
    if wrong:
        shown = ", ".join(f"{topic} has cleanup.policy={policy}" for topic, policy in wrong.items())
        commands = "; ".join(
            f"kafka-configs.sh --bootstrap-server {settings.kafka} --alter --topic {topic} "
            "--add-config cleanup.policy=compact"
            for topic in wrong
        )
        return Finding("retention", Verdict.FAILED, f"{shown}: open sessions would be forgotten", commands)
    return Finding("retention", Verdict.OK, f"{', '.join(there) or 'nothing'} compacted, nothing deleted by age")


def kafka_clock(settings: Settings) -> Finding:
    """Kafka's clock and ours agree, by what its controller says when it last heard from itself."""
    with _admin(settings) as admin:
        before_ms = _now_ms()
        try:
            quorum = admin.describe_metadata_quorum()
        except UnsupportedVersionError:
            found = "the broker does not tell its time (the embedded one has ours)"
            return Finding("kafka_clock", Verdict.SKIPPED, found)
        after_ms = _now_ms()
    [partition] = quorum["topics"][0]["partitions"]
    [leader] = [one for one in partition["current_voters"] if one["replica_id"] == partition["leader_id"]]
    return judged_clock("kafka_clock", "Kafka", before_ms, int(leader["last_caught_up_timestamp"]), after_ms)


def judged_clock(check: str, whose: str, before_ms: int, theirs_ms: int, after_ms: int) -> Finding:
    """Judge a clock that was read between two readings of ours."""
    apart_ms = max(before_ms - theirs_ms, theirs_ms - after_ms, 0)
    if apart_ms > CLOCK_TOLERANCE_MS:
        found = f"this machine's clock and {whose}'s are {apart_ms} ms apart"
        return Finding(check, Verdict.WARNING, found, "Keep both in step with NTP.")
    return Finding(check, Verdict.OK, f"within {apart_ms} ms of {whose}'s")


def workers(settings: Settings) -> Finding:
    """What waits in the topics is being read: somebody is in the workers' group, and its offsets move."""
    with _admin(settings) as admin:
        partitions = [TopicPartition(t, one["partition_index"]) for t, p in _described(admin).items() for one in p]
        read = [partition for partition in partitions if partition.topic in READ_TOPICS]
        members = _members(admin, settings.group)
        before = _committed(admin, settings.group, read)
        waiting = _waiting(admin, before, read)
        moved: set[TopicPartition] = set()
        give_up_s = time.monotonic() + max(WATCHED_S, WATCHED_INTERVALS * settings.commit_interval_ms / 1000)
        while waiting.keys() - moved and time.monotonic() < give_up_s:
            time.sleep(0.2)
            now = _committed(admin, settings.group, read)
            moved = {partition for partition in waiting if now[partition] != before[partition]}
    return judged_workers(settings.group, members, waiting, waiting.keys() - moved)


def judged_workers(
    group: str,
    members: int | None,
    waiting: Mapping[TopicPartition, int],
    stuck: Set[TopicPartition],
) -> Finding:
    """Judge a group: its members (None: the broker does not tell), records waiting, partitions that did not move."""
    who = f"group {group}" if members is None else f"{members} worker(s) in group {group}"
    if not waiting:
        return Finding("workers", Verdict.OK, f"{who}; nothing waits")
    if not stuck:
        return Finding("workers", Verdict.OK, f"{who}; {sum(waiting.values()):,} records wait and are being read")
    places = ", ".join(f"{partition.topic}/{partition.partition}" for partition in sorted(stuck)[:4])
    more = f" and {len(stuck) - 4} more" if len(stuck) > 4 else ""
    found = f"{who}; {sum(waiting[one] for one in stuck):,} records wait in {places}{more} and no offset moves"
    if members:
        remedy = "Ask the workers' /health and logs what they wait for; restart one that says `not progressing`."
        return Finding("workers", Verdict.FAILED, found, remedy)
    remedy = "Start `simpersona worker`."
    if members is None:
        remedy = "Start `simpersona worker`; if one runs, ask its /health what it waits for."
    return Finding("workers", Verdict.WARNING, found, remedy)


def _members(admin: KafkaAdminClient, group: str) -> int | None:
    try:
        return len(admin.describe_groups([group])[group]["members"])
    # No coordinator before the first group there ever was; the embedded broker's answer cannot be read.
    except (KafkaError, ValueError):
        return None


def _committed(admin: KafkaAdminClient, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the next offset to read of each partition, -1 where none was ever committed."""
    try:
        found = admin.list_group_offsets({group: list(partitions)})[group]
    except KafkaError:
        found = {}
    return {one: int(found[one].offset) if one in found else -1 for one in partitions}


def _waiting(
    admin: KafkaAdminClient, committed: Mapping[TopicPartition, int], partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return how many records wait in each partition that has any."""
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    starts = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    lags = {one: ends[one].offset - max(committed[one], starts[one].offset) for one in partitions}
    return {one: lag for one, lag in lags.items() if lag > 0}


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    require_kafka(settings.kafka)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        yield admin
    finally:
        admin.close()


def _described(admin: KafkaAdminClient) -> dict[str, list[dict[str, Any]]]:
    there = sorted(set(admin.list_topics()) & set(TOPICS))
    return {topic["name"]: topic["partitions"] for topic in admin.describe_topics(there)} if there else {}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
