"""What one partition of `__consumer_offsets` says, and how a replay builds it."""

from __future__ import annotations

import asyncio

from systems.broker.coordinator_log import Entry, Marker, Shard
from systems.broker.groups import codec
from systems.broker.groups.consumer_protocol.state import ConsumerGroup
from systems.broker.groups.offsets import Committed, Offsets
from systems.broker.groups.state import Group


class Groups:
    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.consumer_groups: dict[str, ConsumerGroup] = {}
        self.offsets = Offsets()
        self._turns: dict[str, asyncio.Lock] = {}

    def turn(self, group_id: str) -> asyncio.Lock:
        """Held while a group of the new protocol changes, or is removed: one change at a time."""
        return self._turns.setdefault(group_id, asyncio.Lock())

    def group(self, group_id: str) -> Group:
        """The classic one of that name, made at first sight."""
        self.consumer_groups.pop(group_id, None)
        return self.groups.setdefault(group_id, Group(group_id))

    def keep(self, group: ConsumerGroup) -> None:
        """A group is of one protocol at a time."""
        self.groups.pop(group.id, None)
        self.consumer_groups[group.id] = group

    def forget(self, group_id: str) -> None:
        self.groups.pop(group_id, None)
        self.consumer_groups.pop(group_id, None)


GroupShard = Shard[Groups]


def replay(state: Groups, entry: Entry | Marker) -> None:
    if isinstance(entry, Marker):
        state.offsets.end(entry.producer_id, entry.offset, commit=entry.commit)
        return
    key = codec.decode_key(entry.key)
    if isinstance(key, codec.GroupKey):
        if entry.value is None:
            state.forget(key.group)
        elif codec.is_consumer_group(entry.value):
            state.keep(codec.decode_consumer_group(entry.value))
        else:
            state.forget(key.group)
            state.groups[key.group] = codec.decode_group(key.group, entry.value)
        return
    partition = (key.topic, key.partition)
    if entry.value is None:
        state.offsets.forget(key.group, partition, entry.offset)
        return
    stored = codec.decode_offset(entry.value)
    committed = Committed(
        stored.offset, stored.leader_epoch, stored.metadata, entry.offset, stored.committed_ms
    )
    if entry.producer_id < 0:
        state.offsets.commit(key.group, partition, committed)
    else:
        state.offsets.hold(entry.producer_id, key.group, partition, committed)
