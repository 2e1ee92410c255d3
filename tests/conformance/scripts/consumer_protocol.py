"""Groups of the new protocol (KIP-848; semantics 2.5): epochs, reconciliation, fencing, static members."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ..administration import create_partitions, delete_groups, describe_groups, list_groups
from ..consumer_groups import beat, beating_until, commit, described, fetch_committed, joined, topic_ids
from ..requests import add_offsets, init_producer_id, join, sync, txn_offset_commit
from ..session import Answer, Session

Ids = Mapping[str, uuid.UUID]


async def alone(kafka: Session) -> Answer:
    """One member: its epochs, and what its offsets are fenced by."""
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    absent = await beat(kafka, group, "a", 1)
    joining = await joined(kafka, group, "a", ids)
    now = joining["member_epoch"]
    return {
        "heartbeat before the group exists": absent,
        "joined": joining,
        "joined again, the answer was lost": await joined(kafka, group, "a", ids),
        "heartbeat": await beat(kafka, group, "a", now),
        "heartbeat, tells all": await beat(
            kafka, group, "a", now, ids=ids, topics=[topic], rebalance_timeout_ms=5_000, owned={topic: [0, 1]}
        ),
        "heartbeat of a younger epoch": await beat(kafka, group, "a", now + 1),
        "heartbeat of an older epoch": await beat(kafka, group, "a", now - 1, ids=ids, owned={topic: [0]}),
        "heartbeat of a stranger": await beat(kafka, group, "b", now),
        "commit": await commit(kafka, group, topic, 5, epoch=now, member="a"),
        "commit of an older epoch": await commit(kafka, group, topic, 6, epoch=now - 1, member="a"),
        "commit of a younger epoch": await commit(kafka, group, topic, 7, epoch=now + 1, member="a"),
        "commit of a stranger": await commit(kafka, group, topic, 8, epoch=now, member="b"),
        "commit of nobody": await commit(kafka, group, topic, 9, epoch=-1, member=""),
        "commit of an older client": await commit(kafka, group, topic, 10, epoch=now, member="a", version=8),
        "fetch": await fetch_committed(kafka, group, topic, epoch=now, member="a"),
        "fetch of nobody": await fetch_committed(kafka, group, topic),
        "fetch of an older epoch": await fetch_committed(kafka, group, topic, epoch=now - 1, member="a"),
        "fetch of a stranger": await fetch_committed(kafka, group, topic, epoch=now, member="b"),
        "left": await beat(kafka, group, "a", -1),
        "heartbeat of who left": await beat(kafka, group, "a", now),
        "left again": await beat(kafka, group, "a", -1),
        "commit into the empty group": await commit(kafka, group, topic, 11, epoch=-1, member=""),
        "commit of who left": await commit(kafka, group, topic, 12, epoch=now, member="a"),
        "joined after that": (await joined(kafka, group, "a", ids))["member_epoch"],
    }


async def revocation(kafka: Session) -> Answer:
    """A partition is its new owner's only when the former one's heartbeat no longer has it."""
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    first = (await joined(kafka, group, "a", ids))["member_epoch"]
    answers: Answer = {
        "first commits": await commit(kafka, group, topic, 5, epoch=first, member="a"),
        "second": await joined(kafka, group, "b", ids),
    }
    second = answers["second"]["member_epoch"]
    told = await beating_until(kafka, group, "a", first, ids)
    (kept,) = told["assignment"][topic]
    answers |= {
        "first is told to give up": [told["member_epoch"], len(told["assignment"][topic])],
        "first still holds it": await beat(kafka, group, "a", first, ids=ids, owned={topic: [0, 1]}),
        "first says nothing of it": await beat(kafka, group, "a", first),
        "second meanwhile": await beat(kafka, group, "b", second),
        "first commits meanwhile": await commit(kafka, group, topic, 6, epoch=first, member="a"),
    }
    given_up = await beat(kafka, group, "a", first, ids=ids, owned={topic: [kept]})
    now = given_up["member_epoch"]
    answers |= {
        "first has given up": _counted(given_up),
        "first says so again, the answer was lost": await beat(
            kafka, group, "a", first, ids=ids, owned={topic: [kept]}
        ),
        "first says that it has both": await beat(kafka, group, "a", first, ids=ids, owned={topic: [0, 1]}),
        "first commits what it kept under the old epoch": await commit(
            kafka, group, topic, 7, epoch=first, member="a", partitions=[kept]
        ),
        "first commits what it gave up under the old epoch": await commit(
            kafka, group, topic, 7, epoch=first, member="a", partitions=[1 - kept]
        ),
        "first commits both under the old epoch": await commit(
            kafka, group, topic, 7, epoch=first, member="a", partitions=[0, 1]
        ),
        "first commits what it kept under an epoch before it": await commit(
            kafka, group, topic, 7, epoch=first - 1, member="a", partitions=[kept]
        ),
        "first commits what it does not have": await commit(
            kafka, group, topic, 7, epoch=now, member="a", partitions=[1 - kept]
        ),
        "first fetches under the old epoch": await fetch_committed(
            kafka, group, topic, epoch=first, member="a"
        ),
        "first commits under the new epoch": await commit(kafka, group, topic, 8, epoch=now, member="a"),
        "second is given it": _counted(await beating_until(kafka, group, "b", second, ids)),
    }
    answers["described"] = [
        [entry["group_state"], entry["group_epoch"], entry["assignment_epoch"], entry["assignor_name"]]
        for entry in await described(kafka, group)
    ]
    await beat(kafka, group, "b", -1)
    answers["first is given it back"] = _counted(await beating_until(kafka, group, "a", now, ids))
    return answers


async def joining_again(kafka: Session) -> Answer:
    """A member that begins anew under its id holds nothing any more."""
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    first = (await joined(kafka, group, "a", ids))["member_epoch"]
    second = (await joined(kafka, group, "b", ids))["member_epoch"]
    told = await beating_until(kafka, group, "a", first, ids)
    (kept,) = told["assignment"][topic]
    again = await joined(kafka, group, "a", ids)
    now = again["member_epoch"]
    return {
        "first joins as if new": _counted(again),
        "second is given it": _counted(await beating_until(kafka, group, "b", second, ids)),
        "first, as it was": await beat(kafka, group, "a", first),
        "first, as it is": await beat(kafka, group, "a", now),
        "once more": _counted(await joined(kafka, group, "a", ids)),
        "first commits under the old epoch": await commit(
            kafka, group, topic, 7, epoch=first, member="a", partitions=[kept]
        ),
        "first commits under the new epoch": await commit(
            kafka, group, topic, 8, epoch=now, member="a", partitions=[kept]
        ),
    }


async def offsets_of_a_transaction(kafka: Session) -> Answer:
    topic, group, producing = await kafka.create_topic("t"), kafka.own("g"), kafka.own("x")
    ids = await topic_ids(kafka, topic)
    before = (await joined(kafka, group, "a", ids))["member_epoch"]
    await joined(kafka, group, "b", ids)
    now = (await beating_until(kafka, group, "a", before, ids, topics=[topic]))["member_epoch"]
    producer, _ = await init_producer_id(kafka, producing)
    answers: Answer = {}
    for what, epoch, member in (
        ("of an older epoch in which it had it", before, "a"),
        ("of an epoch before that", before - 1, "a"),
        ("of a younger epoch", now + 1, "a"),
        ("of a stranger", now, "c"),
        ("of the member", now, "a"),
        ("of nobody", -1, ""),
    ):
        await add_offsets(kafka, producing, producer, group)
        answers[what] = await txn_offset_commit(
            kafka, producing, producer, group, topic, 5, generation=epoch, member=member
        )
    return answers


async def wrong_requests(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    named: dict[str, Any] = {"topics": [topic], "rebalance_timeout_ms": 5_000, "owned": {}}
    return {
        "without a subscription": await beat(kafka, group, "a", 0, ids=ids, **named | {"topics": None}),
        "with an empty subscription": await beat(kafka, group, "a", 0, ids=ids, **named | {"topics": []}),
        "without a rebalance timeout": await beat(
            kafka, group, "a", 0, ids=ids, **named | {"rebalance_timeout_ms": -1}
        ),
        "without what it owns": await beat(kafka, group, "a", 0, ids=ids, **named | {"owned": None}),
        "owning something": await beat(kafka, group, "a", 0, ids=ids, **named | {"owned": {topic: [0]}}),
        "without an id": await beat(kafka, group, "", 0, ids=ids, **named),
        "without an id, version 0": _without_member(
            await beat(kafka, kafka.own("old"), "", 0, ids=ids, version=0, **named)
        ),
        "with an empty instance": await beat(kafka, group, "a", 0, ids=ids, instance="", **named),
        "an epoch below all": await beat(kafka, group, "a", -3),
        "leaving for a while without a name": await beat(kafka, group, "a", -2),
        "an assignor that does not exist": await beat(
            kafka, group, "a", 0, ids=ids, assignor="none", **named
        ),
        "a regular expression that is none": await beat(
            kafka, group, "a", 0, ids=ids, **named | {"topics": None}, regex="("
        ),
        "a topic that does not exist": await beat(
            kafka, group, "a", 0, ids=ids, **named | {"topics": [kafka.own("nothing")]}
        ),
    }


async def static_members(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    return {
        "joined": await joined(kafka, group, "a", ids, instance="i"),
        "another of that name while it lives": await joined(kafka, group, "b", ids, instance="i"),
        "left for a while": await beat(kafka, group, "a", -2, instance="i"),
        "described meanwhile": [
            [member["instance_id"], member["member_epoch"]]
            for entry in await described(kafka, group)
            for member in entry["members"]
        ],
        "back under another id": await joined(kafka, group, "b", ids, instance="i"),
        "heartbeat of the former": await beat(kafka, group, "a", 2, instance="i"),
        "heartbeat": await beat(kafka, group, "b", 2, instance="i"),
        "commit of the former": await commit(kafka, group, topic, 5, epoch=2, member="a"),
        "heartbeat under an unknown name": await beat(kafka, group, "b", 2, instance="j"),
        "the former leaves": await beat(kafka, group, "a", -1, instance="i"),
        "left for good": await beat(kafka, group, "b", -1, instance="i"),
        "state": (await described(kafka, group))[0]["group_state"],
    }


async def subscriptions(kafka: Session) -> Answer:
    """Topics that are added, that grow, and that a regular expression finds."""
    first, second = await kafka.create_topic("t1"), await kafka.create_topic("t2")
    group = kafka.own("g")
    ids = await topic_ids(kafka, first, second)
    joining = await joined(kafka, group, "a", ids, topics=[first])
    changed = await beat(kafka, group, "a", joining["member_epoch"], ids=ids, topics=[first, second])
    epoch = changed["member_epoch"]
    answers: Answer = {
        "joined": joining,
        "subscribes to another": changed,
        "owns both": await beat(kafka, group, "a", epoch, ids=ids, owned=dict.fromkeys(ids, (0,))),
    }
    await create_partitions(kafka, first, 2)
    answers["a topic has grown"] = await beating_until(kafka, group, "a", epoch, ids)
    answers["by a regular expression"] = (await _found_by(kafka, kafka.own("r"), ids, f"{kafka.own('t')}."))[
        "assignment"
    ]
    answers["it must match the whole name"] = (
        await _found_by(kafka, kafka.own("n"), ids, f"{kafka.own('t')}|{second}")
    )["assignment"]
    return answers


async def by_range(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t", partitions=5), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    first = (await joined(kafka, group, "b", ids, assignor="range"))["member_epoch"]
    await joined(kafka, group, "a", ids, assignor="range")
    await joined(kafka, group, "c", ids, assignor="range")
    told = await beating_until(kafka, group, "b", first, ids)
    given = await beat(kafka, group, "b", first, ids=ids, owned={topic: told["assignment"].get(topic, [])})
    return {
        "targets": [
            member["target_assignment"]["topic_partitions"]
            for entry in await described(kafka, group)
            for member in entry["members"]
        ],
        "given": [given["error_code"], given["assignment"]],
        "assignor": [entry["assignor_name"] for entry in await described(kafka, group)],
    }


async def administered(kafka: Session) -> Answer:
    """As the requests of old see it, and as those of other kinds of group are refused."""
    topic, group = await kafka.create_topic("t", partitions=2), kafka.own("g")
    ids = await topic_ids(kafka, topic)
    await joined(kafka, group, "a", ids)
    answers: Answer = {
        "described": await described(kafka, group),
        "described as a classic group": await describe_groups(kafka, group),
        "described as a classic group, version 6": await describe_groups(kafka, group, version=6),
        "of a group that does not exist": await described(kafka, kafka.own("nothing")),
        "listed": [entry for entry in await list_groups(kafka) if group in str(entry)],
        "deleted with members": await delete_groups(kafka, group),
    }
    await beat(kafka, group, "a", -1)
    answers |= {
        "empty": await described(kafka, group),
        "deleted": await delete_groups(kafka, group),
        "gone": await described(kafka, group),
    }
    return answers


async def a_classic_group(kafka: Session) -> Answer:
    """Its name is taken only while it has members."""
    await kafka.create_topic("t")
    group = kafka.own("g")
    required, _ = await join(kafka, group)
    member = str(required.member_id)
    _, entered = await join(kafka, group, member)
    await sync(kafka, group, member, 1, {member: b"mine"})
    return {
        "classic": entered["error_code"],
        "described": await described(kafka, group),
        "heartbeat": await beat(kafka, group, "b", 1),
    }


def _counted(answer: Answer) -> Answer:
    """Which partitions they are is the assignor's affair."""
    told = answer["assignment"]
    return answer | {"assignment": None if told is None else {t: len(p) for t, p in told.items()}}


def _without_member(answer: Answer) -> Answer:
    return answer | {"member_id": answer["member_id"] is not None}


async def _found_by(kafka: Session, group: str, ids: Ids, regex: str) -> Answer:
    """What a regular expression finds: Kafka looks for it in its own time."""
    answer = await joined(kafka, group, "a", ids, topics=None, regex=regex)
    if answer["assignment"]:
        return answer
    return await beating_until(kafka, group, "a", answer["member_epoch"], ids)
