"""A consumer group of the new protocol as plain data (KIP-848).

Three epochs order everything. The *group epoch* grows with every change of members, subscriptions or topics; the *assignment
epoch* is the group epoch for which the present target was computed; a *member epoch* is the target that this member
has reached, and what its commits are fenced by.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

LEFT_FOR_A_WHILE = -2
"""Epoch of a static member that said it comes back: it keeps its place until its session ends."""
LEAVES = -1
JOINS = 0

Partition = tuple[str, int]
"""Topic id and index: a topic that is made again under its old name is another one."""


class MemberState(enum.StrEnum):
    """Where a member stands on its way to the target."""

    STABLE = "stable"
    UNREVOKED_PARTITIONS = "unrevoked"
    """It was told to give something up, and has not said that it did."""
    UNRELEASED_PARTITIONS = "unreleased"
    """Something that it shall have still belongs to somebody else."""


class ConsumerMember(msgspec.Struct, frozen=True):
    """`assigned` is what it may use, each partition since the epoch in `since` at its place; `revoking` what it was told to
    give up and may still hold."""

    id: str
    client_id: str = ""
    client_host: str = ""
    instance: str | None = None
    rack: str | None = None
    rebalance_timeout_ms: int = 0
    subscribed: tuple[str, ...] = ()
    regex: str | None = None
    assignor: str | None = None
    epoch: int = JOINS
    previous_epoch: int = JOINS
    state: MemberState = MemberState.STABLE
    assigned: tuple[Partition, ...] = ()
    since: tuple[int, ...] = ()
    revoking: tuple[Partition, ...] = ()


class TopicShape(msgspec.Struct, frozen=True):
    """What the group knows of a topic that somebody is subscribed to."""

    id: str
    partitions: int


class ConsumerGroup(msgspec.Struct, frozen=True, tag_field="type", tag="consumer"):
    """One group; members in order of joining. What is written to the log is this, whole."""

    id: str
    epoch: int = 1
    assignment_epoch: int = 1
    assignor: str = ""
    topics: dict[str, TopicShape] = msgspec.field(default_factory=dict)
    members: dict[str, ConsumerMember] = msgspec.field(default_factory=dict)
    target: dict[str, tuple[Partition, ...]] = msgspec.field(default_factory=dict)
    emptied_ms: int = 0

    @property
    def state(self) -> str:
        """Kafka's name for it."""
        if not self.members:
            return "Empty"
        if self.epoch > self.assignment_epoch:
            return "Assigning"
        settled = all(
            m.epoch == self.assignment_epoch and m.state is MemberState.STABLE for m in self.members.values()
        )
        return "Stable" if settled else "Reconciling"

    def static(self, instance: str) -> ConsumerMember | None:
        """The static member of that name."""
        return next((m for m in self.members.values() if m.instance == instance), None)

    def owners(self) -> Mapping[Partition, str]:
        """Who holds each partition, or may hold it: who was told to give it up and has not said so still does."""
        return {p: m.id for m in self.members.values() for p in (*m.assigned, *m.revoking)}

    def with_member(self, member: ConsumerMember) -> ConsumerGroup:
        return msgspec.structs.replace(self, members=self.members | {member.id: member})

    def without(self, member_id: str) -> ConsumerGroup:
        """The others, in a new epoch: what it had is free. For nobody no target is wanting."""
        members = {name: m for name, m in self.members.items() if name != member_id}
        return msgspec.structs.replace(
            self,
            epoch=self.epoch + 1,
            assignment_epoch=self.assignment_epoch if members else self.epoch + 1,
            members=members,
            target={name: t for name, t in self.target.items() if name != member_id},
        )
