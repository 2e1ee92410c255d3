"""Producer ids, taken from blocks that the controller allocates (semantics 2.3: through its committed log)."""

from __future__ import annotations

import asyncio

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, KafkaError

ALLOCATE_PRODUCER_IDS = 67
_TIMEOUT_MS = 3000


class ProducerIds:
    """Hands out ids that no other broker ever hands out."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """Raises COORDINATOR_LOAD_IN_PROGRESS (retriable) while no controller answers, as Kafka does."""
        async with self._lock:
            if self._next == self._end:
                await self._allocate()
            self._next += 1
            return self._next - 1

    async def _allocate(self) -> None:
        request = messages.request(
            ALLOCATE_PRODUCER_IDS, 0, broker_id=self._broker.env.id, broker_epoch=self._broker.epoch
        )
        try:
            response = await self._broker.call_controller(request, timeout_ms=_TIMEOUT_MS)
        except (OSError, TimeoutError) as error:
            raise KafkaError(ErrorCode.coordinator_load_in_progress, f"no controller: {error}") from error
        if response.error_code is not ErrorCode.none:
            raise KafkaError(ErrorCode.coordinator_load_in_progress, response.error_code.name)
        self._next = response.producer_id_start
        self._end = self._next + response.producer_id_len
