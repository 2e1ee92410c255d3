"""What groups forget: offsets that expire, groups and offsets that somebody deletes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import CoordinatorLog
from systems.broker.groups import codec
from systems.broker.groups.consumer_protocol.state import ConsumerGroup
from systems.broker.groups.expiry import MS_PER_MINUTE, expired, is_subscribed
from systems.broker.groups.offsets import TopicPartition
from systems.broker.groups.shard import Groups, GroupShard
from systems.broker.groups.state import Group, State

DELETE_GROUPS = 42
OFFSET_DELETE = 47

_RETENTION_MINUTES = 10_080.0
_CHECK_MS = 600_000


class Deletion:
    def __init__(self, broker: Broker, log: CoordinatorLog[Groups]) -> None:
        self._broker = broker
        self._log = log
        config = broker.env.config
        minutes = float(config.get("offsets.retention.minutes", _RETENTION_MINUTES))
        self._retention_ms = minutes * MS_PER_MINUTE
        self._check_s = int(config.get("offsets.retention.check.interval.ms", _CHECK_MS)) / 1000
        self._task: asyncio.Task[None] | None = None

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            DELETE_GROUPS: (range(0, 3), self.on_delete_groups),
            OFFSET_DELETE: (range(0, 1), self.on_offset_delete),
        }

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._expire_for_ever())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def on_delete_groups(self, context: RequestContext, request: Any) -> Any:
        results = [
            {"group_id": group_id, "error_code": await self._delete_group(group_id)}
            for group_id in request.groups_names
        ]
        return messages.response(context, results=results)

    async def on_offset_delete(self, context: RequestContext, request: Any) -> Any:
        try:
            shard = self._log.shard_of(request.group_id)
            codes = await self._delete_offsets(shard, request)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, topics=())
        topics = [
            {
                "name": topic.name,
                "partitions": [
                    {"partition_index": p.partition_index, "error_code": codes[topic.name, p.partition_index]}
                    for p in topic.partitions
                ],
            }
            for topic in request.topics
        ]
        return messages.response(context, error_code=ErrorCode.none, topics=topics)

    async def _delete_group(self, group_id: str) -> ErrorCode:
        """Only without members: whoever is one would commit into nothing."""
        try:
            shard = self._log.shard_of(group_id)
            group = _group(shard, group_id)
            if not _exists(shard, group_id):
                return ErrorCode.group_id_not_found
            if group is not None and group.state != State.EMPTY:
                return ErrorCode.non_empty_group
            await self._forget(shard, group_id, sorted(shard.state.offsets.committed.get(group_id, {})))
            await self._remove_if_unused(shard, group_id)
        except KafkaError as error:
            return error.code
        return ErrorCode.none

    async def _delete_offsets(self, shard: GroupShard, request: Any) -> dict[TopicPartition, ErrorCode]:
        group = _group(shard, request.group_id)
        if not _exists(shard, request.group_id):
            raise KafkaError(ErrorCode.group_id_not_found)
        lives = group is not None and group.state != State.EMPTY
        if isinstance(group, Group) and lives and group.protocol_type != "consumer":
            raise KafkaError(ErrorCode.non_empty_group)
        codes: dict[TopicPartition, ErrorCode] = {}
        for topic in request.topics:
            for partition in topic.partitions:
                place = topic.name, partition.partition_index
                if self._broker.image.partition(*place) is None:
                    codes[place] = ErrorCode.unknown_topic_or_partition
                elif group is not None and lives and is_subscribed(group, topic.name):
                    codes[place] = ErrorCode.group_subscribed_to_topic
                else:
                    codes[place] = ErrorCode.none
        wanted = [place for place, code in sorted(codes.items()) if code is ErrorCode.none]
        known = shard.state.offsets.committed.get(request.group_id, {})
        await self._forget(shard, request.group_id, [place for place in wanted if place in known])
        return codes

    async def _expire_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._check_s)
            for shard in self._log.shards():
                state = shard.state
                for group_id in sorted({*state.groups, *state.consumer_groups, *state.offsets.committed}):
                    try:
                        await self._expire(shard, group_id)
                    except KafkaError:
                        break  # no longer the coordinator, or not at the moment: whoever is does it

    async def _expire(self, shard: GroupShard, group_id: str) -> None:
        now_ms = self._broker.env.wall_clock.time_ns() // 1_000_000
        partitions = expired(
            shard.state,
            group_id,
            now_ms,
            self._retention_ms,
            also_in_use="offsets-expired-early" in self._broker.env.bugs,
        )
        if not partitions:
            return
        self._log.check_leads(shard)
        await self._forget(shard, group_id, partitions)
        self._broker.env.emit(
            "group-offsets-expired", group=group_id, partitions=[f"{t}/{p}" for t, p in partitions]
        )
        await self._remove_if_unused(shard, group_id)

    async def _forget(self, shard: GroupShard, group_id: str, partitions: Sequence[TopicPartition]) -> None:
        if not partitions:
            return
        appended = await self._log.append(
            shard, [(codec.encode(codec.OffsetKey(group_id, *partition)), None) for partition in partitions]
        )
        for position, partition in enumerate(partitions, appended.base_offset):
            shard.state.offsets.forget(group_id, partition, position)

    async def _remove_if_unused(self, shard: GroupShard, group_id: str) -> None:
        if group_id in shard.state.groups:
            await self._remove(shard, group_id)
            return
        async with shard.state.turn(group_id):
            await self._remove(shard, group_id)

    async def _remove(self, shard: GroupShard, group_id: str) -> None:
        group = _group(shard, group_id)
        if group is None or group.state != State.EMPTY or shard.state.offsets.knows(group_id):
            return
        if isinstance(group, Group) and group.promised:
            return
        # From here on nobody finds it: who joins meanwhile begins another one, whose record comes later.
        shard.state.forget(group_id)
        await self._log.append(shard, [(codec.encode(codec.GroupKey(group_id)), None)])


def _group(shard: GroupShard, group_id: str) -> Group | ConsumerGroup | None:
    """Of either protocol."""
    return shard.state.groups.get(group_id) or shard.state.consumer_groups.get(group_id)


def _exists(shard: GroupShard, group_id: str) -> bool:
    return _group(shard, group_id) is not None or shard.state.offsets.knows(group_id)
