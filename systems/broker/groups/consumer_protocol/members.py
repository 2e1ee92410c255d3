"""What a ConsumerGroupHeartbeat says of its sender, and what the group becomes by it (KIP-848): decisions, no waiting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError
from systems.broker.groups.consumer_protocol.assigning import ASSIGNORS, target_of
from systems.broker.groups.consumer_protocol.reconciling import reconciled
from systems.broker.groups.consumer_protocol.state import (
    JOINS,
    LEFT_FOR_A_WHILE,
    ConsumerGroup,
    ConsumerMember,
    Partition,
)
from systems.broker.groups.consumer_protocol.subscriptions import pattern_of, shapes
from systems.broker.metadata import MetadataImage


class Beat(NamedTuple):
    """A heartbeat of any version. None is "as it was" (or, of `owned`, "as you know")."""

    member_id: str
    epoch: int
    client_id: str
    client_host: str
    instance: str | None = None
    rack: str | None = None
    rebalance_timeout_ms: int | None = None
    subscribed: tuple[str, ...] | None = None
    regex: str | None = None
    assignor: str | None = None
    owned: tuple[Partition, ...] | None = None

    @property
    def tells_all(self) -> bool:
        """A member that joins, or that does not know what was heard of its last word."""
        subscribes = self.subscribed is not None or self.regex is not None
        complete = self.rebalance_timeout_ms is not None and subscribes and self.owned is not None
        return self.epoch == JOINS or complete


class Rules(NamedTuple):
    """The coordinator's configuration, as far as it decides."""

    assignors: Sequence[str]
    """The first is taken where no member asks for one."""
    most_members: int
    hurries: bool = False


def beaten(
    group: ConsumerGroup, beat: Beat, image: MetadataImage, rules: Rules
) -> tuple[ConsumerGroup, ConsumerMember]:
    """The group after the heartbeat, and its sender in it. Raises `KafkaError` for who is not, or no longer, who it says."""
    after, member = _admitted(group, beat, rules)
    told = _as_told(member, beat)
    if _subscription(told) != _subscription(member):
        after = msgspec.structs.replace(after, epoch=after.epoch + 1)
    after = after.with_member(told)
    topics = shapes(after.members.values(), image)
    if topics != after.topics:
        # One change, however many reasons it has.
        after = msgspec.structs.replace(after, topics=topics, epoch=group.epoch + 1)
    if after.epoch > after.assignment_epoch:
        after = msgspec.structs.replace(after, assignor=_chosen(after, rules))
        after = msgspec.structs.replace(after, assignment_epoch=after.epoch, target=target_of(after))
    step = reconciled(after, told, beat.owned, hurries=rules.hurries)
    return after.with_member(step), step


def left(group: ConsumerGroup, beat: Beat) -> ConsumerGroup:
    """A member says goodbye: for good, or, a static one, for a while."""
    member = group.members.get(beat.member_id) if beat.instance is None else group.static(beat.instance)
    if member is None:
        raise KafkaError(ErrorCode.unknown_member_id)
    if beat.instance is not None and member.id != beat.member_id:
        raise KafkaError(ErrorCode.fenced_instance_id)
    if beat.epoch != LEFT_FOR_A_WHILE:
        return group.without(member.id)
    # What it was told to give up it gives up by going.
    return group.with_member(msgspec.structs.replace(member, epoch=LEFT_FOR_A_WHILE, revoking=()))


def check_epoch(member: ConsumerMember, epoch: int, owned: Collection[Partition] | None) -> None:
    """A member one epoch behind is heard where it holds nothing but what it was given: the answer with its new epoch may
    have been lost."""
    if epoch == member.epoch:
        return
    knows = owned is not None and all(p in member.assigned for p in owned)
    if epoch > member.epoch or epoch != member.previous_epoch or not knows:
        raise KafkaError(ErrorCode.fenced_member_epoch)


def _admitted(group: ConsumerGroup, beat: Beat, rules: Rules) -> tuple[ConsumerGroup, ConsumerMember]:
    """The sender as the group knows it, made where it joins."""
    joins = beat.epoch == JOINS
    if beat.instance is not None:
        holder = group.static(beat.instance)
        if joins and holder is not None:
            return _taken_up(group, holder, beat)
        if not joins:
            if holder is None:
                raise KafkaError(ErrorCode.unknown_member_id)
            if holder.id != beat.member_id:
                raise KafkaError(ErrorCode.fenced_instance_id)
            check_epoch(holder, beat.epoch, beat.owned)
            return group, holder
    member = group.members.get(beat.member_id)
    if member is not None:
        # Who begins anew under its id says that it holds nothing, and goes on from there.
        if not joins:
            check_epoch(member, beat.epoch, beat.owned)
        return group, member
    if not joins:
        raise KafkaError(ErrorCode.unknown_member_id)
    if len(group.members) >= rules.most_members:
        raise KafkaError(ErrorCode.group_max_size_reached)
    return group, ConsumerMember(beat.member_id)


def _taken_up(
    group: ConsumerGroup, holder: ConsumerMember, beat: Beat
) -> tuple[ConsumerGroup, ConsumerMember]:
    """A static member comes back under a new id: it takes up the place of who left under its name, and nobody else need
    know. Of one that has not left it is not known whether it still lives."""
    if holder.id == beat.member_id and holder.epoch != LEFT_FOR_A_WHILE:
        return group, holder
    if holder.epoch != LEFT_FOR_A_WHILE:
        raise KafkaError(ErrorCode.unreleased_instance_id)
    member = msgspec.structs.replace(holder, id=beat.member_id, epoch=JOINS, previous_epoch=JOINS)
    place = {holder.id: member.id}
    return (
        msgspec.structs.replace(
            group,
            members={place.get(n, n): (member if n == holder.id else m) for n, m in group.members.items()},
            target={place.get(n, n): t for n, t in group.target.items()},
        ),
        member,
    )


def _as_told(member: ConsumerMember, beat: Beat) -> ConsumerMember:
    if beat.regex:
        pattern_of(beat.regex)
    return msgspec.structs.replace(
        member,
        client_id=beat.client_id,
        client_host=beat.client_host,
        instance=member.instance if beat.instance is None else beat.instance,
        rack=member.rack if beat.rack is None else beat.rack,
        rebalance_timeout_ms=_or(beat.rebalance_timeout_ms, member.rebalance_timeout_ms),
        subscribed=member.subscribed if beat.subscribed is None else tuple(sorted(set(beat.subscribed))),
        regex=member.regex if beat.regex is None else (beat.regex or None),
        assignor=member.assignor if beat.assignor is None else beat.assignor,
    )


def _or(value: int | None, known: int) -> int:
    return known if value is None else value


def _subscription(member: ConsumerMember) -> tuple[object, ...]:
    """Whatever of a member calls for another assignment where it changes, or where it is a newcomer's."""
    return member.subscribed, member.regex, member.assignor, member.instance, member.rack


def _chosen(group: ConsumerGroup, rules: Rules) -> str:
    """The assignor that most members ask for."""
    votes: dict[str, int] = {}
    for member in group.members.values():
        if member.assignor is not None:
            votes[member.assignor] = votes.get(member.assignor, 0) + 1
    return max(votes, key=lambda name: votes[name]) if votes else rules.assignors[0]


def check_assignor(name: str | None, rules: Rules) -> None:
    if name is not None and (name not in rules.assignors or name not in ASSIGNORS):
        raise KafkaError(ErrorCode.unsupported_assignor)
