"""DescribeCluster and DescribeProducers: what an administrator looks at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.producer_state import ProducerEntry
from systems.broker.replicas import ReplicaManager
from systems.broker.requests.metadata import CLUSTER_ID
from systems.broker.topic_config import is_legal_topic_name

DESCRIBE_CLUSTER: Final = 60
DESCRIBE_PRODUCERS: Final = 61
BROKERS: Final = 1
CONTROLLERS: Final = 2


class Describing:
    def __init__(self, broker: Broker, replicas: ReplicaManager) -> None:
        self._broker = broker
        self._replicas = replicas

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            DESCRIBE_CLUSTER: (range(0, 2), self.on_describe_cluster),
            DESCRIBE_PRODUCERS: (range(0, 1), self.on_describe_producers),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_cluster(self, context: RequestContext, request: Any) -> Any:
        image = self._broker.image
        endpoint = getattr(request, "endpoint_type", BROKERS)
        if endpoint != BROKERS:
            known = endpoint == CONTROLLERS
            return messages.response(
                context,
                error_code=ErrorCode.mismatched_endpoint_type
                if known
                else ErrorCode.unsupported_endpoint_type,
                error_message="this is a broker; controllers are not described",
                cluster_id="",
                brokers=(),
            )
        live = [b for _, b in sorted(image.brokers.items()) if not b.fenced]
        return messages.response(
            context,
            error_code=ErrorCode.none,
            cluster_id=CLUSTER_ID,
            # Clients reach controllers through any broker: as in KRaft, one of them stands for it.
            controller_id=self._broker.env.id,
            brokers=[{"broker_id": b.id, "host": b.host, "port": b.port} for b in live],
        )

    async def on_describe_producers(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context,
            topics=[
                {
                    "name": topic.name,
                    "partitions": [self._producers(topic.name, index) for index in topic.partition_indexes],
                }
                for topic in request.topics
            ],
        )

    def _producers(self, topic: str, index: int) -> dict[str, Any]:
        try:
            if not is_legal_topic_name(topic):
                raise KafkaError(ErrorCode.invalid_topic_exception, f"illegal topic name '{topic}'")
            partition = self._replicas.hosted(topic, index)
        except KafkaError as error:
            return {
                "partition_index": index,
                "error_code": error.code,
                "error_message": str(error),
                "active_producers": (),
            }
        entries = partition.log.producers.entries()
        return {
            "partition_index": index,
            "error_code": ErrorCode.none,
            "active_producers": [_producer(i, entry) for i, entry in sorted(entries.items())],
        }


def _producer(producer_id: int, entry: ProducerEntry) -> dict[str, Any]:
    return {
        "producer_id": producer_id,
        "producer_epoch": entry.epoch,
        "last_sequence": entry.last_sequence,
        "last_timestamp": entry.last_timestamp,
        "coordinator_epoch": entry.coordinator_epoch,
        "current_txn_start_offset": entry.open_since,
    }
