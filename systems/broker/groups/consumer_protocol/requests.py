"""ConsumerGroupHeartbeat on the wire: what a request must say, what it means, and how an assignment is told."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.groups.consumer_protocol.members import Beat
from systems.broker.groups.consumer_protocol.state import (
    JOINS,
    LEFT_FOR_A_WHILE,
    ConsumerMember,
    Partition,
)

_MEMBERS_NAME_THEMSELVES_SINCE = 1


def check_request(context: RequestContext, request: Any) -> None:
    """Raises INVALID_REQUEST for what no member may say."""
    regex = getattr(request, "subscribed_topic_regex", None)
    subscribes = request.subscribed_topic_names is not None or regex is not None
    joins = request.member_epoch == JOINS
    wrong = {
        "GroupId must not be empty": not request.group_id.strip(),
        "InstanceId must not be empty": request.instance_id is not None and not request.instance_id.strip(),
        "RackId must not be empty": request.rack_id is not None and not request.rack_id.strip(),
        "MemberId must not be empty": not request.member_id.strip()
        and (not joins or context.version >= _MEMBERS_NAME_THEMSELVES_SINCE),
        "MemberEpoch is out of range": request.member_epoch < LEFT_FOR_A_WHILE,
        "InstanceId must be given to leave for a while": request.member_epoch == LEFT_FOR_A_WHILE
        and request.instance_id is None,
        "RebalanceTimeoutMs must be given to join": joins
        and messages.in_milliseconds(request.rebalance_timeout) == -1,
        "TopicPartitions must be empty to join": joins and request.topic_partitions != (),
        "SubscribedTopicNames or SubscribedTopicRegex must be given to join": joins and not subscribes,
    }
    for why, so in wrong.items():
        if so:
            raise KafkaError(ErrorCode.invalid_request, why)


def beat_of(context: RequestContext, request: Any, random: random.Random) -> Beat:
    """A newcomer of version 0 without an id gets one."""
    rebalance_ms = messages.in_milliseconds(request.rebalance_timeout)
    names = request.subscribed_topic_names
    member_id = request.member_id
    if not member_id and request.member_epoch == JOINS:
        member_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
    return Beat(
        member_id=member_id,
        epoch=request.member_epoch,
        client_id=context.client_id or "",
        client_host=context.client_host,
        instance=request.instance_id,
        rack=request.rack_id,
        rebalance_timeout_ms=None if rebalance_ms == -1 else rebalance_ms,
        subscribed=None if names is None else tuple(names),
        regex=getattr(request, "subscribed_topic_regex", None),
        assignor=request.server_assignor,
        owned=None if request.topic_partitions is None else _partitions(request.topic_partitions),
    )


def assignment_of(member: ConsumerMember) -> dict[str, Any]:
    """The whole assignment: what is not in it the member must give up."""
    return {"topic_partitions": by_topic(member.assigned)}


def by_topic(partitions: Sequence[Partition]) -> list[dict[str, Any]]:
    topics: dict[str, list[int]] = {}
    for topic, index in partitions:
        topics.setdefault(topic, []).append(index)
    return [
        {"topic_id": uuid.UUID(hex=topic), "partitions": tuple(indexes)} for topic, indexes in topics.items()
    ]


def _partitions(topics: Sequence[Any]) -> tuple[Partition, ...]:
    return tuple(
        (topic.topic_id.hex, index)
        for topic in topics
        if topic.topic_id is not None
        for index in topic.partitions
    )
