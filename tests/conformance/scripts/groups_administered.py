"""DescribeGroups, ListGroups, DeleteGroups and OffsetDelete: classic groups as an administrator sees them."""

from __future__ import annotations

from ..administration import delete_groups, delete_offsets, describe_groups, list_groups
from ..requests import join, leave, offset_commit, offset_fetch, sync
from ..session import GROUP, Answer, Session, settled


async def _member(kafka: Session, group: str, subscription: bytes = b"subscription") -> str:
    """The one member of a stable group."""
    protocols = [("range", subscription)]
    required, _ = await join(kafka, group, protocols=protocols)
    member = str(required.member_id)
    await join(kafka, group, member, protocols=protocols)
    await sync(kafka, group, member, 1, {member: b"mine"})
    return member


async def _committed(kafka: Session, group: str, topic: str) -> None:
    await offset_commit(kafka, group, topic, 5)


async def described(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    stable, offsets_only = kafka.own("stable"), kafka.own("offsets-only")
    member = await _member(kafka, stable)
    await _committed(kafka, offsets_only, topic)
    answers = {
        "stable": await describe_groups(kafka, stable),
        "version 0": await describe_groups(kafka, stable, version=0),
        "of offsets only": await describe_groups(kafka, offsets_only),
        "unknown": await describe_groups(kafka, kafka.own("nothing")),
        "unknown, version 6": await describe_groups(kafka, kafka.own("nothing"), version=6),
    }
    elsewhere = await kafka.another_node(await kafka.coordinator(stable, GROUP))
    answers["elsewhere"] = await describe_groups(kafka, stable, node=elsewhere)
    await leave(kafka, stable, member)
    answers["left"] = await describe_groups(kafka, stable)
    return answers


async def joining(kafka: Session) -> Answer:
    """Between join and sync: members, but nothing assigned."""
    group = kafka.own("g")
    required, _ = await join(kafka, group)
    await join(kafka, group, required.member_id)

    async def written() -> object:
        """Of what the coordinator has not written yet Kafka knows nothing when it describes."""
        described = await describe_groups(kafka, group)
        return None if described[0]["group_state"] == "Dead" else described

    return {
        "completing": await settled(written, "the group is never written"),
        "listed": await list_groups(kafka),
    }


async def listed(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    await _member(kafka, kafka.own("stable"))
    await _committed(kafka, kafka.own("offsets-only"), topic)
    return {
        "all": await list_groups(kafka),
        "version 0": await list_groups(kafka, version=0),
        "version 3": await list_groups(kafka, version=3),
        "version 4": await list_groups(kafka, states=["Stable"], version=4),
        "stable": await list_groups(kafka, states=["Stable"]),
        "in lower case": await list_groups(kafka, states=["stable"]),
        "empty": await list_groups(kafka, states=["Empty"]),
        "two states": await list_groups(kafka, states=["Stable", "Empty"]),
        "no such state": await list_groups(kafka, states=["Confused"]),
        "classic": await list_groups(kafka, types=["classic"]),
        "consumer": await list_groups(kafka, types=["consumer"]),
        "no such type": await list_groups(kafka, types=["confused"]),
    }


async def deleted(kafka: Session) -> Answer:
    topic = await kafka.create_topic("t")
    alive, offsets_only = kafka.own("alive"), kafka.own("offsets-only")
    member = await _member(kafka, alive)
    await _committed(kafka, offsets_only, topic)
    answers = {
        "with a member": await delete_groups(kafka, alive),
        "unknown": await delete_groups(kafka, kafka.own("nothing")),
        "of offsets only": await delete_groups(kafka, offsets_only),
        "its offsets": await offset_fetch(kafka, offsets_only, {topic: [0]}),
        "again": await delete_groups(kafka, offsets_only),
    }
    elsewhere = await kafka.another_node(await kafka.coordinator(alive, GROUP))
    answers["elsewhere"] = await delete_groups(kafka, alive, node=elsewhere)
    await leave(kafka, alive, member)
    answers["left"] = await delete_groups(kafka, alive)
    answers["listed"] = await list_groups(kafka)
    return answers


async def offsets(kafka: Session) -> Answer:
    topic, other = await kafka.create_topic("t"), await kafka.create_topic("u")
    dead, alive = kafka.own("dead"), kafka.own("alive")
    await _committed(kafka, dead, topic)
    name = topic.encode()
    subscription = b"\0\0" + b"\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\0\0\0\0"
    member = await _member(kafka, alive, subscription)
    for subscribed in (topic, other):
        await offset_commit(kafka, alive, subscribed, 5, generation=1, member=member)
    answers = {
        "nobody there": await delete_offsets(kafka, dead, {topic: [0]}),
        "forgotten": await offset_fetch(kafka, dead, {topic: [0]}),
        "no such partition": await delete_offsets(kafka, alive, {topic: [7], kafka.own("nothing"): [0]}),
        "subscribed": await delete_offsets(kafka, alive, {topic: [0]}),
        "not subscribed": await delete_offsets(kafka, alive, {other: [0]}),
        "what is left": await offset_fetch(kafka, alive, {topic: [0], other: [0]}),
        "unknown group": await delete_offsets(kafka, kafka.own("nothing"), {topic: [0]}),
        "nothing": await delete_offsets(kafka, alive, {}),
    }
    elsewhere = await kafka.another_node(await kafka.coordinator(alive, GROUP))
    answers["elsewhere"] = await delete_offsets(kafka, alive, {topic: [0]}, node=elsewhere)
    return answers
