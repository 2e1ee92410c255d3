"""Transactions as clients with `transaction.version=2` run them (semantics 2.4): Produce v12 adds the partition
by itself, EndTxn v5 raises the epoch."""

from __future__ import annotations

import asyncio

from ..batches import Producer, batch
from ..requests import LATEST, READ_COMMITTED, fetch, init_producer_id, list_offsets, produce
from ..session import Answer, Session, settled
from ..transaction_steps import end, init, send, stable


async def commit(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, drawn = await init(kafka)
    answers: Answer = {
        "drawn": drawn,
        "0": await send(kafka, topic, "a", producer, 0),
        "1": await send(kafka, topic, "b", producer, 1),
        "open: everything": await fetch(kafka, topic, 0),
        "open: committed": await fetch(kafka, topic, 0, isolation=READ_COMMITTED),
        "open: latest": await list_offsets(kafka, topic, LATEST),
        "open: latest committed": await list_offsets(kafka, topic, LATEST, isolation=READ_COMMITTED),
    }
    following, answers["commit"] = await end(kafka, producer, commit=True)
    answers |= {
        "done: committed": await stable(kafka, topic),
        "done: latest committed": await list_offsets(kafka, topic, LATEST, isolation=READ_COMMITTED),
        "next transaction": await send(kafka, topic, "c", following, 0),
    }
    _, answers["second commit"] = await end(kafka, following, commit=True)
    answers["at last"] = await stable(kafka, topic)
    return answers


async def abort(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    await send(kafka, topic, "a", producer, 0)
    following, ended = await end(kafka, producer, commit=False)
    after_first = await stable(kafka, topic)
    await send(kafka, topic, "b", following, 0)
    third, _ = await end(kafka, following, commit=False)
    await stable(kafka, topic)
    await send(kafka, topic, "c", third, 0)
    await end(kafka, third, commit=True)
    return {
        "abort": ended,
        "after the first": after_first,
        "at last": await stable(kafka, topic),
        "from inside": await fetch(kafka, topic, 2, isolation=READ_COMMITTED),
        "from after the aborted": await fetch(kafka, topic, 4, isolation=READ_COMMITTED),
        "uncommitted": await fetch(kafka, topic, 0),
    }


async def two_at_a_time(kafka: Session) -> Answer:
    """The last stable offset is where the first open transaction began."""
    topic = await kafka.create_topic("t")
    one, _ = await init_producer_id(kafka, kafka.own("one"), version=5)
    two, _ = await init_producer_id(kafka, kafka.own("two"), version=5)
    sent = [
        await send(kafka, topic, "a1", one, 0, transactional_id=kafka.own("one")),
        await send(kafka, topic, "b1", two, 0, transactional_id=kafka.own("two")),
        await produce(kafka, topic, batch("plain")),
        await send(kafka, topic, "a2", one, 1, transactional_id=kafka.own("one")),
    ]
    both = await fetch(kafka, topic, 0, isolation=READ_COMMITTED)
    await end(kafka, two, commit=False, transactional_id=kafka.own("two"))

    async def marked() -> Answer | None:
        answer = await fetch(kafka, topic, 0)
        return answer if answer["high_watermark"] == 5 else None

    with_marker = await settled(marked, "no marker comes")
    one_open = await fetch(kafka, topic, 0, isolation=READ_COMMITTED)
    await end(kafka, one, commit=True, transactional_id=kafka.own("one"))
    return {
        "sent": sent,
        "both open": both,
        "second aborted": with_marker,
        "first still open": one_open,
        "at last": await stable(kafka, topic),
        "from the plain one": await fetch(kafka, topic, 2, isolation=READ_COMMITTED),
    }


async def several_partitions(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    producer, _ = await init(kafka)
    sent = [await send(kafka, topic, str(p), producer, 0, partition=p) for p in range(2)]
    _, ended = await end(kafka, producer, commit=True)
    return {"sent": sent, "end": ended, "logs": [await stable(kafka, topic, p) for p in range(2)]}


async def nothing_in_it(kafka: Session) -> Answer:
    """EndTxn of a transaction to which nothing was added."""
    producer, _ = await init(kafka)
    first, committed = await end(kafka, producer, commit=True)
    second, aborted = await end(kafka, first, commit=False)
    topic = await kafka.create_topic("t")
    return {
        "commit": committed,
        "abort": aborted,
        "abort again": (await end(kafka, first, commit=False))[1],
        "commit of what was aborted": (await end(kafka, first, commit=True))[1],
        "send": await send(kafka, topic, "a", second, 0),
        "end": (await end(kafka, second, commit=True))[1],
        "nothing after a commit, abort": (
            await end(kafka, Producer(second.id, second.epoch + 1), commit=False)
        )[1],
        "log": await stable(kafka, topic),
    }


async def a_transaction_that_begins_inside_the_sequence(kafka: Session) -> Answer:
    """A new epoch begins at sequence 0, also where the leader never heard of the producer."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    return {
        "3": await send(kafka, topic, "a", producer, 3),
        "0": await send(kafka, topic, "a", producer, 0),
        "2": await send(kafka, topic, "c", producer, 2),
        "0 again": await send(kafka, topic, "a", producer, 0),
        "end": (await end(kafka, producer, commit=True))[1],
        "log": await stable(kafka, topic),
    }


async def a_plain_record_in_between(kafka: Session) -> Answer:
    """A producer with an open transaction may not write beside it."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    await send(kafka, topic, "a", producer, 0)
    plain = batch("plain", producer=producer, sequence=1)
    return {
        "plain": await produce(kafka, topic, plain, version=12),
        "transactional": await send(kafka, topic, "b", producer, 1),
        "end": (await end(kafka, producer, commit=True))[1],
        "log": await stable(kafka, topic),
    }


async def a_partition_without_records(kafka: Session) -> Answer:
    """Added, refused, ended; the next transaction is not touched by the marker it left."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    refused = await send(kafka, topic, "a", producer, 4)
    following, ended = await end(kafka, producer, commit=False)
    sent = await send(kafka, topic, "b", following, 0)
    _, last = await end(kafka, following, commit=True)
    return {
        "refused": refused,
        "abort": ended,
        "sent": sent,
        "commit": last,
        "log": await stable(kafka, topic),
    }


async def timeouts(kafka: Session) -> Answer:
    """A transaction older than its time-out is aborted, and its producer's epoch is spent."""
    topic = await kafka.create_topic("t")
    name = kafka.own("x")
    _, too_long = await init_producer_id(kafka, name, version=5, timeout_ms=900_001)
    _, none = await init_producer_id(kafka, name, version=5, timeout_ms=0)
    producer, drawn = await init_producer_id(kafka, name, version=5, timeout_ms=1000)
    sent = await send(kafka, topic, "a", producer, 0)
    await asyncio.sleep(1.5)
    log = await stable(kafka, topic)
    return {
        "too long": too_long,
        "none": none,
        "drawn": drawn,
        "sent": sent,
        "log": log,
        "send": await send(kafka, topic, "b", producer, 1),
        "commit": (await end(kafka, producer, commit=True))[1],
        "abort": (await end(kafka, producer, commit=False))[1],
        "with its identity": (await init(kafka, current=producer))[1],
        "without": (await init(kafka))[1],
    }
