"""Transactions of clients that know nothing of KIP-890: AddPartitionsToTxn, Produce up to v11, EndTxn up to v4.

Asked of a cluster with `transaction.version=1` and of one with 2: the server's side of the difference.
"""

from __future__ import annotations

from ..batches import Producer
from ..requests import READ_COMMITTED, add_partitions, fetch
from ..session import Answer, Session, settled
from ..transaction_steps import end, init, send, stable

PRODUCE = 11
END_TXN = 3


async def commit_and_abort(kafka: Session) -> Answer:
    """The epoch stays, so do the sequences."""
    topic = await kafka.create_topic("t")
    producer, drawn = await init(kafka, version=4)
    answers: Answer = {"drawn": drawn}
    for sequence, outcome in enumerate((True, False, True)):
        answers[f"{sequence}: add"] = await _add(kafka, producer, topic)
        answers[f"{sequence}: send"] = await send(kafka, topic, "x", producer, sequence, version=PRODUCE)
        _, answers[f"{sequence}: end"] = await end(kafka, producer, commit=outcome, version=END_TXN)
        answers[f"{sequence}: log"] = await stable(kafka, topic)
    return answers


async def a_partition_that_was_not_added(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t", partitions=2)
    producer, _ = await init(kafka, version=4)
    answers: Answer = {
        "nothing open": await send(kafka, topic, "a", producer, 0, version=PRODUCE),
        "add": await _add(kafka, producer, topic),
        "the other partition": await send(kafka, topic, "b", producer, 0, partition=1, version=PRODUCE),
        "the added one": await send(kafka, topic, "a", producer, 0, version=PRODUCE),
        "end": (await end(kafka, producer, commit=True, version=END_TXN))[1],
        "log": await stable(kafka, topic),
    }
    # The marker may be in the log while the coordinator still has to note that it is.
    answers["end again"] = (await end(kafka, producer, commit=True, version=END_TXN))[1]
    answers["after the end"] = await send(kafka, topic, "late", producer, 1, version=PRODUCE)
    return answers


async def adding(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    return {
        "first": await _add(kafka, producer, topic),
        "again": await _add(kafka, producer, topic),
        "unknown topic": await _add(kafka, producer, kafka.own("nothing")),
        "known and unknown": await add_partitions(kafka, kafka.own("x"), producer, {topic: [0, 9]}),
        "older epoch": await _add(kafka, Producer(producer.id, producer.epoch - 1), topic),
        "later epoch": await _add(kafka, Producer(producer.id, producer.epoch + 1), topic),
        "another id": await _add(kafka, Producer(producer.id + 5000, 0), topic),
        "nobody's": await add_partitions(kafka, kafka.own("nobody"), producer, {topic: [0]}),
    }


async def the_same_end_again(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    answers: Answer = {}
    for sequence, (outcome, name) in enumerate(((True, "commit"), (False, "abort"))):
        await _add(kafka, producer, topic)
        await send(kafka, topic, name, producer, sequence, version=PRODUCE)
        _, answers[name] = await end(kafka, producer, commit=outcome, version=END_TXN)
        await stable(kafka, topic)
        _, answers[f"{name} again"] = await end(kafka, producer, commit=outcome, version=END_TXN)
        _, answers[f"{name}, then the other"] = await end(
            kafka, producer, commit=not outcome, version=END_TXN
        )
    answers["log"] = await stable(kafka, topic)
    return answers


async def nothing_in_it(kafka: Session) -> Answer:
    producer, _ = await init(kafka, version=4)
    return {
        "commit": (await end(kafka, producer, commit=True, version=END_TXN))[1],
        "abort": (await end(kafka, producer, commit=False, version=END_TXN))[1],
    }


async def a_late_end_of_the_transaction_before(kafka: Session) -> Answer:
    """S11: nothing tells it from the end of the open one."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    await _add(kafka, producer, topic)
    await send(kafka, topic, "a", producer, 0, version=PRODUCE)
    await end(kafka, producer, commit=False, version=END_TXN)
    await stable(kafka, topic)
    await _add(kafka, producer, topic)
    await send(kafka, topic, "b", producer, 1, version=PRODUCE)
    _, late = await end(kafka, producer, commit=False, version=END_TXN)
    return {
        "late abort": late,
        "log": await stable(kafka, topic),
        "commit": (await end(kafka, producer, commit=True, version=END_TXN))[1],
    }


async def a_second_instance_fences_the_first(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    first, _ = await init(kafka, version=4)
    await _add(kafka, first, topic)
    await send(kafka, topic, "a", first, 0, version=PRODUCE)
    second, drawn = await init(kafka, version=4)
    what_the_first_had = await stable(kafka, topic)
    return {
        "drawn": drawn,
        "what the first had": what_the_first_had,
        "first adds": await _add(kafka, first, topic),
        "first sends": await send(kafka, topic, "b", first, 1, version=PRODUCE),
        "first commits": (await end(kafka, first, commit=True, version=END_TXN))[1],
        "second adds": await _add(kafka, second, topic),
        "second sends": await send(kafka, topic, "c", second, 0, version=PRODUCE),
        "second ends": (await end(kafka, second, commit=True, version=END_TXN))[1],
        "log": await stable(kafka, topic),
    }


async def ends_of_every_version(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    answers: Answer = {}
    for version in range(5):
        await _add(kafka, producer, topic)
        await send(kafka, topic, str(version), producer, version, version=PRODUCE)
        _, answers[f"version {version}"] = await end(kafka, producer, commit=True, version=version)
        await stable(kafka, topic)
    answers["log"] = await stable(kafka, topic)
    return answers


async def a_partition_without_records(kafka: Session) -> Answer:
    """Its marker must not be taken for that of the next transaction, which has the same epoch."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    answers: Answer = {"add": await _add(kafka, producer, topic)}
    _, answers["abort"] = await end(kafka, producer, commit=False, version=END_TXN)
    answers["add again"] = await _add(kafka, producer, topic)
    answers["send"] = await send(kafka, topic, "a", producer, 0, version=PRODUCE)
    _, answers["commit"] = await end(kafka, producer, commit=True, version=END_TXN)
    answers["log"] = await stable(kafka, topic)
    return answers


async def an_open_one_that_is_read(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka, version=4)
    await _add(kafka, producer, topic)
    added = await fetch(kafka, topic, 0, isolation=READ_COMMITTED)
    await send(kafka, topic, "a", producer, 0, version=PRODUCE)
    return {"added": added, "sent": await fetch(kafka, topic, 0, isolation=READ_COMMITTED)}


async def _add(kafka: Session, producer: Producer, topic: str) -> Answer:
    """Asks again while the coordinator completes the transaction before."""

    async def attempt() -> Answer | None:
        answer = await add_partitions(kafka, kafka.own("x"), producer, {topic: [0]})
        return None if "concurrent_transactions" in answer.values() else answer

    return dict(await settled(attempt, "the transaction before never ends"))
