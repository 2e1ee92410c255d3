"""FindCoordinator: which broker coordinates a group or a transactional id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS, coordinator_partition
from systems.broker.internal_topics import InternalTopics

FIND_COORDINATOR = 10
_TOPICS = {0: OFFSETS, 1: TRANSACTIONS}
_NOBODY: dict[str, Any] = {"node_id": -1, "host": "", "port": -1}


class FindCoordinator:
    """A coordinator is the leader of the internal topic's partition that the key hashes to."""

    def __init__(self, broker: Broker, topics: InternalTopics) -> None:
        self._broker = broker
        self._topics = topics

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {FIND_COORDINATOR: (range(0, 6), self.on_find_coordinator)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_find_coordinator(self, context: RequestContext, request: Any) -> Any:
        key_type = getattr(request, "key_type", 0)
        if context.version >= 4:
            found = [await self._find(key, key_type) for key in request.coordinator_keys]
            return messages.response(context, coordinators=found)
        return messages.response(context, **await self._find(request.key, key_type))

    async def _find(self, key: str, key_type: int) -> dict[str, Any]:
        try:
            where = {"error_code": ErrorCode.none, "error_message": None} | await self._leader(key, key_type)
        except KafkaError as error:
            where = {"error_code": error.code, "error_message": str(error)} | _NOBODY
        return {"key": key} | where

    async def _leader(self, key: str, key_type: int) -> dict[str, Any]:
        topic = _TOPICS.get(key_type)
        if topic is None:
            raise KafkaError(ErrorCode.invalid_request, f"no coordinator of type {key_type} for {key!r}")
        await self._topics.ensure(topic)
        image = self._broker.image
        index = coordinator_partition(key, len(image.topics[topic].partitions))
        leader = image.brokers.get(image.topics[topic].partitions[index].leader)
        if leader is None or leader.fenced:
            raise KafkaError(ErrorCode.coordinator_not_available, f"{topic}/{index} has no leader")
        return {"node_id": leader.id, "host": leader.host, "port": leader.port}
