"""Produce (semantics 2.1 rule 6) where something about the request is wrong, and acks=0."""

from __future__ import annotations

import asyncio
import datetime

from ..batches import CONTROL, FIRST_TIMESTAMP_MS, Producer, batch
from ..requests import PRODUCE, fetch, init_producer_id, produce
from ..session import Answer, Session


async def several_batches_one_after_another(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "a": await produce(kafka, topic, batch("a")),
        "b c": await produce(kafka, topic, batch("b", "c"), acks=1),
        "d": await produce(kafka, topic, batch("d"), version=3),
        "log": await fetch(kafka, topic, 0),
    }


async def two_batches_in_one_request(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "plain": await produce(kafka, topic, batch("a") + batch("b")),
        "log": await fetch(kafka, topic, 0),
    }


async def nowhere_to_go(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    leader = await kafka.leader(topic)
    return {
        "unknown partition": await produce(kafka, topic, batch("a"), partition=5, node=leader),
        "unknown topic": await produce(kafka, kafka.own("nothing"), batch("a"), node=leader),
        "follower": await produce(kafka, topic, batch("a"), node=await kafka.follower(topic)),
    }


async def bad_bytes(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    good = batch("a")
    wrong_crc = good[:-1] + bytes([good[-1] ^ 1])
    old_magic = good[:16] + b"\1" + good[17:]
    return {
        "wrong CRC": await produce(kafka, topic, wrong_crc),
        "torn": await produce(kafka, topic, good[:-3]),
        "magic 1": await produce(kafka, topic, old_magic),
        "good": await produce(kafka, topic, good),
    }


async def control_records_are_the_brokers(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init_producer_id(kafka)
    marker = batch("a", producer=Producer(producer.id, 0), sequence=0, attributes=CONTROL)
    return {"sent": await produce(kafka, topic, marker)}


async def acks_that_do_not_exist(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    return {
        "2": await produce(kafka, topic, batch("a"), acks=2),
        "-2": await produce(kafka, topic, batch("a"), acks=-2),
        "log": await fetch(kafka, topic, 0),
    }


async def too_large(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", config={"max.message.bytes": "1000"})
    return {
        "2000 bytes": await produce(kafka, topic, batch("x" * 2000)),
        "100 bytes": await produce(kafka, topic, batch("x" * 100)),
    }


async def records_without_a_response(kafka: Session) -> Answer:
    """acks=0: the next response on the connection belongs to the next request."""
    topic = await kafka.create_topic("t")
    leader = await kafka.leader(topic)
    sending = asyncio.ensure_future(
        kafka.ask(
            leader,
            PRODUCE,
            9,
            lane="silent",
            transactional_id=None,
            acks=0,
            timeout=datetime.timedelta(seconds=1),
            topic_data=[{"name": topic, "partition_data": [{"index": 0, "records": batch("a")}]}],
        )
    )
    await asyncio.sleep(1)
    answered = sending.done()
    sending.cancel()
    return {
        "answered": answered,
        "next": await produce(kafka, topic, batch("b")),
        "log": await fetch(kafka, topic, 0),
    }


async def timestamps(kafka: Session) -> Answer:
    """CreateTime answers no append time, LogAppendTime does."""
    kept = await kafka.create_topic("kept")
    set_ = await kafka.create_topic("set", config={"message.timestamp.type": "LogAppendTime"})

    async def append_time(topic: str) -> bool:
        answer = await kafka.ask(
            await kafka.leader(topic),
            PRODUCE,
            9,
            transactional_id=None,
            acks=-1,
            timeout=datetime.timedelta(seconds=5),
            topic_data=[{"name": topic, "partition_data": [{"index": 0, "records": batch("a")}]}],
        )
        time = answer.responses[0].partition_responses[0].log_append_time
        return time is not None and time.timestamp() * 1000 > FIRST_TIMESTAMP_MS

    return {"CreateTime": await append_time(kept), "LogAppendTime": await append_time(set_)}
