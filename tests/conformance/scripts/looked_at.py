"""DescribeProducers, DescribeTransactions, ListTransactions, DescribeLogDirs: what a cluster says of itself."""

from __future__ import annotations

from ..batches import FIRST_TIMESTAMP_MS, batch
from ..descriptions import (
    describe_cluster,
    describe_log_dirs,
    describe_producers,
    describe_topic_partitions,
    describe_transactions,
    knows_its_space,
    list_transactions,
)
from ..requests import list_offsets, produce
from ..session import TRANSACTION, Answer, Session, settled
from ..transaction_steps import end, init, send


async def producers(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    empty = await describe_producers(kafka, topic)
    producer, _ = await init(kafka)
    await produce(kafka, topic, batch("plain"))
    await send(kafka, topic, "a", producer, 0)
    await send(kafka, topic, "b", producer, 1)
    follower = await kafka.follower(topic)

    async def followed() -> object:
        found = await describe_producers(kafka, topic, node=follower)
        return found if isinstance(found, list) and found and found[0]["last_sequence"] == 1 else None

    answers = {
        "nobody": empty,
        "in a transaction": _without_times(await describe_producers(kafka, topic)),
        "at a follower": _without_times(await settled(followed, "the follower does not follow")),
    }
    await end(kafka, producer, commit=True)
    return answers | {
        "no such partition": await describe_producers(kafka, topic, 9),
        "no such topic": await describe_producers(kafka, kafka.own("nothing"), node=kafka.any_node),
        "no name": await describe_producers(kafka, "", node=kafka.any_node),
    }


def _without_times(found: object) -> object:
    if isinstance(found, list):
        for entry in found:
            entry["last_timestamp"] = entry["last_timestamp"] > 0
    return found


async def transactions(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    producer, _ = await init(kafka)
    name = kafka.own("x")
    answers: Answer = {"listed": await list_transactions(kafka)}
    await send(kafka, topic, "a", producer, 0)
    elsewhere = await kafka.another_node(await kafka.coordinator(name, TRANSACTION))
    answers |= {
        "ongoing": await describe_transactions(kafka, name),
        "unknown": await describe_transactions(kafka, kafka.own("nothing")),
        "no name": await describe_transactions(kafka, "", node=kafka.any_node),
        "elsewhere": await describe_transactions(kafka, name, node=elsewhere),
        "listed, ongoing": await list_transactions(kafka, states=["Ongoing"]),
        "listed, empty": await list_transactions(kafka, states=["Empty"]),
        "listed, no such state": await list_transactions(kafka, states=["Confused"]),
        "listed, both": await list_transactions(kafka, states=["Ongoing", "Confused"]),
        "listed, the producer's": await list_transactions(kafka, producers=[producer.id]),
        "listed, nobody's": await list_transactions(kafka, producers=[987_654_321]),
        "listed, an hour long": await list_transactions(kafka, duration_ms=3_600_000),
    }
    await end(kafka, producer, commit=True)
    return answers


async def offsets_of_tiers(kafka: Session) -> Answer:
    """Where there is no remote storage (KIP-405). What the largest timestamp has, from version 7 on."""
    topic = await kafka.create_topic("t")
    await produce(kafka, topic, batch("a", "b"))
    asked = ((-3, 7), (-4, 8), (-5, 9), (-6, 11))
    return {
        f"{timestamp}, version {version}": await list_offsets(kafka, topic, timestamp, version=version)
        for timestamp, since in asked
        for version in (since - 1, since, 11)
    } | {
        "-7": await list_offsets(kafka, topic, -7, version=11),
        "a time, version 10": await list_offsets(kafka, topic, FIRST_TIMESTAMP_MS + 500, version=10),
    }


async def directories(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    record = batch("a")
    await produce(kafka, topic, record)
    leader = await kafka.leader(topic)
    return {
        "one partition": await describe_log_dirs(kafka, {topic: [0]}, leader),
        "both": await describe_log_dirs(kafka, {topic: [0, 1]}, leader),
        "no such partition": await describe_log_dirs(kafka, {topic: [9], kafka.own("nothing"): [0]}, leader),
        "nothing": await describe_log_dirs(kafka, {}, leader),
        "the disk's size is known": await knows_its_space(kafka, leader),
    }


async def topics_page_by_page(kafka: Session) -> Answer:
    first, second = await kafka.create_topic("a", partitions=3), await kafka.create_topic("b", partitions=2)
    nothing = kafka.own("a-nothing")
    return {
        "two topics": await describe_topic_partitions(kafka, second, first),
        "and one that is none": await describe_topic_partitions(kafka, first, nothing, second),
        "two partitions": await describe_topic_partitions(kafka, first, second, limit=2),
        "the next two": await describe_topic_partitions(kafka, first, second, limit=2, cursor=(first, 2)),
        "the rest": await describe_topic_partitions(kafka, first, second, limit=2, cursor=(second, 1)),
        "exactly the first": await describe_topic_partitions(kafka, first, second, limit=3),
        "from where nothing is": await describe_topic_partitions(kafka, first, second, cursor=(nothing, 1)),
        "beyond a topic's end": await describe_topic_partitions(kafka, first, second, cursor=(first, 9)),
        "no room": await describe_topic_partitions(kafka, first, limit=0),
    }


async def the_cluster(kafka: Session) -> Answer:
    return {
        "brokers": await describe_cluster(kafka),
        "version 0": await describe_cluster(kafka, version=0),
        "controllers": await describe_cluster(kafka, endpoint=2),
        "no such endpoint": await describe_cluster(kafka, endpoint=7),
    }
