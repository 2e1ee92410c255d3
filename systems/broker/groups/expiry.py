"""When a committed offset is forgotten (KIP-211), and groups that have nothing left.

Of a group without members, `offsets.retention.minutes` after it became empty (or after the commit, if that was later). Of
a group with members only what none of them is subscribed to, counted from the commit; the rest never, however long ago
it was committed. A commit that is being written, or waits for its transaction, is in use.
"""

from __future__ import annotations

import struct

from systems.broker.groups.consumer_protocol.state import ConsumerGroup
from systems.broker.groups.offsets import TopicPartition
from systems.broker.groups.shard import Groups
from systems.broker.groups.state import Group, State

MS_PER_MINUTE = 60_000


def expired(
    state: Groups, group_id: str, now_ms: int, retention_ms: float, *, also_in_use: bool = False
) -> list[TopicPartition]:
    """What is to be forgotten now. `also_in_use`: the mistake of counting from the commit while members live."""
    group = state.groups.get(group_id) or state.consumer_groups.get(group_id)
    found: list[TopicPartition] = []
    for partition, entry in sorted(state.offsets.committed.get(group_id, {}).items()):
        since_ms = entry.committed_ms
        if group is not None and group.state == State.EMPTY:
            since_ms = max(since_ms, group.emptied_ms)
        elif group is not None and not also_in_use and is_subscribed(group, partition[0]):
            continue
        if now_ms - since_ms > retention_ms and not state.offsets.in_use(group_id, partition):
            found.append(partition)
    return found


def is_subscribed(group: Group | ConsumerGroup, topic: str) -> bool:
    """Whether a member says so; a protocol whose subscriptions cannot be read counts as subscribed to everything."""
    if isinstance(group, ConsumerGroup):
        return topic in group.topics
    if group.protocol_type != "consumer":
        return True
    for member in group.members.values():
        topics = _topics(member.metadata(group.protocol or ""))
        if topics is None or topic in topics:
            return True
    return False


def _topics(subscription: bytes) -> list[str] | None:
    """The topics in a consumer's `ConsumerProtocolSubscription`, of any version."""
    try:
        _, count = struct.unpack_from(">hi", subscription)
        place, topics = 6, []
        for _ in range(count):
            (length,) = struct.unpack_from(">h", subscription, place)
            topics.append(subscription[place + 2 : place + 2 + length].decode())
            place += 2 + length
    except (struct.error, UnicodeDecodeError):
        return None
    return topics
