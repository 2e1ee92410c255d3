"""CreateTopics and CreatePartitions: new partitions, spread over the brokers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import (
    MetadataImage,
    PartitionChange,
    PartitionState,
    Record,
    Topic,
    TopicState,
)
from systems.broker.topic_config import check_topic_config, is_legal_topic_name

_BY_DEFAULT = -1


class Topics:
    def __init__(self, log: MetadataLog) -> None:
        self._log = log

    async def on_create_topics(self, context: RequestContext, request: Any) -> Any:
        results = await asyncio.gather(*(self._create(t, request.validate_only) for t in request.topics))
        return messages.response(context, topics=results)

    async def _create(self, wanted: Any, validate_only: bool) -> dict[str, Any]:
        try:
            topic = await self._committed_topic(wanted, validate_only)
        except KafkaError as error:
            return _result(wanted.name, error, None)
        return _result(wanted.name, None, topic)

    async def _committed_topic(self, wanted: Any, validate_only: bool) -> TopicState:
        self._log.require_active()
        image = self._log.pending
        if wanted.name in image.topics:
            await self._existing_is_committed(wanted.name)
            raise KafkaError(ErrorCode.topic_already_exists, f"topic '{wanted.name}' already exists")
        if not is_legal_topic_name(wanted.name):
            raise KafkaError(ErrorCode.invalid_topic_exception, f"illegal topic name '{wanted.name}'")
        partitions = self._partitions(image, wanted)
        config = {c.name: c.value for c in wanted.configs if c.value is not None}
        check_topic_config(config)
        topic_id = self._log.env.random.randbytes(16)
        if not validate_only:
            records: list[Record] = [Topic(wanted.name, topic_id, config)]
            records += _created(wanted.name, 0, partitions)
            await self._log.committed(self._log.append(records))
        return TopicState(wanted.name, topic_id, tuple(partitions), config)

    def _partitions(self, image: MetadataImage, wanted: Any) -> list[PartitionState]:
        config = self._log.env.config
        if wanted.assignments:
            chosen = sorted(wanted.assignments, key=lambda a: int(a.partition_index))
            return _placed(image, [tuple(int(b) for b in a.broker_ids) for a in chosen])
        count, factor = int(wanted.num_partitions), int(wanted.replication_factor)
        if count == _BY_DEFAULT:
            count = int(config.get("num.partitions", 1))
        if factor == _BY_DEFAULT:
            factor = int(config.get("replication.factor", 3))
        if count <= 0:
            raise KafkaError(ErrorCode.invalid_partitions, f"{count} partitions")
        already = sum(len(t.partitions) for t in image.topics.values())
        return _placed(image, place(_broker_ids(image), count, factor, already))

    async def _existing_is_committed(self, name: str) -> None:
        """Nothing may be said of a topic that only exists in what this controller has appended."""
        if name not in self._log.image.topics:
            raise KafkaError(ErrorCode.not_controller, f"the creation of '{name}' is not committed yet")

    async def on_create_partitions(self, context: RequestContext, request: Any) -> Any:
        results = await asyncio.gather(*(self._grow(t, request.validate_only) for t in request.topics))
        return messages.response(context, results=results)

    async def _grow(self, wanted: Any, validate_only: bool) -> dict[str, Any]:
        error = None
        try:
            await self._committed_growth(wanted, validate_only)
        except KafkaError as raised:
            error = raised
        return {
            "name": wanted.name,
            "error_code": ErrorCode.none if error is None else error.code,
            "error_message": None if error is None else str(error),
        }

    async def _committed_growth(self, wanted: Any, validate_only: bool) -> None:
        self._log.require_active()
        image = self._log.pending
        topic = image.topics.get(wanted.name)
        if topic is None:
            raise KafkaError(ErrorCode.unknown_topic_or_partition, f"no topic '{wanted.name}'")
        have, more = len(topic.partitions), wanted.count - len(topic.partitions)
        if more <= 0:
            raise KafkaError(ErrorCode.invalid_partitions, f"'{wanted.name}' has {have} partitions already")
        if wanted.assignments:
            replicas = [tuple(int(b) for b in a.broker_ids) for a in wanted.assignments]
            if len(replicas) != more:
                raise KafkaError(ErrorCode.invalid_replica_assignment, f"{more} assignments are needed")
            factor = len(topic.partitions[0].replicas)
            if any(len(each) != factor for each in replicas):
                raise KafkaError(
                    ErrorCode.invalid_replica_assignment, f"'{wanted.name}' has {factor} replicas"
                )
        else:
            already = sum(len(t.partitions) for t in image.topics.values())
            replicas = place(_broker_ids(image), more, len(topic.partitions[0].replicas), already)
        partitions = _placed(image, replicas)
        if not validate_only:
            await self._log.committed(self._log.append(_created(wanted.name, have, partitions)))


def place(brokers: Sequence[int], count: int, factor: int, already: int) -> list[tuple[int, ...]]:
    """Replicas of `count` new partitions, first replicas round-robin from the `already`-th on, so that
    leaders are balanced; each further round shifts the followers, so that a dead leader's partitions
    spread too. Raises `INVALID_REPLICATION_FACTOR`."""
    size = len(brokers)
    if not 0 < factor <= size:
        raise KafkaError(
            ErrorCode.invalid_replication_factor, f"replication factor {factor} with {size} brokers"
        )
    placed = []
    for number in range(already, already + count):
        first, shift = number % size, number // size
        followers = [(first + 1 + (shift + k) % (size - 1)) % size for k in range(factor - 1)]
        placed.append(tuple(brokers[i] for i in (first, *followers)))
    return placed


def _placed(image: MetadataImage, replicas: Sequence[tuple[int, ...]]) -> list[PartitionState]:
    """New partitions: the replicas in service are the ISR, the first of them leads."""
    return [_new_partition(image, each) for each in replicas]


def _new_partition(image: MetadataImage, replicas: tuple[int, ...]) -> PartitionState:
    if not replicas or len(dict.fromkeys(replicas)) < len(replicas):
        raise KafkaError(ErrorCode.invalid_replica_assignment, f"replicas {list(replicas)}")
    if any(b not in image.brokers for b in replicas):
        raise KafkaError(ErrorCode.invalid_replica_assignment, f"unknown broker among {list(replicas)}")
    isr = tuple(b for b in replicas if image.unfenced(b))
    if not isr:
        raise KafkaError(ErrorCode.invalid_replication_factor, f"brokers {list(replicas)} are all fenced")
    return PartitionState(replicas, leader=isr[0], leader_epoch=0, partition_epoch=0, isr=isr)


def _created(topic: str, first: int, partitions: Sequence[PartitionState]) -> list[Record]:
    return [PartitionChange(topic, first + i, state, "created") for i, state in enumerate(partitions)]


def _broker_ids(image: MetadataImage) -> list[int]:
    return sorted(image.brokers)


def _result(name: str, error: KafkaError | None, topic: TopicState | None) -> dict[str, Any]:
    return {
        "name": name,
        "topic_id": uuid.UUID(int=0) if topic is None else uuid.UUID(bytes=topic.id),
        "error_code": ErrorCode.none if error is None else error.code,
        "error_message": None if error is None else str(error),
        "topic_config_error_code": 0,
        "num_partitions": -1 if topic is None else len(topic.partitions),
        "replication_factor": -1 if topic is None else len(topic.partitions[0].replicas),
        "configs": [],
    }
