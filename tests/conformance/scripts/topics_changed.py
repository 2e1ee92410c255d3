"""CreatePartitions, DeleteTopics, (Incremental)AlterConfigs, DescribeConfigs, ElectLeaders."""

from __future__ import annotations

import uuid

from ..administration import (
    APPEND,
    BROKER,
    DELETE,
    SET,
    SUBTRACT,
    TOPIC,
    UNCLEAN,
    alter_configs,
    change_configs,
    configured,
    create_partitions,
    delete_topics,
    delete_topics_by_id,
    describe_configs,
    elect_leaders,
    gone,
    partition_count,
)
from ..batches import batch
from ..requests import LATEST, list_offsets, produce, topic_id
from ..session import Answer, Session


async def more_partitions(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "as many": await create_partitions(kafka, topic, 1),
        "fewer": await create_partitions(kafka, topic, 0),
        "negative": await create_partitions(kafka, topic, -1),
        "only validated": await create_partitions(kafka, topic, 5, validate_only=True),
        "three": await create_partitions(kafka, topic, 3),
        "there are": await partition_count(kafka, topic, 3),
        "of no topic": await create_partitions(kafka, kafka.own("nothing"), 3),
        "too many assigned": await create_partitions(kafka, topic, 4, assignments=[[1, 2, 3], [1, 2, 3]]),
        "too few assigned": await create_partitions(kafka, topic, 5, assignments=[[1, 2, 3]]),
        "assigned to nobody": await create_partitions(kafka, topic, 4, assignments=[[]]),
        "assigned to a stranger": await create_partitions(kafka, topic, 4, assignments=[[1, 2, 99]]),
        "assigned twice": await create_partitions(kafka, topic, 4, assignments=[[1, 1, 2]]),
        "other replication": await create_partitions(kafka, topic, 4, assignments=[[1, 2]]),
        "assigned": await create_partitions(kafka, topic, 4, assignments=[[2, 3, 1]]),
        "there are now": await partition_count(kafka, topic, 4),
    }


async def deleted(kafka: Session) -> Answer:
    topic, other = await kafka.create_topic("t"), await kafka.create_topic("u")
    await produce(kafka, topic, batch("a"))
    id_ = await topic_id(kafka, other)
    return {
        "unknown": await delete_topics(kafka, kafka.own("nothing")),
        "unknown, version 6": await delete_topics(kafka, kafka.own("nothing"), version=6),
        "unknown id": await delete_topics_by_id(kafka, uuid.UUID(int=4711)),
        "no name": await delete_topics(kafka, ""),
        "by name": await delete_topics(kafka, topic),
        "gone": await gone(kafka, topic),
        "again": await delete_topics(kafka, topic),
        "by id": await delete_topics_by_id(kafka, id_),
        "the other is gone": await gone(kafka, other),
        "its partition": (await list_offsets(kafka, topic, LATEST, node=kafka.any_node))["error_code"],
    }


async def a_name_begins_anew(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    await produce(kafka, topic, batch("a", "b"))
    first = await topic_id(kafka, topic)
    await delete_topics(kafka, topic)
    await gone(kafka, topic)
    topic = await kafka.create_topic("t")
    return {
        "empty": await list_offsets(kafka, topic, LATEST),
        "another id": await topic_id(kafka, topic) != first,
        "partitions": await partition_count(kafka, topic, 1),
    }


async def settings_step_by_step(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", config={"retention.ms": "1000000"})

    async def change(*changes: tuple[int, str, str | None]) -> object:
        return await change_configs(kafka, TOPIC, topic, *changes)

    return {
        "set": await change((SET, "max.message.bytes", "2000")),
        "it is": await configured(kafka, topic, "max.message.bytes", "2000"),
        "what was given before": await configured(kafka, topic, "retention.ms", "1000000"),
        "obeyed": await produce(kafka, topic, batch("x" * 3000)),
        "deleted": await change((DELETE, "retention.ms", None)),
        "back to the default": await configured(kafka, topic, "retention.ms", "-1"),
        "deleted again": await change((DELETE, "retention.ms", None)),
        "appended": await change((APPEND, "cleanup.policy", "compact")),
        "both": (await configured(kafka, topic, "cleanup.policy", "delete,compact"))["value"],
        "appended again": await change((APPEND, "cleanup.policy", "compact")),
        "still both": (await configured(kafka, topic, "cleanup.policy", "delete,compact"))["value"],
        "subtracted": await change((SUBTRACT, "cleanup.policy", "delete")),
        "one": (await configured(kafka, topic, "cleanup.policy", "compact"))["value"],
        "appended to a number": await change((APPEND, "retention.ms", "7")),
        "an unknown key": await change((SET, "no.such.key", "7")),
        "a bad value": await change((SET, "retention.ms", "soon")),
        "a negative size": await change((SET, "segment.bytes", "-1")),
        "no policy": await change((SET, "cleanup.policy", "sometimes")),
        "an operation nobody knows": await change((9, "retention.ms", "7")),
        "set to null": await change((SET, "retention.ms", None)),
        "the same key twice": await change((SET, "retention.ms", "7"), (SET, "retention.ms", "8")),
        "of no topic": await change_configs(kafka, TOPIC, kafka.own("nothing"), (SET, "retention.ms", "7")),
        "of no kind": await change_configs(kafka, 77, "x", (SET, "retention.ms", "7")),
        "only validated": await change_configs(
            kafka, TOPIC, topic, (SET, "retention.ms", "7"), validate_only=True
        ),
        "not done": await configured(kafka, topic, "retention.ms", "-1"),
    }


async def settings_as_a_whole(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", config={"retention.ms": "1000000", "max.message.bytes": "2000"})
    return {
        "set": await alter_configs(kafka, TOPIC, topic, {"retention.ms": "2000000"}),
        "it is": await configured(kafka, topic, "retention.ms", "2000000"),
        "what is not named": await configured(kafka, topic, "max.message.bytes", "1048588"),
        "an unknown key": await alter_configs(kafka, TOPIC, topic, {"no.such.key": "7"}),
        "a bad value": await alter_configs(kafka, TOPIC, topic, {"retention.ms": "soon"}),
        "null": await alter_configs(kafka, TOPIC, topic, {"retention.ms": None}),
        "of no topic": await alter_configs(kafka, TOPIC, kafka.own("nothing"), {}),
        "nothing": await alter_configs(kafka, TOPIC, topic, {}),
        "back to the default": await configured(kafka, topic, "retention.ms", "-1"),
    }


async def settings_described(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", config={"max.message.bytes": "2000"})
    await configured(kafka, topic, "max.message.bytes", "2000")
    return {
        "set and unset": await describe_configs(
            kafka, TOPIC, topic, "max.message.bytes", "cleanup.policy", "unclean.leader.election.enable"
        ),
        "version 1": await describe_configs(kafka, TOPIC, topic, "max.message.bytes", version=1),
        "with synonyms": await describe_configs(kafka, TOPIC, topic, "max.message.bytes", synonyms=True),
        "an unknown key": await describe_configs(kafka, TOPIC, topic, "no.such.key"),
        "of no topic": await describe_configs(kafka, TOPIC, kafka.own("nothing"), everything=True),
        "of a bad name": await describe_configs(kafka, TOPIC, "so/so", everything=True),
        "of no broker": await describe_configs(kafka, BROKER, "99", everything=True),
        "of a broker without a number": await describe_configs(kafka, BROKER, "one", everything=True),
        "of no kind": await describe_configs(kafka, 77, "x", everything=True),
        "of all brokers": await describe_configs(kafka, BROKER, "", "no.such.key"),
    }


async def every_key_has_its_kind(kafka: Session) -> Answer:
    """What a topic says of the keys that both know."""
    topic = await kafka.create_topic("t")
    found = await describe_configs(
        kafka,
        TOPIC,
        topic,
        *("cleanup.policy", "delete.retention.ms", "max.compaction.lag.ms", "max.message.bytes"),
        *("message.timestamp.type", "min.cleanable.dirty.ratio", "min.compaction.lag.ms"),
        *("min.insync.replicas", "retention.bytes", "segment.bytes", "unclean.leader.election.enable"),
    )
    return {key: [entry["config_type"], entry["read_only"]] for key, entry in found.items()}


async def leaders_elected(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    return {
        "preferred": await elect_leaders(kafka, {topic: [0, 1]}),
        "unclean": await elect_leaders(kafka, {topic: [0]}, UNCLEAN),
        "no such partition": await elect_leaders(kafka, {topic: [9]}),
        "no such topic": await elect_leaders(kafka, {kafka.own("nothing"): [0]}),
        "nothing": await elect_leaders(kafka, {}),
    }
