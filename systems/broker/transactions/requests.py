"""Requests of transactional producers, and of partition leaders on their behalf, in all their versions."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.transactions.coordinator import TransactionCoordinator
from systems.broker.transactions.state import Partition

INIT_PRODUCER_ID = 22
ADD_PARTITIONS_TO_TXN = 24
ADD_OFFSETS_TO_TXN = 25
END_TXN = 26

# Older clients know no PRODUCER_FENCED: the first version of each request that does (KIP-588).
_FENCED_SINCE = {INIT_PRODUCER_ID: 4, ADD_PARTITIONS_TO_TXN: 2, ADD_OFFSETS_TO_TXN: 2, END_TXN: 2}
_FROM_LEADERS_SINCE = 4
_ABORTABLE_SINCE = 5
_BUMPS_EPOCH_SINCE = 5
"""KIP-890 part 2: by the cluster's finalized `transaction.version` a client chooses the version of its
EndTxn, and the coordinator looks at nothing else, as in Apache Kafka."""


class TransactionRequests:
    def __init__(self, broker: Broker, coordinator: TransactionCoordinator) -> None:
        self._broker = broker
        self._coordinator = coordinator

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            INIT_PRODUCER_ID: (range(0, 6), self.on_init_producer_id),
            ADD_PARTITIONS_TO_TXN: (range(0, 6), self.on_add_partitions_to_txn),
            ADD_OFFSETS_TO_TXN: (range(0, 5), self.on_add_offsets_to_txn),
            END_TXN: (range(0, 6), self.on_end_txn),
        }

    async def start(self) -> None:
        self._coordinator.start()

    async def stop(self) -> None:
        self._coordinator.stop()

    async def on_init_producer_id(self, context: RequestContext, request: Any) -> Any:
        expected_id = getattr(request, "producer_id", -1)
        try:
            producer_id, epoch = await self._coordinator.init_producer_id(
                request.transactional_id,
                timeout_ms=messages.in_milliseconds(request.transaction_timeout),
                expected=(expected_id, request.producer_epoch) if expected_id >= 0 else None,
            )
            return messages.response(
                context, error_code=ErrorCode.none, producer_id=producer_id, producer_epoch=epoch
            )
        except KafkaError as error:
            return messages.response(context, error_code=_for_client(context, error), producer_epoch=-1)

    async def on_add_partitions_to_txn(self, context: RequestContext, request: Any) -> Any:
        if context.version < _FROM_LEADERS_SINCE:
            codes = await self._add(
                context,
                (
                    request.v3_and_below_transactional_id,
                    request.v3_and_below_producer_id,
                    request.v3_and_below_producer_epoch,
                ),
                _partitions(request.v3_and_below_topics),
            )
            return messages.response(context, results_by_topic_v3_and_below=_results(codes))
        results = [
            {
                "transactional_id": wanted.transactional_id,
                "topic_results": _results(await self._answer_leader(context, wanted)),
            }
            for wanted in request.transactions
        ]
        return messages.response(context, error_code=ErrorCode.none, results_by_transaction=results)

    async def on_add_offsets_to_txn(self, context: RequestContext, request: Any) -> Any:
        adding = self._coordinator.add_offsets(
            request.transactional_id, request.producer_id, request.producer_epoch, request.group_id
        )
        return messages.response(context, error_code=await _outcome(context, adding))

    async def on_end_txn(self, context: RequestContext, request: Any) -> Any:
        try:
            producer_id, epoch = await self._coordinator.end(
                request.transactional_id,
                request.producer_id,
                request.producer_epoch,
                commit=request.committed,
                bump_epoch=context.version >= _BUMPS_EPOCH_SINCE,
            )
            return messages.response(
                context, error_code=ErrorCode.none, producer_id=producer_id, producer_epoch=epoch
            )
        except KafkaError as error:
            return messages.response(context, error_code=_for_client(context, error))

    async def _answer_leader(self, context: RequestContext, wanted: Any) -> dict[Partition, ErrorCode]:
        """KIP-890: a partition's leader asks before a transaction's first append there; from a client of
        transaction version 2 the question adds the partition."""
        partitions = _partitions(wanted.topics)
        who = (wanted.transactional_id, wanted.producer_id, wanted.producer_epoch)
        if not wanted.verify_only:
            return await self._add(context, who, partitions)
        codes = dict.fromkeys(partitions, ErrorCode.none)
        for partition in partitions:
            try:
                self._coordinator.verify(*who, partition)
            except KafkaError as error:
                codes[partition] = _for_client(context, error)
        return codes

    async def _add(
        self, context: RequestContext, who: tuple[str, int, int], partitions: Sequence[Partition]
    ) -> dict[Partition, ErrorCode]:
        """All or none: a partition that does not exist keeps the others out too."""
        unknown = [p for p in partitions if self._broker.image.partition(*p) is None]
        if unknown:
            codes = dict.fromkeys(partitions, ErrorCode.operation_not_attempted)
            return codes | dict.fromkeys(unknown, ErrorCode.unknown_topic_or_partition)
        adding = self._coordinator.add_partitions(*who, partitions)
        return dict.fromkeys(partitions, await _outcome(context, adding))


async def _outcome(context: RequestContext, work: Awaitable[None]) -> ErrorCode:
    try:
        await work
    except KafkaError as error:
        return _for_client(context, error)
    return ErrorCode.none


def _for_client(context: RequestContext, error: KafkaError) -> ErrorCode:
    """The error as a client of that version knows it."""
    if error.code is ErrorCode.producer_fenced and context.version < _FENCED_SINCE.get(context.api_key, 0):
        return ErrorCode.invalid_producer_epoch
    if (
        error.code is ErrorCode.transaction_abortable
        and context.api_key == ADD_PARTITIONS_TO_TXN
        and context.version < _ABORTABLE_SINCE
    ):
        return ErrorCode.invalid_txn_state
    return error.code


def _partitions(topics: Sequence[Any]) -> list[Partition]:
    return [(topic.name, index) for topic in topics for index in topic.partitions]


def _results(codes: Mapping[Partition, ErrorCode]) -> list[dict[str, Any]]:
    by_topic: dict[str, list[dict[str, Any]]] = {}
    for (topic, index), code in codes.items():
        by_topic.setdefault(topic, []).append({"partition_index": index, "partition_error_code": code})
    return [{"name": name, "results_by_partition": results} for name, results in by_topic.items()]
