"""DeleteRecords: a log's beginning is moved on because somebody asks for it (KIP-107)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.leader import Leader
from systems.broker.replicas import ReplicaManager

DELETE_RECORDS = 21
HIGH_WATERMARK = -1
_NO_OFFSET = -1


class DeleteRecords:
    """Answers once every replica in service begins there too, so that no successor brings records back."""

    def __init__(self, broker: Broker, replicas: ReplicaManager) -> None:
        self._broker = broker
        self._replicas = replicas

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {DELETE_RECORDS: (range(0, 3), self.on_delete_records)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_delete_records(self, context: RequestContext, request: Any) -> Any:
        timeout_s = messages.in_milliseconds(request.timeout) / 1000
        asked = [(topic.name, part) for topic in request.topics for part in topic.partitions]
        answers = iter(await asyncio.gather(*(self._delete(name, part, timeout_s) for name, part in asked)))
        return messages.response(
            context,
            topics=[
                {"name": topic.name, "partitions": [next(answers) for _ in topic.partitions]}
                for topic in request.topics
            ],
        )

    async def _delete(self, topic: str, part: Any, timeout_s: float) -> dict[str, Any]:
        try:
            leader = self._replicas.leader_of(topic, part.partition_index)
            low = await self._advance(leader, int(part.offset), timeout_s)
        except KafkaError as error:
            return _answer(part, _NO_OFFSET, error.code)
        except TimeoutError:
            return _answer(part, _NO_OFFSET, ErrorCode.request_timed_out)
        return _answer(part, low, ErrorCode.none)

    async def _advance(self, leader: Leader, offset: int, timeout_s: float) -> int:
        high_watermark = leader.high_watermark
        wanted = high_watermark if offset == HIGH_WATERMARK else offset
        if not 0 <= wanted <= high_watermark:
            raise KafkaError(
                ErrorCode.offset_out_of_range, f"{leader.name}: {wanted}, high watermark {high_watermark}"
            )
        leader.partition.advance_log_start(wanted, "request")
        async with asyncio.timeout(timeout_s):
            await leader.low_watermark_at(wanted)
        return leader.low_watermark


def _answer(part: Any, low_watermark: int, code: ErrorCode) -> dict[str, Any]:
    return {"partition_index": part.partition_index, "low_watermark": low_watermark, "error_code": code}
