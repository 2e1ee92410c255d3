"""What is refused under `transaction.version=2` (semantics 2.4): zombies, late requests, identities that do not fit."""

from __future__ import annotations

from ..batches import Producer, batch
from ..requests import READ_COMMITTED, end_txn, fetch, init_producer_id, produce
from ..session import TRANSACTION, Answer, Session
from ..transaction_steps import end, init, send, stable


async def the_same_end_again(kafka: Session) -> Answer:
    """A retry with the epoch of before and the same outcome succeeds and tells the new epoch."""
    topic = await kafka.create_topic("t")
    answers: Answer = {}
    producer, _ = await init(kafka)
    for outcome, others in ((True, False), (False, True)):
        name = "commit" if outcome else "abort"
        await send(kafka, topic, name, producer, 0)
        following, answers[name] = await end(kafka, producer, commit=outcome)
        await stable(kafka, topic)
        _, answers[f"{name}, same again"] = await end(kafka, producer, commit=outcome)
        _, answers[f"{name}, then the other"] = await end(kafka, producer, commit=others)
        _, answers[f"{name}, same once more"] = await end(kafka, producer, commit=outcome)
        _, answers[f"{name}, same by version 4"] = await end(kafka, producer, commit=outcome, version=4)
        producer = following
    _, answers["two epochs back"] = await end(kafka, Producer(producer.id, 0), commit=True)
    answers["log"] = await stable(kafka, topic)
    return answers


async def a_late_end_of_the_transaction_before(kafka: Session) -> Answer:
    """While the next transaction is open, an EndTxn of the one before must not touch it (S11)."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    await send(kafka, topic, "a", producer, 0)
    following, _ = await end(kafka, producer, commit=True)
    await send(kafka, topic, "b", following, 0)
    answers: Answer = {}
    _, answers["late commit"] = await end(kafka, producer, commit=True)
    _, answers["late abort"] = await end(kafka, producer, commit=False)
    _, answers["late abort by version 4"] = await end(kafka, producer, commit=False, version=4)
    answers["open"] = await fetch(kafka, topic, 0, isolation=READ_COMMITTED)
    _, answers["commit"] = await end(kafka, following, commit=True)
    answers["log"] = await stable(kafka, topic)
    return answers


async def a_late_record_of_the_transaction_before(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    await send(kafka, topic, "a", producer, 0)
    following, _ = await end(kafka, producer, commit=True)
    await stable(kafka, topic)
    return {
        "late": await send(kafka, topic, "late", producer, 1),
        "the same again": await send(kafka, topic, "a", producer, 0),
        "new epoch, old sequence": await send(kafka, topic, "b", following, 1),
        "new epoch": await send(kafka, topic, "b", following, 0),
        "late, next one open": await send(kafka, topic, "late", producer, 1),
        "end": (await end(kafka, following, commit=True))[1],
        "log": await stable(kafka, topic),
    }


async def a_second_instance_fences_the_first(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    first, drawn = await init(kafka)
    await send(kafka, topic, "a", first, 0)
    second, drawn_second = await init(kafka)
    return {
        "drawn": [drawn, drawn_second],
        "what the first had": await stable(kafka, topic),
        "first sends": await send(kafka, topic, "b", first, 1),
        "first commits": (await end(kafka, first, commit=True))[1],
        "first aborts": (await end(kafka, first, commit=False))[1],
        "first commits, version 4": (await end(kafka, first, commit=True, version=4))[1],
        "first commits, version 1": (await end(kafka, first, commit=True, version=1))[1],
        "second sends": await send(kafka, topic, "c", second, 0),
        "second commits": (await end(kafka, second, commit=True))[1],
        "log": await stable(kafka, topic),
    }


async def asking_while_one_is_open(kafka: Session) -> Answer:
    """InitProducerId aborts what is open, and says so first."""
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    await send(kafka, topic, "a", producer, 0)
    _, asked = await init_producer_id(kafka, kafka.own("x"), version=5)
    _, then = await init(kafka)
    return {"asked": asked, "then": then, "log": await stable(kafka, topic)}


async def asking_with_an_identity(kafka: Session) -> Answer:
    """InitProducerId with producer id and epoch (KIP-360)."""
    producer, _ = await init(kafka)
    raised, answer = await init(kafka, current=producer)
    return {
        "own": answer,
        "the one before": (await init(kafka, current=producer))[1],
        "own again": (await init(kafka, current=raised))[1],
        "two before": (await init(kafka, current=producer))[1],
        "a later epoch": (await init(kafka, current=Producer(producer.id, 900)))[1],
        "another id": (await init(kafka, current=Producer(producer.id + 5000, 0)))[1],
        "none": (await init(kafka))[1],
        "none, version 2": (await init(kafka, version=2))[1],
    }


async def identities_that_do_not_fit(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    producer, _ = await init(kafka)
    stranger = Producer(producer.id + 5000, 0)
    return {
        "end of nobody's": (await end(kafka, producer, commit=True, transactional_id=kafka.own("nobody")))[1],
        "end by another id": (await end(kafka, stranger, commit=True))[1],
        "end by a later epoch": (await end(kafka, Producer(producer.id, 7), commit=True))[1],
        "send by another id": await send(kafka, topic, "a", stranger, 0),
        "send by a later epoch": await send(kafka, topic, "a", Producer(producer.id, 7), 0),
        "send of nobody's": await send(kafka, topic, "a", producer, 0, transactional_id=kafka.own("nobody")),
        "send without the transactional id": await produce(
            kafka, topic, batch("a", producer=producer, sequence=0, transactional=True), version=12
        ),
        "not transactional, but with the id": await produce(
            kafka,
            topic,
            batch("a", producer=producer, sequence=0),
            version=12,
            transactional_id=kafka.own("x"),
        ),
        "log": await fetch(kafka, topic, 0),
    }


async def no_name(kafka: Session) -> Answer:
    """An empty transactional id is none."""
    await kafka.coordinator(kafka.own("x"), TRANSACTION)
    _, answer = await init_producer_id(kafka, "", version=5)
    return {"drawn": answer}


async def the_wrong_node(kafka: Session) -> Answer:
    name = kafka.own("x")
    producer, _ = await init(kafka)
    coordinator = await kafka.coordinator(name, TRANSACTION)
    other = min(node for node in kafka.nodes if node != coordinator)
    return {
        "init": (await init_producer_id(kafka, name, node=other))[1],
        "end": (await end_txn(kafka, name, producer, commit=True, version=5, node=other))[1],
    }
