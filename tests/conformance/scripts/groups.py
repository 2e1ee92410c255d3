"""Classic consumer groups (semantics 2.5): one member, and what strangers and old generations are told."""

from __future__ import annotations

from ..requests import OFFSET_FETCH, heartbeat, join, leave, offset_commit, offset_fetch, sync
from ..session import GROUP, Answer, Session


async def first_join(kafka: Session) -> Answer:
    """From version 4 on a member is given its id first and joins with it."""
    required, asked = await join(kafka, kafka.own("g"))
    _, joined = await join(kafka, kafka.own("g"), required.member_id)
    return {
        "without an id": asked,
        "with the id": joined,
        "without an id, version 3": (await join(kafka, kafka.own("old"), version=3))[1],
        "with an id nobody gave": (await join(kafka, kafka.own("h"), "stranger"))[1],
    }


async def joining_wrongly(kafka: Session) -> Answer:
    group = kafka.own("g")
    member = await _lone_member(kafka, group)
    return {
        "no protocols": (await join(kafka, kafka.own("h"), protocols=[]))[1],
        "no protocol type": (await join(kafka, kafka.own("h"), protocol_type=""))[1],
        "a stranger": (await join(kafka, group, "stranger"))[1],
        "another protocol": (await join(kafka, group, protocols=[("sticky", b"s")]))[1],
        "another protocol type": (await join(kafka, group, protocol_type="connect"))[1],
        "a session of 1 ms": (await join(kafka, kafka.own("h"), session_timeout_ms=1))[1],
        "a session of a day": (await join(kafka, kafka.own("h"), session_timeout_ms=86_400_000))[1],
        "still well": await heartbeat(kafka, group, member, 1),
    }


async def no_group_id(kafka: Session) -> Answer:
    return {"join": (await join(kafka, "", node=await kafka.coordinator(kafka.own("g"), GROUP)))[1]}


async def a_lone_member(kafka: Session) -> Answer:
    group = kafka.own("g")
    required, _ = await join(kafka, group)
    member = required.member_id
    _, joined = await join(kafka, group, member)
    return {
        "joined": joined,
        "heartbeat before sync": await heartbeat(kafka, group, member, 1),
        "sync, old generation": await sync(kafka, group, member, 0, {member: b"mine"}),
        "sync, stranger": await sync(kafka, group, "stranger", 1),
        "sync": await sync(kafka, group, member, 1, {member: b"mine"}),
        "sync again": await sync(kafka, group, member, 1, {member: b"other"}),
        "sync, version 5": await sync(kafka, group, member, 1, version=5),
        "sync, version 5, other protocol": await sync(
            kafka, group, member, 1, version=5, protocol_name="sticky"
        ),
        "heartbeat": await heartbeat(kafka, group, member, 1),
        "heartbeat, old generation": await heartbeat(kafka, group, member, 0),
        "heartbeat, future generation": await heartbeat(kafka, group, member, 2),
        "heartbeat, stranger": await heartbeat(kafka, group, "stranger", 1),
        "leave": await leave(kafka, group, member),
        "heartbeat after leave": await heartbeat(kafka, group, member, 1),
        "leave again": await leave(kafka, group, member),
        "leave again, version 1": await leave(kafka, group, member, version=1),
    }


async def rejoining_alone(kafka: Session) -> Answer:
    """A leader that joins again always starts a new generation."""
    group = kafka.own("g")
    member = await _lone_member(kafka, group)
    return {
        "joined again": (await join(kafka, group, member))[1],
        "old generation": await heartbeat(kafka, group, member, 1),
        "new generation, not synced": await heartbeat(kafka, group, member, 2),
        "sync": await sync(kafka, group, member, 2, {member: b"new"}),
        "heartbeat": await heartbeat(kafka, group, member, 2),
    }


async def no_such_group(kafka: Session) -> Answer:
    group = kafka.own("g")
    topic = await kafka.create_topic("t")
    return {
        "heartbeat": await heartbeat(kafka, group, "stranger", 1),
        "sync": await sync(kafka, group, "stranger", 1),
        "leave": await leave(kafka, group, "stranger"),
        "leave, version 1": await leave(kafka, group, "stranger", version=1),
        "commit of generation 1": await offset_commit(
            kafka, group, topic, 3, generation=1, member="stranger"
        ),
        "committed": await offset_fetch(kafka, group, {topic: [0]}),
        "all committed": await offset_fetch(kafka, group, None),
    }


async def commits_of_a_member(kafka: Session) -> Answer:
    group = kafka.own("g")
    topic = await kafka.create_topic("t", partitions=2)
    member = await _lone_member(kafka, group)
    return {
        "right": await offset_commit(kafka, group, topic, 5, generation=1, member=member),
        "back": await offset_commit(kafka, group, topic, 4, generation=1, member=member),
        "old generation": await offset_commit(kafka, group, topic, 6, generation=0, member=member),
        "future generation": await offset_commit(kafka, group, topic, 6, generation=2, member=member),
        "stranger": await offset_commit(kafka, group, topic, 6, generation=1, member="stranger"),
        "nobody": await offset_commit(kafka, group, topic, 6),
        "no member": await offset_commit(kafka, group, topic, 6, generation=1),
        "unknown topic": await offset_commit(kafka, group, kafka.own("x"), 6, generation=1, member=member),
        "committed": await offset_fetch(kafka, group, {topic: [0, 1]}),
        "all committed": await offset_fetch(kafka, group, None),
        "unknown topic's": await offset_fetch(kafka, group, {kafka.own("x"): [0]}),
        "left": await leave(kafka, group, member),
        "after leave": await offset_commit(kafka, group, topic, 7, generation=1, member=member),
        "nobody, group empty": await offset_commit(kafka, group, topic, 8),
        "committed at last": await offset_fetch(kafka, group, {topic: [0]}),
    }


async def commits_without_members(kafka: Session) -> Answer:
    """A consumer with manual assignment: generation -1, no member id, the group need not exist."""
    group = kafka.own("g")
    topic = await kafka.create_topic("t")
    return {
        "first": await offset_commit(kafka, group, topic, 5),
        "second": await offset_commit(kafka, group, topic, 9),
        "committed": await offset_fetch(kafka, group, {topic: [0]}, stable=True),
        "unknown topic": await offset_commit(kafka, group, kafka.own("x"), 6),
    }


async def several_groups_at_once(kafka: Session) -> Answer:
    """OffsetFetch from version 8 on."""
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    await offset_commit(kafka, group, topic, 5)
    wanted = {"name": topic, "partition_indexes": [0]}
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        OFFSET_FETCH,
        8,
        groups=[{"group_id": group, "topics": [wanted]}, {"group_id": group, "topics": None}],
        require_stable=True,
    )
    return {"groups": kafka.plain(answer.groups)}


async def long_metadata(kafka: Session) -> Answer:
    topic, group = await kafka.create_topic("t"), kafka.own("g")
    return {
        "4096 bytes": await offset_commit(kafka, group, topic, 5, metadata="x" * 4096),
        "4097 bytes": await offset_commit(kafka, group, topic, 6, metadata="x" * 4097),
    }


async def the_wrong_node(kafka: Session) -> Answer:
    group = kafka.own("g")
    topic = await kafka.create_topic("t")
    coordinator = await kafka.coordinator(group, GROUP)
    other = min(node for node in kafka.nodes if node != coordinator)
    return {
        "heartbeat": await heartbeat(kafka, group, "m", 1, node=other),
        "commit": await offset_commit(kafka, group, topic, 5, node=other),
    }


async def _lone_member(kafka: Session, group: str) -> str:
    """The only member of a stable group in generation 1."""
    required, _ = await join(kafka, group)
    member = str(required.member_id)
    await join(kafka, group, member)
    await sync(kafka, group, member, 1, {member: b"mine"})
    return member
