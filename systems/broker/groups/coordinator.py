"""The group coordinator (semantics 2.5): leader of the offsets partition that a group id hashes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import OFFSETS, CoordinatorLog, Entry, Marker
from systems.broker.groups import codec
from systems.broker.groups.commits import OffsetCommits
from systems.broker.groups.consumer_protocol.coordinator import ConsumerProtocol
from systems.broker.groups.deletion import Deletion
from systems.broker.groups.membership import Join, MemberIdRequired, Membership
from systems.broker.groups.shard import Groups, GroupShard, replay
from systems.broker.groups.state import Group, State

JOIN_GROUP = 11
HEARTBEAT = 12
LEAVE_GROUP = 13
SYNC_GROUP = 14
DESCRIBE_GROUPS = 15
LIST_GROUPS = 16

_MEMBER_ID_REQUIRED_SINCE = 4
_NOT_FOUND_SINCE = 6
"""From this version of DescribeGroups on a group that nobody knows is an error (KIP-1043)."""
_MIN_SESSION_MS = 100
_MAX_SESSION_MS = 1_800_000
_NO_GENERATION: dict[str, Any] = {
    "generation_id": -1,
    "protocol_type": None,
    "protocol_name": "",
    "leader": "",
    "members": [],
}


class GroupCoordinator:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._log = CoordinatorLog(broker, OFFSETS, kind="groups", machine=self)
        self._membership = Membership(broker.env, self._emptied)
        self._commits = OffsetCommits(broker, self._log)
        self._deletion = Deletion(broker, self._log)
        self._consumer_protocol = ConsumerProtocol(broker, self._log)

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            JOIN_GROUP: (range(0, 10), self.on_join_group),
            HEARTBEAT: (range(0, 5), self.on_heartbeat),
            LEAVE_GROUP: (range(0, 6), self.on_leave_group),
            SYNC_GROUP: (range(0, 6), self.on_sync_group),
            DESCRIBE_GROUPS: (range(0, 7), self.on_describe_groups),
            LIST_GROUPS: (range(0, 6), self.on_list_groups),
            **self._commits.handlers(),
            **self._deletion.handlers(),
            **self._consumer_protocol.handlers(),
        }

    async def start(self) -> None:
        self._log.start()
        self._deletion.start()

    async def stop(self) -> None:
        self._deletion.stop()
        self._log.stop()

    # The log's state machine.

    def empty(self) -> Groups:
        return Groups()

    def replay(self, state: Groups, entry: Entry | Marker) -> None:
        replay(state, entry)

    def loaded(self, shard: GroupShard) -> Sequence[str]:
        for group in shard.state.groups.values():
            self._membership.resume(group)
        self._consumer_protocol.loaded(shard)
        return sorted({*shard.state.groups, *shard.state.offsets.committed})

    def unloaded(self, shard: GroupShard) -> None:
        for group in shard.state.groups.values():
            self._membership.dissolve(group, ErrorCode.not_coordinator)
        self._consumer_protocol.unloaded(shard)

    # Markers of transactions with offsets.

    def check_loaded(self, index: int) -> None:
        """Raises COORDINATOR_LOAD_IN_PROGRESS or NOT_LEADER_OR_FOLLOWER (both retried by the sender)."""
        try:
            self._log.shard(index)
        except KafkaError as error:
            if error.code is ErrorCode.not_coordinator:
                raise KafkaError(ErrorCode.not_leader_or_follower) from error
            raise

    def on_marker(self, index: int, marker_offset: int | None, producer_id: int, commit: bool) -> None:
        """2.4.7: a committed transaction's offsets become the group's. Where the marker stands is known
        only to whoever wrote it; after a request whose answer was lost the log is replayed."""
        try:
            shard = self._log.shard(index)
        except KafkaError:
            return  # being replayed: the marker is in the log
        if marker_offset is None:
            self._log.reload(shard)
            return
        shard.state.offsets.end(producer_id, marker_offset, commit=commit)
        self._broker.env.step("group.offsets.materialised")

    # Requests.

    async def on_join_group(self, context: RequestContext, request: Any) -> Any:
        try:
            answer = await self._join(context, request)
        except MemberIdRequired as required:
            answer = _NO_GENERATION | {"error_code": required.code, "member_id": required.member_id}
        except KafkaError as error:
            answer = _NO_GENERATION | {"error_code": error.code, "member_id": request.member_id}
        if context.version >= 9:
            answer = answer | {"skip_assignment": False}
        return messages.response(context, **answer)

    async def on_sync_group(self, context: RequestContext, request: Any) -> Any:
        try:
            shard, group = self._existing(request.group_id)
            _check_protocol(group, request)
            assignment = await self._membership.sync(
                group,
                request.member_id,
                request.generation_id,
                {a.member_id: a.assignment for a in request.assignments},
                lambda group, assignments: self._persist(shard, group, assignments),
                getattr(request, "group_instance_id", None),
            )
            self._log.check_leads(shard)
        except KafkaError as error:
            loading = error.code is ErrorCode.coordinator_load_in_progress
            # The rebalance under way was lost with the old coordinator: the member joins again.
            code = ErrorCode.rebalance_in_progress if loading else error.code
            return messages.response(
                context, error_code=code, protocol_type=None, protocol_name=None, assignment=b""
            )
        return messages.response(
            context,
            error_code=ErrorCode.none,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            assignment=assignment,
        )

    async def on_heartbeat(self, context: RequestContext, request: Any) -> Any:
        try:
            _, group = self._existing(request.group_id)
            self._membership.heartbeat(
                group,
                request.member_id,
                request.generation_id,
                getattr(request, "group_instance_id", None),
            )
        except KafkaError as error:
            # A loading group says nothing yet of its members: they just go on.
            loading = error.code is ErrorCode.coordinator_load_in_progress
            return messages.response(context, error_code=ErrorCode.none if loading else error.code)
        return messages.response(context, error_code=ErrorCode.none)

    async def on_leave_group(self, context: RequestContext, request: Any) -> Any:
        leaving = (
            [(m.member_id, m.group_instance_id) for m in request.members]
            if context.version >= 3
            else [(request.member_id, None)]
        )
        try:
            shard = self._log.shard_of(request.group_id)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, members=[])
        group = shard.state.groups.get(request.group_id)
        codes = {who: self._leave(group, *who) for who in leaving}
        whole = ErrorCode.none if context.version >= 3 else codes[leaving[0]]
        members = [
            {"member_id": member_id, "group_instance_id": instance, "error_code": code}
            for (member_id, instance), code in codes.items()
        ]
        return messages.response(context, error_code=whole, members=members)

    async def on_describe_groups(self, context: RequestContext, request: Any) -> Any:
        described = [self._describe(context, group_id) for group_id in request.groups]
        return messages.response(context, groups=described)

    async def on_list_groups(self, context: RequestContext, request: Any) -> Any:
        states, types = (
            {wanted.lower() for wanted in getattr(request, name, ())}
            for name in ("states_filter", "types_filter")
        )
        groups = [
            group
            for shard in self._log.shards()
            for group in listed(shard.state)
            if not states or group["group_state"].lower() in states
            if not types or group["group_type"] in types
        ]
        code = ErrorCode.none if self._broker.leased else ErrorCode.coordinator_not_available
        return messages.response(context, error_code=code, groups=groups)

    async def _join(self, context: RequestContext, request: Any) -> dict[str, Any]:
        if not request.group_id:
            raise KafkaError(ErrorCode.invalid_group_id)
        session_ms = messages.in_milliseconds(request.session_timeout)
        config = self._broker.env.config
        low = int(config.get("group.min.session.timeout.ms", _MIN_SESSION_MS))
        high = int(config.get("group.max.session.timeout.ms", _MAX_SESSION_MS))
        if not low <= session_ms <= high:
            raise KafkaError(ErrorCode.invalid_session_timeout)
        rebalance = getattr(request, "rebalance_timeout", None)
        shard = self._log.shard_of(request.group_id)
        self._consumer_protocol.check_free(shard, request.group_id)
        join = Join(
            member_id=request.member_id,
            client_id=context.client_id or "",
            client_host=context.client_host,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms if rebalance is None else messages.in_milliseconds(rebalance),
            protocol_type=request.protocol_type,
            protocols=tuple((p.name, p.metadata) for p in request.protocols),
            must_know_id=context.version >= _MEMBER_ID_REQUIRED_SINCE,
            instance=getattr(request, "group_instance_id", None),
        )
        answer = await self._membership.join(
            shard.state.group(request.group_id),
            join,
            lambda group, assignments: self._persist(shard, group, assignments),
        )
        self._log.check_leads(shard)
        return answer

    def _leave(self, group: Group | None, member_id: str, instance: str | None) -> ErrorCode:
        if group is None:
            return ErrorCode.unknown_member_id
        try:
            self._membership.leave(group, member_id, instance)
        except KafkaError as error:
            return error.code
        return ErrorCode.none

    def _existing(self, group_id: str) -> tuple[GroupShard, Group]:
        shard = self._log.shard_of(group_id)
        group = shard.state.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.unknown_member_id)
        return shard, group

    async def _persist(self, shard: GroupShard, group: Group, assignments: dict[str, bytes]) -> None:
        await self._write(shard, codec.encode_group(group, assignments))

    async def _write(self, shard: GroupShard, record: tuple[bytes, bytes]) -> None:
        await self._log.append(shard, [record])
        self._broker.env.step("group.generation.written")

    def _emptied(self, group: Group) -> None:
        """So that the next coordinator knows since when (KIP-211); where that fails it counts from a later moment."""
        record = codec.encode_group(group, {})
        for shard in self._log.shards():
            if shard.state.groups.get(group.id) is group:
                self._log.spawn(shard, self._write_emptied(shard, group, record))

    async def _write_emptied(self, shard: GroupShard, group: Group, record: tuple[bytes, bytes]) -> None:
        """Unless a group of the new protocol has taken its place already."""
        if shard.state.groups.get(group.id) is group:
            await self._write(shard, record)

    def _describe(self, context: RequestContext, group_id: str) -> dict[str, Any]:
        group, code, state = None, ErrorCode.none, str(State.DEAD)
        try:
            shard = self._log.shard_of(group_id)
            group = shard.state.groups.get(group_id)
            if group is not None:
                state = str(group.state)
            elif _has_offsets_only(shard.state, group_id):
                state = str(State.EMPTY)
            elif context.version >= _NOT_FOUND_SINCE:
                code = ErrorCode.group_id_not_found
        except KafkaError as error:
            code, state = error.code, ""
        members = list(group.members.values()) if group else []
        # Which protocol and with what its members joined is settled once they have been assigned something.
        settled = group is not None and group.state is State.STABLE
        protocol = (group.protocol if group is not None and settled else None) or ""
        return {
            "error_code": code,
            "group_id": group_id,
            "group_state": state,
            "protocol_type": (group.protocol_type if group else None) or "",
            "protocol_data": protocol,
            "members": [
                {
                    "member_id": m.id,
                    "group_instance_id": m.instance,
                    "client_id": m.client_id,
                    "client_host": m.client_host,
                    "member_metadata": m.metadata(protocol) if settled else b"",
                    "member_assignment": m.assignment if settled else b"",
                }
                for m in members
            ],
        }


def listed(state: Groups) -> list[dict[str, str]]:
    """Every group of a shard, as ListGroups tells it."""
    classic = [
        (group.id, group.protocol_type or "", str(group.state), "classic") for group in state.groups.values()
    ]
    consumer = [(group.id, "consumer", group.state, "consumer") for group in state.consumer_groups.values()]
    offsets = [
        (name, "", str(State.EMPTY), "classic")
        for name in sorted(state.offsets.committed)
        if _has_offsets_only(state, name)
    ]
    fields = ("group_id", "protocol_type", "group_state", "group_type")
    return [dict(zip(fields, group, strict=True)) for group in (*classic, *consumer, *offsets)]


def _check_protocol(group: Group, request: Any) -> None:
    """Since version 5 a member says which protocol it thinks it has joined with."""
    said = (getattr(request, "protocol_type", None), getattr(request, "protocol_name", None))
    for given, actual in zip(said, (group.protocol_type, group.protocol), strict=True):
        if given is not None and actual is not None and given != actual:
            raise KafkaError(ErrorCode.inconsistent_group_protocol)


def _has_offsets_only(state: Groups, group_id: str) -> bool:
    """Somebody commits under that name without ever being a member."""
    members = group_id in state.groups or group_id in state.consumer_groups
    return not members and state.offsets.knows(group_id)
