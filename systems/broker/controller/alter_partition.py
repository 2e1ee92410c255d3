"""AlterPartition: a leader proposes an ISR (semantics 2.1 rule 8)."""

from __future__ import annotations

import asyncio
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import KafkaError, RequestContext
from systems.broker.controller.elections import Rules, change_partition
from systems.broker.controller.metadata_log import MetadataLog
from systems.broker.metadata import MetadataImage, PartitionState, Record

UNKNOWN_BROKER_EPOCH = -1


class AlterPartition:
    def __init__(self, log: MetadataLog, rules: Rules) -> None:
        self._log = log
        self._rules = rules

    async def on_alter_partition(self, context: RequestContext, request: Any) -> Any:
        try:
            topics = await self._alter(request)
        except KafkaError as error:
            return messages.response(context, error_code=error.code, topics=[])
        return messages.response(context, error_code=ErrorCode.none, topics=topics)

    async def _alter(self, request: Any) -> list[dict[str, Any]]:
        """The answer for each topic, once what was accepted is committed."""
        self._log.require_active()
        leader = self._log.pending.brokers.get(request.broker_id)
        if leader is None or leader.epoch != request.broker_epoch:
            raise KafkaError(ErrorCode.stale_broker_epoch, f"broker {request.broker_id}")
        appended: list[asyncio.Future[int]] = []
        answers = [
            {
                "topic_id": data.topic_id,
                "partitions": [self._alter_one(request, data.topic_id, p, appended) for p in data.partitions],
            }
            for data in request.topics
        ]
        for future in appended:
            await self._log.committed(future)
        if appended:
            self._log.env.step("controller.alter_partition.committed")
        return answers

    def _alter_one(
        self, request: Any, topic_id: Any, data: Any, appended: list[asyncio.Future[int]]
    ) -> dict[str, Any]:
        image = self._log.pending
        topic = image.topic_by_id(topic_id.bytes)
        try:
            if topic is None:
                raise KafkaError(ErrorCode.unknown_topic_id)
            state = image.partition(topic.name, data.partition_index)
            if state is None:
                raise KafkaError(ErrorCode.unknown_topic_or_partition)
            isr = _proposed_isr(data)
            validate(image, self._rules, state, request.broker_id, data, isr)
            changes: list[Record] = []
            change = change_partition(
                image, self._rules, topic, data.partition_index, isr=_in_order(state, isr)
            )
            if change is not None:
                changes.append(change)
                appended.append(self._log.append(changes))
                state = change.state
        except KafkaError as error:
            return _answer(data.partition_index, error.code, None)
        return _answer(data.partition_index, ErrorCode.none, state)


def validate(
    image: MetadataImage,
    rules: Rules,
    state: PartitionState,
    sender: int,
    data: Any,
    isr: dict[int, int],
) -> None:
    """Rule 8: accept iff the sender is the leader, leader epoch and partition epoch match, and every
    member is unfenced in the incarnation that the leader saw. Raises `KafkaError`."""
    if data.leader_epoch > state.leader_epoch:
        raise KafkaError(ErrorCode.not_controller, "the leader knows a newer epoch than this controller")
    if data.leader_epoch < state.leader_epoch:
        raise KafkaError(ErrorCode.fenced_leader_epoch)
    if sender != state.leader:
        raise KafkaError(ErrorCode.invalid_request, "the sender is not the leader")
    if data.partition_epoch != state.partition_epoch and "alter-partition-ignores-partition-epoch" not in (
        rules.bugs
    ):
        raise KafkaError(ErrorCode.invalid_update_version, f"partition epoch {state.partition_epoch}")
    if sender not in isr or any(b not in state.replicas for b in isr):
        raise KafkaError(ErrorCode.invalid_request, f"ISR {sorted(isr)}")
    for broker_id, epoch in isr.items():
        broker = image.brokers.get(broker_id)
        if broker is None or broker.fenced:
            raise KafkaError(ErrorCode.ineligible_replica, f"broker {broker_id} is fenced")
        if epoch not in (broker.epoch, UNKNOWN_BROKER_EPOCH) and (
            "stale-broker-epoch-isr-join" not in rules.bugs
        ):
            raise KafkaError(ErrorCode.ineligible_replica, f"broker {broker_id} restarted since")


def _proposed_isr(data: Any) -> dict[int, int]:
    """Broker -> the broker epoch that the leader saw (-1 in version 2, which has none)."""
    members = getattr(data, "new_isr_with_epochs", None)
    if members is None:
        return {int(b): UNKNOWN_BROKER_EPOCH for b in data.new_isr}
    return {int(m.broker_id): int(m.broker_epoch) for m in members}


def _in_order(state: PartitionState, isr: dict[int, int]) -> tuple[int, ...]:
    return tuple(b for b in state.replicas if b in isr)


def _answer(index: int, error: ErrorCode, state: PartitionState | None) -> dict[str, Any]:
    return {
        "partition_index": index,
        "error_code": error,
        "leader_id": -1 if state is None else state.leader,
        "leader_epoch": 0 if state is None else state.leader_epoch,
        "isr": () if state is None else state.isr,
        "leader_recovery_state": 0,
        "partition_epoch": 0 if state is None else state.partition_epoch,
    }
