"""The coordinators' own topics, created when the first client looks for a coordinator."""

from __future__ import annotations

import asyncio

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, KafkaError
from systems.broker.coordinator_log import OFFSETS, TRANSACTIONS

CREATE_TOPICS = 19
_TIMEOUT_MS = 3000
_PARTITIONS_KEY = {
    TRANSACTIONS: "transaction.state.log.num.partitions",
    OFFSETS: "offsets.topic.num.partitions",
}
_PARTITIONS_DEFAULT = 4


class InternalTopics:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._locks = {TRANSACTIONS: asyncio.Lock(), OFFSETS: asyncio.Lock()}

    async def ensure(self, topic: str) -> None:
        """Returns once the topic is in this broker's metadata. Raises COORDINATOR_NOT_AVAILABLE
        (retriable) while it is not."""
        if topic in self._broker.image.topics:
            return
        async with self._locks[topic]:
            if topic not in self._broker.image.topics:
                await self._create(topic)
        if topic not in self._broker.image.topics:
            raise KafkaError(ErrorCode.coordinator_not_available, f"{topic} is being created")

    async def _create(self, topic: str) -> None:
        config = self._broker.env.config
        request = messages.request(
            CREATE_TOPICS,
            7,
            topics=[
                {
                    "name": topic,
                    "num_partitions": int(config.get(_PARTITIONS_KEY[topic], _PARTITIONS_DEFAULT)),
                    "replication_factor": int(config.get("replication.factor", 3)),
                    "assignments": (),
                    # What coordinators know is in the log alone, and of each key the newest says all.
                    "configs": [{"name": "cleanup.policy", "value": "compact"}],
                }
            ],
            timeout=messages.milliseconds(_TIMEOUT_MS),
        )
        try:
            await self._broker.call_controller(request, timeout_ms=_TIMEOUT_MS)
        except (OSError, TimeoutError) as error:
            raise KafkaError(ErrorCode.coordinator_not_available, f"no controller: {error}") from error
