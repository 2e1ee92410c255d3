"""What becomes of topics after they were created: DeleteTopics, (Incremental)AlterConfigs and ElectLeaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import (
    NO_LEADER,
    MetadataImage,
    PartitionChange,
    PartitionState,
    RemoveTopic,
    TopicConfigChange,
    TopicState,
)
from systems.broker.topic_config import BROKER_KEYS, check_topic_config

TOPIC: Final = 2
SET, DELETE, APPEND, SUBTRACT = range(4)
PREFERRED: Final = 0
_LISTS: Final = frozenset({"cleanup.policy"})


class TopicChanges:
    def __init__(self, log: MetadataLog) -> None:
        self._log = log

    # ── deletion ─────────────────────────────────────────────────────────────────────────────────────

    async def on_delete_topics(self, context: RequestContext, request: Any) -> Any:
        if context.version >= 6:
            wanted = [(t.name, t.topic_id.bytes if t.topic_id else None) for t in request.topics]
        else:
            wanted = [(name, None) for name in request.topic_names]
        return messages.response(
            context, responses=[await self._delete(name, topic_id) for name, topic_id in wanted]
        )

    async def _delete(self, name: str | None, topic_id: bytes | None) -> dict[str, Any]:
        code, detail, topic = ErrorCode.none, None, None
        try:
            self._log.require_active()
            topic = _find(self._log.pending, name, topic_id)
            await self._log.committed(self._log.append([RemoveTopic(topic.name)]))
        except KafkaError as error:
            code, detail = error.code, str(error)
        found = topic.id if topic is not None else topic_id
        return {
            "name": topic.name if topic is not None else name,
            "topic_id": messages.topic_id(found),
            "error_code": code,
            "error_message": detail,
        }

    # ── configuration ────────────────────────────────────────────────────────────────────────────────

    async def on_incremental_alter_configs(self, context: RequestContext, request: Any) -> Any:
        return await self._alter(context, request, _stepwise)

    async def on_alter_configs(self, context: RequestContext, request: Any) -> Any:
        """What is not named goes back to its default."""
        return await self._alter(context, request, _whole)

    async def _alter(self, context: RequestContext, request: Any, changed: Any) -> Any:
        answers = []
        for resource in request.resources:
            code, detail = ErrorCode.none, None
            try:
                await self._configure(resource, changed, validate_only=request.validate_only)
            except KafkaError as error:
                code, detail = error.code, str(error)
            answers.append(
                {
                    "error_code": code,
                    "error_message": detail,
                    "resource_type": resource.resource_type,
                    "resource_name": resource.resource_name,
                }
            )
        return messages.response(context, responses=answers)

    async def _configure(self, resource: Any, changed: Any, *, validate_only: bool) -> None:
        self._log.require_active()
        if resource.resource_type != TOPIC:
            raise KafkaError(
                ErrorCode.invalid_request, "the settings of brokers are those of the run: --set KEY=VALUE"
            )
        topic = _find(self._log.pending, resource.resource_name, None)
        if len({change.name for change in resource.configs}) < len(resource.configs):
            raise KafkaError(ErrorCode.invalid_request, "a key twice")
        config = changed(topic.config, resource.configs, self._log.env.config)
        check_topic_config({key: str(value) for key, value in config.items()})
        if not validate_only:
            await self._log.committed(self._log.append([TopicConfigChange(topic.name, config)]))

    # ── elections ────────────────────────────────────────────────────────────────────────────────────

    async def on_elect_leaders(self, context: RequestContext, request: Any) -> Any:
        preferred = getattr(request, "election_type", PREFERRED) == PREFERRED
        everywhere = request.topic_partitions is None
        results: dict[str, list[dict[str, Any]]] = {}
        code = ErrorCode.none
        try:
            self._log.require_active()
            for name, index in _partitions(self._log.pending, request.topic_partitions):
                part, detail = ErrorCode.none, None
                try:
                    await self._elect(name, index, preferred=preferred)
                except KafkaError as error:
                    if error.code is ErrorCode.not_controller:
                        raise
                    if everywhere and error.code is ErrorCode.election_not_needed:
                        continue
                    part, detail = error.code, str(error)
                results.setdefault(name, []).append(
                    {"partition_id": index, "error_code": part, "error_message": detail}
                )
        except KafkaError as error:
            code = error.code
        return messages.response(
            context,
            error_code=code,
            replica_election_results=[
                {"topic": name, "partition_result": parts} for name, parts in results.items()
            ],
        )

    async def _elect(self, name: str, index: int, *, preferred: bool) -> None:
        image = self._log.pending
        state = image.partition(name, index)
        if state is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"{name}/{index}")
        elected = _preferred(image, state) if preferred else _any_replica(image, state)
        reason = "preferred" if preferred else "unclean-elected"
        await self._log.committed(self._log.append([PartitionChange(name, index, elected, reason)]))


def _find(image: MetadataImage, name: str | None, topic_id: bytes | None) -> TopicState:
    if name is not None:
        topic = image.topics.get(name)
        if topic is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"no topic '{name}'")
        return topic
    topic = image.topic_by_id(topic_id or bytes(16))
    if topic is None:
        raise KafkaError(ErrorCode.unknown_topic_id, "no topic has that id")
    return topic


def _whole(_: Mapping[str, Any], configs: Sequence[Any], __: Mapping[str, Any]) -> dict[str, Any]:
    for change in configs:
        if change.value is None:
            raise KafkaError(ErrorCode.invalid_request, f"{change.name} without a value")
    return {c.name: c.value for c in configs}


def _stepwise(old: Mapping[str, Any], configs: Sequence[Any], broker: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(old)
    for change in configs:
        name, operation = change.name, change.config_operation
        if operation == SET and change.value is not None:
            config[name] = change.value
        elif operation == DELETE:
            config.pop(name, None)
        elif operation in (APPEND, SUBTRACT):
            if name not in _LISTS:
                raise KafkaError(ErrorCode.invalid_config, f"{name} is no list")
            given = config[name] if name in config else broker.get(BROKER_KEYS[name], "")
            have = [word for word in str(given).split(",") if word]
            named = (change.value or "").split(",")
            have = [word for word in have if word not in named] + (named if operation == APPEND else [])
            config[name] = ",".join(have)
        else:
            raise KafkaError(ErrorCode.invalid_request, f"operation {operation} with {name}")
    return config


def _partitions(image: MetadataImage, wanted: Any) -> list[tuple[str, int]]:
    if wanted is not None:
        return [(topic.topic, index) for topic in wanted for index in topic.partitions]
    return [(name, index) for name, topic in image.topics.items() for index in range(len(topic.partitions))]


def _preferred(image: MetadataImage, state: PartitionState) -> PartitionState:
    first = state.replicas[0]
    if state.leader == first:
        raise KafkaError(ErrorCode.election_not_needed, f"broker {first} leads already")
    if first not in state.isr or not image.unfenced(first):
        raise KafkaError(ErrorCode.preferred_leader_not_available, f"broker {first} is not in sync")
    return _led_by(state, first)


def _any_replica(image: MetadataImage, state: PartitionState) -> PartitionState:
    if state.leader != NO_LEADER:
        raise KafkaError(ErrorCode.election_not_needed, f"broker {state.leader} leads already")
    for replica in state.replicas:
        if image.unfenced(replica):
            led = _led_by(state, replica)
            return msgspec.structs.replace(led, isr=(replica,), elr=(), last_known_elr=())
    raise KafkaError(ErrorCode.eligible_leaders_not_available, "no replica is in service")


def _led_by(state: PartitionState, leader: int) -> PartitionState:
    return msgspec.structs.replace(
        state,
        leader=leader,
        leader_epoch=state.leader_epoch + 1,
        partition_epoch=state.partition_epoch + 1,
    )
