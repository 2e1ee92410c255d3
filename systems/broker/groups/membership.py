"""Members come and go: join, sync, heartbeat, leave, and what their silence means (semantics 2.5, classic).

Works on the `Group` objects of a loaded coordinator partition. A parked JoinGroup or SyncGroup is a future
of the member; losing the coordinator role fails them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kio.schema.errors import ErrorCode

from harness.node import NodeEnvironment
from systems.broker.context import KafkaError
from systems.broker.groups.state import Group, Member, State, check_instance, check_member

_INITIAL_DELAY_KEY = "group.initial.rebalance.delay.ms"
_INITIAL_DELAY_MS = 100


class Join(NamedTuple):
    """A JoinGroup request, whatever its version."""

    member_id: str
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    must_know_id: bool
    """Since version 4 a newcomer first gets an id and joins with it, so that a lost answer leaves no ghost."""
    instance: str | None = None
    """A static member's name (KIP-345)."""


Persist = Callable[[Group, dict[str, bytes]], Awaitable[None]]


class Membership:
    def __init__(self, env: NodeEnvironment, on_empty: Callable[[Group], None]) -> None:
        """`on_empty` is told of a group whose last member is gone."""
        self._env = env
        self._on_empty = on_empty
        self._hurries = "assign-before-revoke-ack" in env.bugs
        self._initial_delay_s = int(env.config.get(_INITIAL_DELAY_KEY, _INITIAL_DELAY_MS)) / 1000

    # Requests.

    async def join(self, group: Group, request: Join, persist: Persist) -> dict[str, Any]:
        """Parks until the join barrier falls; the fields of the answer."""
        member = group.members.get(request.member_id)
        if request.member_id and request.instance is not None:
            check_instance(group, request.member_id, request.instance)
        if request.member_id and member is None and request.member_id not in group.promised:
            raise KafkaError(ErrorCode.unknown_member_id)
        group.check_protocols(request.protocol_type, request.protocols)
        holder = None if request.instance is None else group.static(request.instance)
        if holder is not None and not request.member_id:
            member = self._replace(group, holder, request)
            if group.state is State.STABLE and holder.protocols == request.protocols:
                return await self._take_up(group, holder, member, persist)
        elif not request.member_id and request.must_know_id and request.instance is None:
            raise MemberIdRequired(self._promise(group, request))
        if member is None:
            member = self._admit(group, request)
        elif not self._rejoins(group, member, request):
            self._touch(group, member)
            return joined(group, member)
        member.protocols = request.protocols
        group.protocol_type = request.protocol_type
        if member.joining is not None and not member.joining.done():
            member.joining.set_exception(KafkaError(ErrorCode.rebalance_in_progress, "asked again"))
        parked: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        member.joining = parked
        if group.state is not State.PREPARING:
            self._prepare(group)
        self._complete_if_all_joined(group)
        return await parked

    async def sync(
        self,
        group: Group,
        member_id: str,
        generation: int,
        assignments: Mapping[str, bytes],
        persist: Persist,
        instance: str | None = None,
    ) -> bytes:
        """The member's assignment: parks until the leader has brought it and it is durable."""
        member = check_member(group, member_id, generation, instance)
        if group.state is State.PREPARING:
            raise KafkaError(ErrorCode.rebalance_in_progress)
        if group.state is State.STABLE:
            self._touch(group, member)
            return member.assignment
        if member.syncing is None or member.syncing.done():
            member.syncing = asyncio.get_running_loop().create_future()
        parked = member.syncing
        if member_id == group.leader:
            await self._assign(group, dict(assignments), persist)
        return await parked

    def heartbeat(self, group: Group, member_id: str, generation: int, instance: str | None = None) -> None:
        member = check_member(group, member_id, generation, instance)
        self._touch(group, member)
        if group.state is State.PREPARING or member.behind:
            raise KafkaError(ErrorCode.rebalance_in_progress)

    def leave(self, group: Group, member_id: str, instance: str | None = None) -> None:
        """A static member can be sent away by its name alone."""
        if instance is not None:
            holder = group.static(instance)
            if holder is not None and not member_id:
                member_id = holder.id
            check_instance(group, member_id, instance)
        promised = group.promised.pop(member_id, None)
        if promised is not None:
            promised.cancel()
            self._complete_if_all_joined(group)
        elif member_id in group.members:
            self._remove(group, group.members[member_id])
        else:
            raise KafkaError(ErrorCode.unknown_member_id)

    # The coordinator's own turns.

    def resume(self, group: Group) -> None:
        """A replayed group: its members get a full session to be heard of."""
        for member in group.members.values():
            self._touch(group, member)

    def dissolve(self, group: Group, code: ErrorCode) -> None:
        """This broker coordinates the group no longer: every parked request fails."""
        timers = [group.rebalance, *group.promised.values(), *(m.session for m in group.members.values())]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        for member in group.members.values():
            for parked in (member.joining, member.syncing):
                _fail(parked, KafkaError(code))
        group.state = State.DEAD

    # Joining.

    def _promise(self, group: Group, request: Join) -> str:
        member_id = self._new_id(request.client_id)
        group.promised[member_id] = asyncio.get_running_loop().call_later(
            request.session_timeout_ms / 1000, self._broke_promise, group, member_id
        )
        return member_id

    def _broke_promise(self, group: Group, member_id: str) -> None:
        group.promised.pop(member_id, None)
        self._complete_if_all_joined(group)

    def _new_id(self, client_id: str) -> str:
        return f"{client_id}-{self._env.random.getrandbits(64):016x}"

    def _admit(self, group: Group, request: Join) -> Member:
        promised = group.promised.pop(request.member_id, None)
        if promised is not None:
            promised.cancel()
        member = Member(
            request.member_id or self._new_id(request.client_id),
            client_id=request.client_id,
            client_host=request.client_host,
            session_timeout_ms=request.session_timeout_ms,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            protocols=request.protocols,
            instance=request.instance,
        )
        group.members[member.id] = member
        self._touch(group, member)
        return member

    # Static members (KIP-345).

    def _replace(self, group: Group, former: Member, request: Join) -> Member:
        """Somebody of the same name takes the place: the former is fenced, what it had is its successor's."""
        leads = group.leader == former.id
        order = list(group.members)
        self._forget(group, former, ErrorCode.fenced_instance_id)
        member = self._admit(group, request)
        member.assignment = former.assignment
        group.members = {m.id: m for m in (member if i == former.id else group.members[i] for i in order)}
        if leads:
            group.leader = member.id
        self._env.emit(
            "group-member-replaced",
            group=group.id,
            member=member.id,
            replaced=former.id,
            instance=request.instance,
        )
        return member

    async def _take_up(
        self, group: Group, former: Member, member: Member, persist: Persist
    ) -> dict[str, Any]:
        """In a stable group nobody else need know. The answer names the former as the leader where that was it: so its
        successor, which must not assign anything, takes itself for a follower and asks for its assignment."""
        generation = group.generation
        await persist(group, {m.id: m.assignment for m in group.members.values()})
        if group.state is not State.STABLE or group.generation != generation:
            raise KafkaError(ErrorCode.rebalance_in_progress)
        answer = joined(group, member)
        if group.leader == member.id:
            answer |= {"leader": former.id, "members": []}
        return answer

    def _rejoins(self, group: Group, member: Member, request: Join) -> bool:
        """Does this request of a known member ask for a new generation, or only for a lost answer?"""
        behind, member.behind = member.behind, False
        if group.state is State.PREPARING or member.protocols != request.protocols:
            return True
        if behind:
            return False
        return group.state is State.STABLE and member.id == group.leader

    def _prepare(self, group: Group) -> None:
        """Everybody must join again. A new group waits a moment for more members."""
        loop = asyncio.get_running_loop()
        newly = group.state is State.EMPTY
        for member in group.members.values():
            member.assignment = b""
            _fail(member.syncing, KafkaError(ErrorCode.rebalance_in_progress))
        group.move(State.PREPARING)
        delay_s = self._initial_delay_s if newly else group.rebalance_timeout_ms / 1000
        group.waits_for_more = newly and delay_s > 0
        group.rebalance = loop.call_later(delay_s, self._barrier_falls, group)

    def _complete_if_all_joined(self, group: Group) -> None:
        if group.state is not State.PREPARING or group.waits_for_more:
            return
        if group.everybody_joined or (self._hurries and group.anybody_joined):
            self._barrier_falls(group)

    def _barrier_falls(self, group: Group) -> None:
        """Who has not joined by now is out; the others are a new generation."""
        if group.rebalance is not None:
            group.rebalance.cancel()
            group.rebalance = None
        group.waits_for_more = False
        for member in list(group.members.values()):
            if member.joining is None and self._hurries and group.anybody_joined:
                member.behind = True
                if group.leader == member.id:
                    group.leader = next(m.id for m in group.members.values() if m.joining is not None)
            elif member.joining is None:
                self._forget(group, member)
        group.next_generation()
        if not group.members:
            group.emptied_ms = self._env.wall_clock.time_ns() // 1_000_000
            self._on_empty(group)
        self._env.emit(
            "group-generation", group=group.id, generation=group.generation, members=list(group.members)
        )
        self._env.step("group.generation.begun")
        for member in group.members.values():
            parked, member.joining = member.joining, None
            self._touch(group, member)
            if parked is not None and not parked.done():
                parked.set_result(joined(group, member))

    # Assigning.

    async def _assign(self, group: Group, assignments: dict[str, bytes], persist: Persist) -> None:
        generation = group.generation
        try:
            await persist(group, assignments)
        except KafkaError as error:
            if group.state is State.COMPLETING and group.generation == generation:
                for member in group.members.values():
                    _fail(member.syncing, error)
                self._prepare(group)
            raise
        if group.state is not State.COMPLETING or group.generation != generation:
            raise KafkaError(ErrorCode.rebalance_in_progress)
        group.move(State.STABLE)
        for member in group.members.values():
            member.assignment = assignments.get(member.id, b"")
            if member.syncing is not None and not member.syncing.done():
                self._touch(group, member)
                member.syncing.set_result(member.assignment)

    # Leaving.

    def _touch(self, group: Group, member: Member) -> None:
        """The member was heard of. One timer a member, which looks again when it fires too early."""
        loop = asyncio.get_running_loop()
        member.silent_after = loop.time() + member.session_timeout_ms / 1000
        if member.session is None:
            member.session = loop.call_at(member.silent_after, self._session_ends, group, member)

    def _session_ends(self, group: Group, member: Member) -> None:
        loop = asyncio.get_running_loop()
        member.session = None
        if group.members.get(member.id) is not member or group.state is State.DEAD:
            return
        if _waits(member.joining) or _waits(member.syncing):
            self._touch(group, member)
        elif member.silent_after > loop.time():
            member.session = loop.call_at(member.silent_after, self._session_ends, group, member)
        else:
            self._env.emit("group-member-expired", group=group.id, member=member.id)
            self._remove(group, member)

    def _remove(self, group: Group, member: Member) -> None:
        self._forget(group, member)
        if group.state in (State.STABLE, State.COMPLETING):
            self._prepare(group)
        self._complete_if_all_joined(group)

    def _forget(self, group: Group, member: Member, why: ErrorCode = ErrorCode.unknown_member_id) -> None:
        del group.members[member.id]
        if member.session is not None:
            member.session.cancel()
            member.session = None
        for parked in (member.joining, member.syncing):
            _fail(parked, KafkaError(why))


class MemberIdRequired(KafkaError):
    """Carries the id with which the newcomer shall join."""

    def __init__(self, member_id: str) -> None:
        super().__init__(ErrorCode.member_id_required)
        self.member_id = member_id


def joined(group: Group, member: Member) -> dict[str, Any]:
    """The fields of a JoinGroup answer: only the leader learns who the members are."""
    members: Sequence[Member] = list(group.members.values()) if member.id == group.leader else ()
    protocol = group.protocol or ""
    return {
        "error_code": ErrorCode.none,
        "generation_id": group.generation,
        "protocol_type": group.protocol_type,
        "protocol_name": protocol,
        "leader": group.leader or "",
        "member_id": member.id,
        "members": [
            {"member_id": m.id, "group_instance_id": m.instance, "metadata": m.metadata(protocol)}
            for m in members
        ],
    }


def _waits(parked: asyncio.Future[Any] | None) -> bool:
    return parked is not None and not parked.done()


def _fail(parked: asyncio.Future[Any] | None, error: KafkaError) -> None:
    if parked is not None and not parked.done():
        parked.set_exception(error)
        # The peer may be gone and nobody waiting: no unhandled error.
        parked.exception()
