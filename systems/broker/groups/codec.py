"""What a group coordinator writes into `__consumer_offsets`: offsets and generations, as JSON."""

from __future__ import annotations

import msgspec

from systems.broker.groups.consumer_protocol.state import ConsumerGroup
from systems.broker.groups.state import Group, Member, State


class OffsetKey(msgspec.Struct, frozen=True, tag="offset"):
    group: str
    topic: str
    partition: int


class GroupKey(msgspec.Struct, frozen=True, tag="group"):
    group: str


class OffsetValue(msgspec.Struct, frozen=True):
    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    committed_ms: int = 0


class MemberValue(msgspec.Struct, frozen=True):
    id: str
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes
    instance: str | None = None


class GroupValue(msgspec.Struct, frozen=True):
    """A generation, with the assignment of every member."""

    generation: int
    protocol_type: str | None
    protocol: str | None
    leader: str | None
    members: list[MemberValue]
    emptied_ms: int = 0


class _Typed(msgspec.Struct, frozen=True):
    """What every group says of itself; a classic one nothing."""

    type: str = "classic"


_key = msgspec.json.Decoder(OffsetKey | GroupKey)
_offset = msgspec.json.Decoder(OffsetValue)
_group = msgspec.json.Decoder(GroupValue)
_typed = msgspec.json.Decoder(_Typed)
_consumer_group = msgspec.json.Decoder(ConsumerGroup)
encode = msgspec.json.encode
decode_key = _key.decode
decode_offset = _offset.decode


def encode_group(group: Group, assignments: dict[str, bytes]) -> tuple[bytes, bytes]:
    value = GroupValue(
        generation=group.generation,
        protocol_type=group.protocol_type,
        protocol=group.protocol,
        leader=group.leader,
        members=[
            MemberValue(
                id=m.id,
                client_id=m.client_id,
                client_host=m.client_host,
                session_timeout_ms=m.session_timeout_ms,
                rebalance_timeout_ms=m.rebalance_timeout_ms,
                protocols=list(m.protocols),
                assignment=assignments.get(m.id, b""),
                instance=m.instance,
            )
            for m in group.members.values()
        ],
        emptied_ms=group.emptied_ms,
    )
    return encode(GroupKey(group.id)), encode(value)


def decode_group(group_id: str, value: bytes) -> Group:
    """The group as of that generation: stable, or empty without members."""
    stored = _group.decode(value)
    group = Group(group_id)
    group.generation = stored.generation
    group.protocol_type = stored.protocol_type
    group.protocol = stored.protocol
    group.leader = stored.leader
    group.emptied_ms = stored.emptied_ms
    for m in stored.members:
        member = Member(
            m.id,
            client_id=m.client_id,
            client_host=m.client_host,
            session_timeout_ms=m.session_timeout_ms,
            rebalance_timeout_ms=m.rebalance_timeout_ms,
            protocols=m.protocols,
            instance=m.instance,
        )
        member.assignment = m.assignment
        group.members[m.id] = member
    group.state = State.STABLE if group.members else State.EMPTY
    return group


def is_consumer_group(value: bytes) -> bool:
    """Which protocol a group's record is of: both have the same key, so that of a group the newest says all."""
    return _typed.decode(value).type == "consumer"


def encode_consumer_group(group: ConsumerGroup) -> tuple[bytes, bytes]:
    return encode(GroupKey(group.id)), encode(group)


decode_consumer_group = _consumer_group.decode
