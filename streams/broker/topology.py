"""The topics of the live path: made when missing, checked when there."""

from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from schemas.topics import (
    CLICKS_RAW,
    CLICKS_REJECTED,
    CLICKS_SIMULATED,
    COMPACTED,
    PERSONAS_CODEBOOKS,
    PERSONAS_DISTRIBUTION,
    SESSIONS_ASSIGNED,
    SESSIONS_CHANGELOG,
    SOURCE_OF_TOPIC,
)
from streams.errors import StreamError
from streams.log_lines import hushed

TOPICS = (
    CLICKS_RAW,
    CLICKS_SIMULATED,
    CLICKS_REJECTED,
    SESSIONS_ASSIGNED,
    PERSONAS_DISTRIBUTION,
    PERSONAS_CODEBOOKS,
    SESSIONS_CHANGELOG,
)


class TopologyError(StreamError):
    """The broker is not there, or its topics are not as the live path needs them."""


async def ensure_topics(bootstrap: str, partitions: int, replication: int) -> dict[str, int]:
    """Create the topics that are missing and return every topic's number of partitions.

    Raises TopologyError when no broker answers, a topic cannot be made, or the changelog has fewer partitions than a
    click topic (its records lie in the partition of their source's number).
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        with hushed("aiokafka"):
            await admin.start()
    except (KafkaError, OSError, ValueError) as error:
        await admin.close()
        raise TopologyError(
            f"No Kafka broker answers at {bootstrap}; start one or correct SIMPERSONA_KAFKA."
        ) from error
    try:
        return await _ensure(admin, partitions, replication)
    except KafkaConnectionError as error:
        raise TopologyError(f"The Kafka broker at {bootstrap} went away; start it again.") from error
    finally:
        await admin.close()


async def _ensure(admin: AIOKafkaAdminClient, partitions: int, replication: int) -> dict[str, int]:
    found = await _partitions_of(admin, TOPICS)
    clicks = max([partitions, *(found[topic] for topic in SOURCE_OF_TOPIC if topic in found)])
    missing = [topic for topic in TOPICS if topic not in found]
    if missing:
        wanted = {topic: clicks if topic == SESSIONS_CHANGELOG else partitions for topic in missing}
        await _create(admin, wanted, replication)
        found |= wanted
    for topic in SOURCE_OF_TOPIC:
        if found[SESSIONS_CHANGELOG] < found[topic]:
            raise TopologyError(
                f"Topic {SESSIONS_CHANGELOG} has {found[SESSIONS_CHANGELOG]} partitions but {topic} has "
                f"{found[topic]}; give the changelog at least as many."
            )
    return found


async def _create(admin: AIOKafkaAdminClient, partitions_of: Mapping[str, int], replication: int) -> None:
    answer = await admin.create_topics(
        [
            NewTopic(
                topic,
                num_partitions=partitions,
                replication_factor=replication,
                topic_configs={"cleanup.policy": "compact"} if topic in COMPACTED else {},
            )
            for topic, partitions in partitions_of.items()
        ]
    )
    for topic, code, *reason in answer.topic_errors:
        # Another worker starting at the same moment may have been quicker.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopologyError(
                f"Topic {topic} cannot be created: {(reason and reason[0]) or for_code(code).__name__}."
            )


async def _partitions_of(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    names = set(await admin.list_topics()) & set(topics)
    described = await admin.describe_topics(sorted(names)) if names else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
