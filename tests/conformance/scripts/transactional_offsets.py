"""Offsets committed in a transaction (semantics 2.4 rule 7): TxnOffsetCommit, what OffsetFetch shows of it, and
the fencing of the group's old members."""

from __future__ import annotations

from ..requests import (
    add_offsets,
    join,
    leave,
    offset_commit,
    offset_fetch,
    sync,
    txn_offset_commit,
)
from ..session import Answer, Session, settled
from ..transaction_steps import end, init

TXN_OFFSET_COMMIT = 5
_ASK_AGAIN = ("concurrent_transactions", "coordinator_load_in_progress")
"""While the transaction before is being completed."""


async def commit(kafka: Session) -> Answer:
    """Version 5 adds the group to the transaction by itself."""
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    producer, _ = await init(kafka)
    pending = await txn_offset_commit(
        kafka, kafka.own("x"), producer, group, topic, 5, version=TXN_OFFSET_COMMIT
    )
    answers: Answer = {
        "sent": pending,
        "pending": await offset_fetch(kafka, group, {topic: [0, 1]}),
        "pending, stable": await offset_fetch(kafka, group, {topic: [0, 1]}, stable=True),
        "pending, stable, all": await offset_fetch(kafka, group, None, stable=True),
    }
    _, answers["end"] = await end(kafka, producer, commit=True)
    answers["committed"] = await _stable_offsets(kafka, group, topic)
    return answers


async def abort(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    before = await offset_commit(kafka, group, topic, 3)
    producer, _ = await init(kafka)
    sent = await txn_offset_commit(
        kafka, kafka.own("x"), producer, group, topic, 5, version=TXN_OFFSET_COMMIT
    )
    pending = await offset_fetch(kafka, group, {topic: [0]})
    _, ended = await end(kafka, producer, commit=False)
    return {
        "before": before,
        "sent": sent,
        "pending": pending,
        "end": ended,
        "stays": await _stable_offsets(kafka, group, topic),
    }


async def a_plain_commit_in_between(kafka: Session) -> Answer:
    """The marker's place in the log decides: the transaction's offset comes later, although it was sent
    before."""
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    producer, _ = await init(kafka)
    await txn_offset_commit(kafka, kafka.own("x"), producer, group, topic, 5, version=TXN_OFFSET_COMMIT)
    plain = await offset_commit(kafka, group, topic, 9)
    seen = await offset_fetch(kafka, group, {topic: [0]})
    await end(kafka, producer, commit=True)
    return {"plain": plain, "seen": seen, "at last": await _stable_offsets(kafka, group, topic)}


async def twice_in_one_transaction(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    producer, _ = await init(kafka)
    sent = [
        await txn_offset_commit(
            kafka, kafka.own("x"), producer, group, topic, offset, version=TXN_OFFSET_COMMIT
        )
        for offset in (5, 7)
    ]
    await end(kafka, producer, commit=True)
    return {"sent": sent, "committed": await _stable_offsets(kafka, group, topic)}


async def who_may(kafka: Session) -> Answer:
    """Generation and member are checked against the group (KIP-447)."""
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    required, _ = await join(kafka, group)
    member = required.member_id
    await join(kafka, group, member)
    completing = kafka.own("completing")
    await join(kafka, completing, (await join(kafka, completing))[0].member_id)
    await sync(kafka, group, member, 1, {member: b"mine"})
    producer, _ = await init(kafka)

    async def commit_as(member_id: str, generation: int, group_id: str = group) -> Answer:
        return await txn_offset_commit(
            kafka,
            kafka.own("x"),
            producer,
            group_id,
            topic,
            5,
            version=TXN_OFFSET_COMMIT,
            member=member_id,
            generation=generation,
        )

    answers: Answer = {
        "member": await commit_as(member, 1),
        "old generation": await commit_as(member, 0),
        "future generation": await commit_as(member, 2),
        "stranger": await commit_as("stranger", 1),
        "no member, generation": await commit_as("", 1),
        "nobody": await commit_as("", -1),
        "no such group": await commit_as("stranger", 1, kafka.own("no group")),
        "no such group, nobody": await commit_as("", -1, kafka.own("no group")),
    }
    answers["left"] = await leave(kafka, group, member)
    answers["after leave"] = await commit_as(member, 1)
    answers["nobody, group empty"] = await commit_as("", -1)
    _, answers["end"] = await end(kafka, producer, commit=True)
    answers["committed"] = await _stable_offsets(kafka, group, topic)
    return answers


async def who_is_not_the_producer(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    first, _ = await init(kafka)
    second, _ = await init(kafka)
    stranger = type(second)(second.id + 5000, 0)
    return {
        "fenced": await txn_offset_commit(
            kafka, kafka.own("x"), first, group, topic, 5, version=TXN_OFFSET_COMMIT
        ),
        "another id": await txn_offset_commit(
            kafka, kafka.own("x"), stranger, group, topic, 5, version=TXN_OFFSET_COMMIT
        ),
        "right": await txn_offset_commit(
            kafka, kafka.own("x"), second, group, topic, 6, version=TXN_OFFSET_COMMIT
        ),
        "unknown topic": await txn_offset_commit(
            kafka, kafka.own("x"), second, group, kafka.own("nothing"), 6, version=TXN_OFFSET_COMMIT
        ),
        "end": (await end(kafka, second, commit=True))[1],
        "committed": await _stable_offsets(kafka, group, topic),
    }


async def of_older_clients(kafka: Session) -> Answer:
    """AddOffsetsToTxn, then TxnOffsetCommit up to v4."""
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    producer, _ = await init(kafka, version=4)
    name = kafka.own("x")
    answers: Answer = {
        "not added": await txn_offset_commit(kafka, name, producer, kafka.own("h"), topic, 4),
        "add": await add_offsets(kafka, name, producer, group),
        "add again": await add_offsets(kafka, name, producer, group),
        "sent": await txn_offset_commit(kafka, name, producer, group, topic, 5),
        "sent, version 0": await txn_offset_commit(kafka, name, producer, group, topic, 6, version=0),
        "add, another id": await add_offsets(kafka, name, type(producer)(producer.id + 5000, 0), group),
        "add, nobody's": await add_offsets(kafka, kafka.own("nobody"), producer, group),
    }
    _, answers["end"] = await end(kafka, producer, commit=True, version=3)
    answers["committed"] = await _stable_offsets(kafka, group, topic)
    return answers


async def after_a_refusal_of_older_clients(kafka: Session) -> Answer:
    """The next transaction, under the same epoch, commits what was refused before."""
    topic, group, name = await kafka.create_topic("t"), kafka.own("g"), kafka.own("x")
    producer, _ = await init(kafka, version=4)
    answers: Answer = {
        "add": await add_offsets(kafka, name, producer, group),
        "refused": await txn_offset_commit(
            kafka, name, producer, group, topic, 4, generation=3, member="stranger"
        ),
    }
    _, answers["abort"] = await end(kafka, producer, commit=False, version=3)

    async def added() -> Answer | None:
        answer = await add_offsets(kafka, name, producer, group)
        return None if answer["error_code"] == "concurrent_transactions" else answer

    answers["add again"] = await settled(added, "the transaction before never ends")
    answers["sent"] = await txn_offset_commit(kafka, name, producer, group, topic, 5)
    _, answers["commit"] = await end(kafka, producer, commit=True, version=3)
    answers["committed"] = await _stable_offsets(kafka, group, topic)
    return answers


async def after_a_refusal(kafka: Session) -> Answer:
    topic, group, name = await kafka.create_topic("t"), kafka.own("g"), kafka.own("x")
    producer, _ = await init(kafka)
    answers: Answer = {
        "refused": await txn_offset_commit(
            kafka, name, producer, group, topic, 4, version=5, generation=3, member="stranger"
        )
    }
    following, answers["abort"] = await end(kafka, producer, commit=False)

    async def sent() -> Answer | None:
        answer = await txn_offset_commit(kafka, name, following, group, topic, 5, version=5)
        return None if answer["error_code"] in _ASK_AGAIN else answer

    answers["sent"] = await settled(sent, "the transaction before never ends")
    _, answers["commit"] = await end(kafka, following, commit=True)
    answers["committed"] = await _stable_offsets(kafka, group, topic)
    return answers


async def _stable_offsets(kafka: Session, group: str, topic: str) -> Answer:
    async def attempt() -> Answer | None:
        answer = await offset_fetch(kafka, group, {topic: [0]}, stable=True)
        unstable = answer["error_code"] == "unstable_offset_commit" or any(
            partition["error_code"] == "unstable_offset_commit"
            for entry in answer["topics"]
            for partition in entry["partitions"]
        )
        return None if unstable else answer

    return dict(await settled(attempt, f"offsets of {group} stay pending"))
