"""A consumer group's state machine (semantics 2.5, classic protocol): data and decisions, no waiting.

Empty ──join──► PreparingRebalance ──all joined or timeout──► CompletingRebalance ──leader syncs──► Stable
  ▲                     ▲  │                                        │                                │
  └──no member is left──┼──┘                                        │                                │
                        └─────────── join, leave, session timeout ──┴────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker.context import KafkaError


class State(enum.StrEnum):
    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.EMPTY: frozenset({State.PREPARING, State.DEAD}),
        State.PREPARING: frozenset({State.COMPLETING, State.EMPTY, State.DEAD}),
        State.COMPLETING: frozenset({State.STABLE, State.PREPARING, State.DEAD}),
        State.STABLE: frozenset({State.PREPARING, State.DEAD}),
        State.DEAD: frozenset(),
    }
)


class Member:
    """A consumer as its coordinator knows it. `joining` and `syncing` are its parked requests."""

    def __init__(
        self,
        member_id: str,
        *,
        client_id: str,
        client_host: str,
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
        protocols: Sequence[tuple[str, bytes]],
        instance: str | None = None,
    ) -> None:
        self.id = member_id
        self.instance = instance
        """Of a static member (KIP-345): its name, which outlives its ids."""
        self.client_id = client_id
        self.client_host = client_host
        self.session_timeout_ms = session_timeout_ms
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.protocols = tuple(protocols)
        self.assignment = b""
        self.joining: asyncio.Future[dict[str, Any]] | None = None
        self.syncing: asyncio.Future[bytes] | None = None
        self.session: asyncio.TimerHandle | None = None
        self.silent_after = 0.0
        self.behind = False
        """Of a generation before the group's, and taken for a member all the same: only by mistake."""

    def metadata(self, protocol: str) -> bytes:
        return dict(self.protocols).get(protocol, b"")


class Group:
    """One group: its members in order of joining, and its generation. Owned by the coordinator."""

    def __init__(self, group_id: str) -> None:
        self.id = group_id
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.promised: dict[str, asyncio.TimerHandle] = {}
        """Member ids that were handed out and have not joined yet."""
        self.rebalance: asyncio.TimerHandle | None = None
        self.waits_for_more = False
        self.emptied_ms = 0
        """When its last member left, by its coordinator's clock."""

    def static(self, instance: str) -> Member | None:
        """The static member of that name."""
        return next((m for m in self.members.values() if m.instance == instance), None)

    def move(self, to: State) -> None:
        if to is self.state:
            return
        if to not in TRANSITIONS[self.state]:
            raise AssertionError(f"group {self.id}: no transition {self.state} -> {to}")
        self.state = to

    def check_protocols(self, protocol_type: str, protocols: Sequence[tuple[str, bytes]]) -> None:
        """A newcomer must speak something that everybody here does."""
        offered = [name for name, _ in protocols]
        if not offered or not protocol_type:
            raise KafkaError(ErrorCode.inconsistent_group_protocol)
        if not self.members:
            return
        common = self._common_protocols()
        if protocol_type != self.protocol_type or not any(name in common for name in offered):
            raise KafkaError(ErrorCode.inconsistent_group_protocol)

    def choose_protocol(self) -> str:
        """The protocol that most members rank first among those which all of them speak."""
        common = self._common_protocols()
        votes = dict.fromkeys(common, 0)
        for member in self.members.values():
            votes[next(name for name, _ in member.protocols if name in common)] += 1
        return max(common, key=lambda name: votes[name])

    def _common_protocols(self) -> list[str]:
        members = list(self.members.values())
        return [
            name
            for name, _ in members[0].protocols
            if all(any(name == other for other, _ in m.protocols) for m in members)
        ]

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    @property
    def everybody_joined(self) -> bool:
        return not self.promised and all(m.joining is not None for m in self.members.values())

    @property
    def anybody_joined(self) -> bool:
        return any(m.joining is not None for m in self.members.values())

    def next_generation(self) -> None:
        """The join barrier fell: a new generation with its leader and its protocol."""
        self.generation += 1
        if self.members:
            self.protocol = self.choose_protocol()
            if self.leader not in self.members:
                self.leader = next(iter(self.members))
            self.move(State.COMPLETING)
        else:
            self.protocol = self.leader = None
            self.move(State.EMPTY)


def check_instance(group: Group, member_id: str, instance: str | None) -> None:
    """KIP-345: a static member whose name somebody else carries now is fenced for good."""
    if instance is None:
        return
    holder = group.static(instance)
    if holder is None:
        raise KafkaError(ErrorCode.unknown_member_id)
    if holder.id != member_id:
        raise KafkaError(ErrorCode.fenced_instance_id)


def check_member(group: Group, member_id: str, generation: int, instance: str | None = None) -> Member:
    """2.5: who is not a member of *this* generation is fenced."""
    check_instance(group, member_id, instance)
    member = group.members.get(member_id)
    if member is None:
        raise KafkaError(ErrorCode.unknown_member_id)
    if generation != group.generation and not member.behind:
        raise KafkaError(ErrorCode.illegal_generation)
    return member


def check_commit(group: Group | None, member_id: str, generation: int, instance: str | None = None) -> None:
    """May this consumer commit offsets for the group? Without a generation only while the group has no
    members (manual assignment); otherwise as a member of the current one, also while a rebalance is being
    prepared, so that members can commit what they are about to lose."""
    if generation < 0 and (group is None or group.state is State.EMPTY):
        return
    if group is None:
        raise KafkaError(ErrorCode.illegal_generation)
    check_member(group, member_id, generation, instance)
    if group.state is State.COMPLETING:
        raise KafkaError(ErrorCode.rebalance_in_progress)


def check_transactional_commit(
    group: Group | None, member_id: str, generation: int, instance: str | None = None
) -> None:
    """2.4.7 (KIP-447): a transaction's offsets are fenced like any commit, as far as the client says who
    it is (TxnOffsetCommit v3 and later; v0 to v2 cannot be fenced)."""
    if generation < 0 and not member_id:
        return
    if group is None:
        raise KafkaError(ErrorCode.unknown_member_id if generation < 0 else ErrorCode.illegal_generation)
    check_member(group, member_id, generation, instance)
