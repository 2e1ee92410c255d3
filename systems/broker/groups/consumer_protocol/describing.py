"""ConsumerGroupDescribe, and what the older requests say of a consumer group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker.groups.consumer_protocol.requests import by_topic
from systems.broker.groups.consumer_protocol.state import ConsumerGroup, Partition
from systems.broker.metadata import MetadataImage

_CONSUMER_MEMBER = 1
_UNKNOWN_OPERATIONS = -2_147_483_648


def described(group: ConsumerGroup, image: MetadataImage) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.none,
        "error_message": None,
        "group_id": group.id,
        "group_state": group.state,
        "group_epoch": group.epoch,
        "assignment_epoch": group.assignment_epoch,
        "assignor_name": group.assignor,
        "authorized_operations": _UNKNOWN_OPERATIONS,
        "members": [
            {
                "member_id": m.id,
                "instance_id": m.instance,
                "rack_id": m.rack,
                "member_epoch": m.epoch,
                "client_id": m.client_id,
                "client_host": m.client_host,
                "subscribed_topic_names": m.subscribed,
                "subscribed_topic_regex": m.regex or "",
                "assignment": _assignment(m.assigned, image),
                "target_assignment": _assignment(group.target.get(m.id, ()), image),
                "member_type": _CONSUMER_MEMBER,
            }
            for m in group.members.values()
        ],
    }


def undescribed(group_id: str, code: ErrorCode) -> dict[str, Any]:
    return {
        "error_code": code,
        "error_message": f"Group {group_id} not found." if code is ErrorCode.group_id_not_found else None,
        "group_id": group_id,
        "group_state": "",
        "group_epoch": 0,
        "assignment_epoch": 0,
        "assignor_name": "",
        "authorized_operations": _UNKNOWN_OPERATIONS,
        "members": (),
    }


def _assignment(partitions: Sequence[Partition], image: MetadataImage) -> dict[str, Any]:
    """A topic that does not exist any more has no name to be told by."""
    told = []
    for topic in by_topic(partitions):
        state = image.topic_by_id(topic["topic_id"].bytes)
        if state is not None:
            told.append(topic | {"topic_name": state.name})
    return {"topic_partitions": told}
