"""ConsumerGroupHeartbeat and ConsumerGroupDescribe: the coordinator of the new protocol's groups (KIP-848).

A group changes in one place (`_change`): decide, append, and only then act on it, one change of a group at a time. So what
a member is told is durable, and the next coordinator goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import CoordinatorLog
from systems.broker.groups import codec
from systems.broker.groups.consumer_protocol.clocks import Clocks, IsOver
from systems.broker.groups.consumer_protocol.describing import described, undescribed
from systems.broker.groups.consumer_protocol.members import Rules, beaten, check_assignor, left
from systems.broker.groups.consumer_protocol.requests import assignment_of, beat_of, check_request
from systems.broker.groups.consumer_protocol.state import JOINS, ConsumerGroup
from systems.broker.groups.shard import Groups, GroupShard
from systems.broker.groups.state import State

CONSUMER_GROUP_HEARTBEAT = 68
CONSUMER_GROUP_DESCRIBE = 69

_HEARTBEAT_MS = 5_000
_SESSION_MS = 45_000
_MOST_MEMBERS = 2_147_483_647

Decide = Callable[[ConsumerGroup], ConsumerGroup]


class ConsumerProtocol:
    def __init__(self, broker: Broker, log: CoordinatorLog[Groups]) -> None:
        self._broker = broker
        self._log = log
        config = broker.env.config
        names = str(config.get("group.consumer.assignors", "uniform,range")).split(",")
        self._rules = Rules(
            assignors=tuple(name.strip() for name in names),
            most_members=int(config.get("group.consumer.max.size", _MOST_MEMBERS)),
            hurries="assign-before-revoke-ack" in broker.env.bugs,
        )
        self._heartbeat_ms = int(config.get("group.consumer.heartbeat.interval.ms", _HEARTBEAT_MS))
        session_ms = int(config.get("group.consumer.session.timeout.ms", _SESSION_MS))
        self._clocks = Clocks(session_ms / 1_000, self._silent)

    def check_free(self, shard: GroupShard, group_id: str) -> None:
        """For a classic member that would join: raises INCONSISTENT_GROUP_PROTOCOL while the group has members of the new
        protocol, and what makes a client ask again while it may get some or is removed."""
        group = shard.state.consumer_groups.get(group_id)
        if group is not None and group.members:
            raise KafkaError(ErrorCode.inconsistent_group_protocol)
        if shard.state.turn(group_id).locked():
            raise KafkaError(ErrorCode.coordinator_load_in_progress)

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            CONSUMER_GROUP_HEARTBEAT: (range(0, 2), self.on_consumer_group_heartbeat),
            CONSUMER_GROUP_DESCRIBE: (range(0, 2), self.on_consumer_group_describe),
        }

    # The log's state machine.

    def loaded(self, shard: GroupShard) -> None:
        """Members get a full session to be heard of."""
        for group in shard.state.consumer_groups.values():
            for member in group.members.values():
                self._clocks.heard(shard, group.id, member)

    def unloaded(self, shard: GroupShard) -> None:
        for group_id in shard.state.consumer_groups:
            self._clocks.stop(group_id)

    # Requests.

    async def on_consumer_group_heartbeat(self, context: RequestContext, request: Any) -> Any:
        try:
            answer = await self._heartbeat(context, request)
        except KafkaError as error:
            answer = {
                "error_code": error.code,
                "error_message": str(error),
                "member_id": None,
                "member_epoch": 0,
                "heartbeat_interval": messages.milliseconds(0),
                "assignment": None,
            }
        return messages.response(context, **answer)

    async def on_consumer_group_describe(self, context: RequestContext, request: Any) -> Any:
        return messages.response(context, groups=[self._describe(name) for name in request.group_ids])

    async def _heartbeat(self, context: RequestContext, request: Any) -> dict[str, Any]:
        check_request(context, request)
        beat = beat_of(context, request, self._broker.env.random)
        check_assignor(beat.assignor, self._rules)
        shard = self._log.shard_of(request.group_id)
        if beat.epoch < JOINS:
            await self._change(shard, request.group_id, lambda group: left(group, beat))
            return self._answer(beat.member_id, beat.epoch, None)
        before, after = await self._change(
            shard,
            request.group_id,
            lambda group: beaten(group, beat, self._broker.image, self._rules)[0],
            makes=beat.epoch == JOINS,
        )
        member = after.members[beat.member_id]
        self._clocks.heard(shard, after.id, member)
        known = before.members.get(member.id)
        told = beat.tells_all or known is None or known.assigned != member.assigned
        return self._answer(member.id, member.epoch, assignment_of(member) if told else None)

    def _answer(self, member_id: str, epoch: int, assignment: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "error_code": ErrorCode.none,
            "error_message": None,
            "member_id": member_id,
            "member_epoch": epoch,
            "heartbeat_interval": messages.milliseconds(self._heartbeat_ms),
            "assignment": assignment,
        }

    # Changes.

    async def _change(
        self, shard: GroupShard, group_id: str, decide: Decide, *, makes: bool = False
    ) -> tuple[ConsumerGroup, ConsumerGroup]:
        """The group before and after, durable. `makes`: where there is none, a new one."""
        async with shard.state.turn(group_id):
            self._log.check_leads(shard)
            before = self._group(shard, group_id, makes=makes)
            after = decide(before)
            if before.members and not after.members:
                now_ms = self._broker.env.wall_clock.time_ns() // 1_000_000
                after = msgspec.structs.replace(after, emptied_ms=now_ms)
            if after != before:
                await self._log.append(shard, [codec.encode_consumer_group(after)])
                shard.state.keep(after)
                self._broker.env.step("group.generation.written")
                for member_id in before.members:
                    if member_id not in after.members:
                        self._clocks.gone(group_id, member_id)
                self._tell(before, after)
            self._log.check_leads(shard)
            return before, after

    def _group(self, shard: GroupShard, group_id: str, *, makes: bool) -> ConsumerGroup:
        """A classic group without members gives way; one that has some does not."""
        group = shard.state.consumer_groups.get(group_id)
        if group is not None:
            return group
        classic = shard.state.groups.get(group_id)
        if classic is not None and (classic.state is not State.EMPTY or classic.promised):
            raise KafkaError(ErrorCode.group_id_not_found, f"{group_id} is not a consumer group")
        if not makes:
            raise KafkaError(ErrorCode.group_id_not_found, f"{group_id} does not exist")
        # At once: what is still to be written of the classic one must not come behind the first record of this one.
        shard.state.groups.pop(group_id, None)
        return ConsumerGroup(group_id)

    def _tell(self, before: ConsumerGroup, after: ConsumerGroup) -> None:
        if after.epoch != before.epoch:
            self._broker.env.emit(
                "group-generation", group=after.id, generation=after.epoch, members=list(after.members)
            )
            self._broker.env.step("group.generation.begun")
        for member in after.members.values():
            known = before.members.get(member.id)
            if known is None or known.assigned != member.assigned:
                self._broker.env.emit(
                    "group-member-reconciled",
                    group=after.id,
                    member=member.id,
                    epoch=member.epoch,
                    assigned=self._shown(member.assigned),
                    revoking=self._shown(member.revoking),
                )

    def _shown(self, partitions: Any) -> list[str]:
        topics = {t.id.hex(): t.name for t in self._broker.image.topics.values()}
        return [f"{topics.get(topic, topic)}/{index}" for topic, index in partitions]

    # Silence.

    def _silent(self, shard: GroupShard, group_id: str, member_id: str, is_over: IsOver) -> None:
        self._log.spawn(shard, self._expel(shard, group_id, member_id, is_over))

    async def _expel(self, shard: GroupShard, group_id: str, member_id: str, is_over: IsOver) -> None:
        """Its session ended, or it did not give up in time what it was told to: what it had is free."""

        def without(group: ConsumerGroup) -> ConsumerGroup:
            member = group.members.get(member_id)
            return group if member is None or not is_over(member) else group.without(member_id)

        try:
            before, after = await self._change(shard, group_id, without)
        except KafkaError:
            group = shard.state.consumer_groups.get(group_id)
            if group is not None and member_id in group.members and not shard.lost:
                # Nothing could be written just now: it has a session more.
                self._clocks.heard(shard, group_id, group.members[member_id])
            raise
        if before is not after:
            self._broker.env.emit("group-member-expired", group=group_id, member=member_id)

    def _describe(self, group_id: str) -> dict[str, Any]:
        try:
            group = self._log.shard_of(group_id).state.consumer_groups.get(group_id)
        except KafkaError as error:
            return undescribed(group_id, error.code)
        if group is None:
            return undescribed(group_id, ErrorCode.group_id_not_found)
        return described(group, self._broker.image)
