"""Metadata: who is there and who leads what, as this broker knows it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS
from systems.broker.metadata import MetadataImage, PartitionState, TopicState
from systems.broker.requests.admin import create_topic

METADATA = 3
CLUSTER_ID = "chaos"
INTERNAL = frozenset({OFFSETS, TRANSACTIONS})
NO_AUTHORIZED_OPERATIONS = -2147483648


class Metadata:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._auto_create = bool(broker.env.config.get("auto.create.topics.enable", False))

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            METADATA: (range(0, 14), self.on_metadata),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_metadata(self, context: RequestContext, request: Any) -> Any:
        topics = await self._topics(context, request)
        image = self._broker.image
        return messages.response(
            context,
            error_code=ErrorCode.none,
            brokers=self._brokers(image),
            cluster_id=CLUSTER_ID,
            controller_id=self._some_broker(image),
            topics=topics,
            cluster_authorized_operations=NO_AUTHORIZED_OPERATIONS,
        )

    def _brokers(self, image: MetadataImage) -> list[dict[str, Any]]:
        """Only brokers in service."""
        return [
            {"node_id": b.id, "host": b.host, "port": b.port, "rack": None}
            for b in sorted(image.brokers.values(), key=lambda b: b.id)
            if not b.fenced
        ]

    def _some_broker(self, image: MetadataImage) -> int:
        """As in KRaft, clients are sent to a broker for what the controller does; it forwards."""
        me = self._broker.env.id
        if image.unfenced(me):
            return me
        return min((b.id for b in image.brokers.values() if not b.fenced), default=-1)

    async def _topics(self, context: RequestContext, request: Any) -> list[dict[str, Any]]:
        wanted = request.topics
        everything = wanted is None or (context.version == 0 and not wanted)
        if everything:
            return [topic_described(self._broker.image, t) for t in self._broker.image.topics.values()]
        found = []
        for topic in wanted:
            name = topic.name
            topic_id = getattr(topic, "topic_id", None)
            if name is None and topic_id is not None:
                state = self._broker.image.topic_by_id(topic_id.bytes)
                found.append(
                    topic_described(self._broker.image, state)
                    if state is not None
                    else topic_unknown(None, topic_id, ErrorCode.unknown_topic_id)
                )
                continue
            state = self._broker.image.topics.get(name)
            if state is None and self._auto_create and getattr(request, "allow_auto_topic_creation", True):
                await create_topic(self._broker, name)
                state = self._broker.image.topics.get(name)
            if state is not None:
                found.append(topic_described(self._broker.image, state))
            else:
                found.append(topic_unknown(name or "", None, ErrorCode.unknown_topic_or_partition))
        return found


def topic_described(image: MetadataImage, topic: TopicState) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.none,
        "name": topic.name,
        "topic_id": uuid.UUID(bytes=topic.id),
        "is_internal": topic.name in INTERNAL,
        "partitions": [partition_described(image, i, state) for i, state in enumerate(topic.partitions)],
        "topic_authorized_operations": NO_AUTHORIZED_OPERATIONS,
    }


def partition_described(image: MetadataImage, index: int, state: PartitionState) -> dict[str, Any]:
    code = ErrorCode.none if state.leader >= 0 else ErrorCode.leader_not_available
    return {
        "error_code": code,
        "partition_index": index,
        "leader_id": state.leader,
        "leader_epoch": state.leader_epoch,
        "replica_nodes": state.replicas,
        "isr_nodes": state.isr,
        "offline_replicas": [r for r in state.replicas if not image.unfenced(r)],
    }


def topic_unknown(name: str | None, topic_id: uuid.UUID | None, code: ErrorCode) -> dict[str, Any]:
    return {
        "error_code": code,
        "name": name,
        "topic_id": topic_id,
        "is_internal": False,
        "partitions": (),
        "topic_authorized_operations": NO_AUTHORIZED_OPERATIONS,
    }
