"""AllocateProducerIds: blocks of producer ids that are never handed out twice (semantics 2.3)."""

from __future__ import annotations

from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import ProducerIds as ProducerIdsRecord

BLOCK: Final = 1000


class ProducerIds:
    def __init__(self, log: MetadataLog) -> None:
        self._log = log

    async def on_allocate_producer_ids(self, context: RequestContext, request: Any) -> Any:
        try:
            start = await self._allocate(request)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, producer_id_start=0, producer_id_len=0)
        return messages.response(
            context, error_code=ErrorCode.none, producer_id_start=start, producer_id_len=BLOCK
        )

    async def _allocate(self, request: Any) -> int:
        """The first id of a block that is this broker's, once that is committed."""
        self._log.require_active()
        broker = self._log.pending.brokers.get(request.broker_id)
        if broker is None or broker.epoch != request.broker_epoch:
            raise KafkaError(ErrorCode.stale_broker_epoch, f"broker {request.broker_id}")
        start = self._log.pending.next_producer_id
        await self._log.committed(self._log.append([ProducerIdsRecord(start + BLOCK)]))
        return start
