"""DescribeTransactions and ListTransactions: what hangs, and since when (KIP-664)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.transactions.coordinator import TransactionCoordinator
from systems.broker.transactions.state import State, Transaction

DESCRIBE_TRANSACTIONS: Final = 65
LIST_TRANSACTIONS: Final = 66


class TransactionDescriptions:
    def __init__(self, broker: Broker, coordinator: TransactionCoordinator) -> None:
        self._broker = broker
        self._coordinator = coordinator

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            DESCRIBE_TRANSACTIONS: (range(0, 1), self.on_describe_transactions),
            LIST_TRANSACTIONS: (range(0, 2), self.on_list_transactions),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_transactions(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context, transaction_states=[self._describe(name) for name in request.transactional_ids]
        )

    def _describe(self, transactional_id: str) -> dict[str, Any]:
        if not transactional_id:
            return _described(transactional_id, ErrorCode.invalid_request)
        try:
            txn = self._coordinator.transaction(transactional_id)
        except KafkaError as error:
            return _described(transactional_id, error.code)
        if txn is None:
            return _described(transactional_id, ErrorCode.transactional_id_not_found)
        topics: dict[str, list[int]] = {}
        for topic, index in txn.partitions:
            topics.setdefault(topic, []).append(index)
        return _described(transactional_id, ErrorCode.none) | {
            "transaction_state": str(txn.state),
            "transaction_timeout": messages.milliseconds(txn.timeout_ms),
            "transaction_start_time": messages.timestamp(txn.started_ms) or messages.timestamp(0),
            "producer_id": txn.producer_id,
            "producer_epoch": txn.producer_epoch,
            "topics": [{"topic": name, "partitions": parts} for name, parts in topics.items()],
        }

    async def on_list_transactions(self, context: RequestContext, request: Any) -> Any:
        """Of this coordinator: a client asks every broker."""
        known = {str(state) for state in State}
        now_ms = self._broker.env.wall_clock.time_ns() // 1_000_000

        def wanted(txn: Transaction) -> bool:
            states, producers = request.state_filters, request.producer_id_filters
            longer = getattr(request, "duration_filter", -1)
            return (
                (not states or str(txn.state) in states)
                and (not producers or txn.producer_id in producers)
                and (longer < 0 or 0 <= txn.started_ms < now_ms - longer)
            )

        return messages.response(
            context,
            error_code=ErrorCode.none,
            unknown_state_filters=[state for state in request.state_filters if state not in known],
            transaction_states=[
                {
                    "transactional_id": txn.transactional_id,
                    "producer_id": txn.producer_id,
                    "transaction_state": str(txn.state),
                }
                for txn in self._coordinator.transactions()
                if wanted(txn)
            ],
        )


def _described(transactional_id: str, code: ErrorCode) -> dict[str, Any]:
    return {
        "error_code": code,
        "transactional_id": transactional_id,
        "transaction_state": "",
        "transaction_timeout": messages.milliseconds(0),
        "transaction_start_time": messages.timestamp(0),
        "producer_id": -1,
        "producer_epoch": -1,
        "topics": (),
    }
