"""What members of the new protocol's groups (KIP-848) ask: requests as in `requests.py`.

Topics are created one after the other, and their ids compared by name: an assignment comes back as topic -> partitions.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .requests import METADATA
from .session import GROUP, Answer, Session, settled

OFFSET_COMMIT, OFFSET_FETCH = 8, 9
CONSUMER_GROUP_HEARTBEAT, CONSUMER_GROUP_DESCRIBE = 68, 69

Owned = Mapping[str, Sequence[int]]


async def topic_ids(kafka: Session, *topics: str) -> dict[str, uuid.UUID]:
    answer = await kafka.ask(
        kafka.any_node,
        METADATA,
        12,
        topics=[{"name": topic, "topic_id": None} for topic in topics],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=False,
    )
    return {topic.name: topic.topic_id for topic in answer.topics}


async def beat(
    kafka: Session,
    group: str,
    member: str,
    epoch: int,
    *,
    version: int = 1,
    instance: str | None = None,
    rebalance_timeout_ms: int = -1,
    topics: Sequence[str] | None = None,
    regex: str | None = None,
    assignor: str | None = None,
    owned: Owned | None = None,
    ids: Mapping[str, uuid.UUID] | None = None,
) -> Answer:
    """A heartbeat; `ids` names the topics of what is owned and of what is assigned."""
    ids = ids or {}
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        CONSUMER_GROUP_HEARTBEAT,
        version,
        group_id=group,
        member_id=member,
        member_epoch=epoch,
        instance_id=instance,
        rack_id=None,
        rebalance_timeout=datetime.timedelta(milliseconds=rebalance_timeout_ms),
        subscribed_topic_names=topics,
        subscribed_topic_regex=regex,
        server_assignor=assignor,
        topic_partitions=None
        if owned is None
        else [{"topic_id": ids[topic], "partitions": list(parts)} for topic, parts in owned.items()],
    )
    plain = dict(kafka.plain(answer))
    # How often a member shall be heard of is each cluster's own business.
    del plain["heartbeat_interval"]
    if answer.assignment is not None:
        names = {topic_id: name for name, topic_id in ids.items()}
        plain["assignment"] = {
            names[entry.topic_id]: sorted(entry.partitions)
            for entry in sorted(answer.assignment.topic_partitions, key=lambda e: names[e.topic_id])
        }
    return plain


async def joined(
    kafka: Session, group: str, member: str, ids: Mapping[str, uuid.UUID], **more: Any
) -> Answer:
    """Joins with a subscription to all the topics."""
    wanted: dict[str, Any] = {"topics": sorted(ids), "rebalance_timeout_ms": 5_000, "owned": {}} | more
    return await beat(kafka, group, member, 0, ids=ids, **wanted)


async def beating_until(kafka: Session, group: str, member: str, epoch: int, ids: Any, **more: Any) -> Answer:
    """The first answer that says more than that the member lives: the coordinator computes targets in its own time."""

    async def news() -> Answer | None:
        answer = await beat(kafka, group, member, epoch, ids=ids, **more)
        says_more = answer["assignment"] is not None or answer["member_epoch"] != epoch
        return answer if says_more or answer["error_code"] != "none" else None

    return dict(await settled(news, f"{member} is told nothing"))


async def commit(
    kafka: Session,
    group: str,
    topic: str,
    offset: int,
    *,
    epoch: int,
    member: str,
    version: int = 9,
    partitions: Sequence[int] = (0,),
) -> Any:
    """The error code of the partition; of several, those of all."""
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        OFFSET_COMMIT,
        version,
        group_id=group,
        generation_id_or_member_epoch=epoch,
        member_id=member,
        group_instance_id=None,
        topics=[
            {
                "name": topic,
                "partitions": [
                    {
                        "partition_index": partition,
                        "committed_offset": offset,
                        "committed_leader_epoch": -1,
                        "committed_metadata": "",
                    }
                    for partition in partitions
                ],
            }
        ],
    )
    codes = [kafka.plain(p.error_code) for p in answer.topics[0].partitions]
    return codes[0] if len(codes) == 1 else codes


async def fetch_committed(
    kafka: Session, group: str, topic: str, *, epoch: int = -1, member: str | None = None
) -> Answer:
    answer = await kafka.ask(
        await kafka.coordinator(group, GROUP),
        OFFSET_FETCH,
        9,
        groups=[
            {
                "group_id": group,
                "member_id": member,
                "member_epoch": epoch,
                "topics": [{"name": topic, "partition_indexes": [0]}],
            }
        ],
        require_stable=False,
    )
    (of_group,) = answer.groups
    return {
        "error_code": kafka.plain(of_group.error_code),
        "offsets": [p.committed_offset for t in of_group.topics for p in t.partitions],
    }


async def described(kafka: Session, *groups: str, version: int = 1) -> list[Any]:
    answer = await kafka.ask(
        await kafka.coordinator(groups[0], GROUP),
        CONSUMER_GROUP_DESCRIBE,
        version,
        group_ids=list(groups),
        include_authorized_operations=False,
    )
    plain = list(kafka.plain(answer)["groups"])
    for group in plain:
        group["members"].sort(key=lambda member: member["member_id"])
        for member in group["members"]:
            # Where it connects from is no answer of the group's.
            member["client_host"] = bool(member["client_host"])
    return plain
