"""Transaction markers (semantics 2.4.4 and 2.4.6): the coordinator's sender, every broker's receiver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Appended, Broker, Handler, KafkaError, RequestContext
from systems.broker.coordinator_log import OFFSETS
from systems.broker.transactions.state import Partition, Transaction

log = logging.getLogger(__name__)

WRITE_TXN_MARKERS = 27
_VERSIONS = range(1, 3)
_VERSION = 2
"""The first that says which transaction version's rules a marker follows."""
_REQUEST_TIMEOUT_MS = 3000
_APPEND_TIMEOUT_MS = 500
"""Short, because later markers wait behind this one; an unreplicated marker is asked for again."""
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 0.5
_FINAL = frozenset({ErrorCode.transaction_coordinator_fenced, ErrorCode.invalid_producer_epoch})
_APPENDED = frozenset({ErrorCode.request_timed_out, ErrorCode.not_enough_replicas_after_append})


class MarkerSender:
    """Delivers a decision to every partition of a transaction, however long that takes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def deliver(self, txn: Transaction, coordinator_epoch: int) -> None:
        """Returns when every partition has acknowledged its marker at acks=all. Raises `KafkaError` where
        a partition knows of a newer coordinator or producer."""
        waiting = dict.fromkeys(txn.partitions)
        backoff_s = _BACKOFF_S
        while waiting:
            by_leader, waiting = self._by_leader(waiting)
            answers = await asyncio.gather(
                *(self._send(leader, txn, coordinator_epoch, parts) for leader, parts in by_leader.items())
            )
            for answer in answers:
                for partition, code in answer.items():
                    if code in _FINAL:
                        raise KafkaError(code, f"{txn.transactional_id}: marker for {partition} refused")
                    if code is not ErrorCode.none:
                        waiting[partition] = None
            if waiting:
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    def _by_leader(
        self, partitions: Mapping[Partition, None]
    ) -> tuple[dict[int, list[Partition]], dict[Partition, None]]:
        """Where to send now, and what has no leader. A partition of a deleted topic needs no marker."""
        by_leader: dict[int, list[Partition]] = {}
        leaderless: dict[Partition, None] = {}
        image = self._broker.image
        for topic, index in partitions:
            state = image.partition(topic, index)
            if state is None:
                continue
            if state.leader < 0:
                leaderless[(topic, index)] = None
            else:
                by_leader.setdefault(state.leader, []).append((topic, index))
        return by_leader, leaderless

    async def _send(
        self, leader: int, txn: Transaction, coordinator_epoch: int, partitions: list[Partition]
    ) -> dict[Partition, ErrorCode]:
        request = messages.request(
            WRITE_TXN_MARKERS,
            _VERSION,
            markers=[
                {
                    "producer_id": txn.producer_id,
                    "producer_epoch": txn.producer_epoch,
                    "transaction_result": txn.commits,
                    "topics": [
                        {"name": topic, "partition_indexes": indexes}
                        for topic, indexes in _grouped(partitions).items()
                    ],
                    "coordinator_epoch": coordinator_epoch,
                    "transaction_version": txn.transaction_version,
                }
            ],
        )
        unanswered = dict.fromkeys(partitions, ErrorCode.network_exception)
        try:
            response = await self._broker.channel(leader, "markers").call(
                request, timeout_ms=_REQUEST_TIMEOUT_MS
            )
        except (OSError, TimeoutError) as error:
            log.info("%s: markers to broker %d: %s", txn.transactional_id, leader, error)
            return unanswered
        self._broker.env.step("coordinator.marker.sent")
        return unanswered | {
            (topic.name, partition.partition_index): partition.error_code
            for marker in response.markers
            for topic in marker.topics
            for partition in topic.partitions
        }


def _grouped(partitions: list[Partition]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for topic, index in partitions:
        grouped.setdefault(topic, []).append(index)
    return grouped


class OffsetsPartitions(Protocol):
    """The group coordinator, as markers meet it."""

    def check_loaded(self, index: int) -> None:
        """Raises while that offsets partition is being replayed: a marker must not slip in between."""
        ...

    def on_marker(self, index: int, marker_offset: int | None, producer_id: int, commit: bool) -> None:
        """The marker is replicated: the pending offsets become visible, or vanish. Its offset is None where
        an earlier request had written it."""
        ...


class MarkerReceiver:
    """Writes markers into the partitions that this broker leads."""

    def __init__(self, broker: Broker, groups: OffsetsPartitions) -> None:
        self._broker = broker
        self._groups = groups

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {WRITE_TXN_MARKERS: (_VERSIONS, self.on_write_txn_markers)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_write_txn_markers(self, context: RequestContext, request: Any) -> Any:
        """2.4.6. Answers for a partition only once its marker is replicated."""
        results = []
        for marker in request.markers:
            partitions = [(topic.name, index) for topic in marker.topics for index in topic.partition_indexes]
            codes = await asyncio.gather(*(self._write(marker, *partition) for partition in partitions))
            by_topic: dict[str, list[dict[str, Any]]] = {}
            for (topic, index), code in zip(partitions, codes, strict=True):
                by_topic.setdefault(topic, []).append({"partition_index": index, "error_code": code})
            results.append(
                {
                    "producer_id": marker.producer_id,
                    "topics": [{"name": name, "partitions": parts} for name, parts in by_topic.items()],
                }
            )
        return messages.response(context, markers=results)

    async def _write(self, marker: Any, topic: str, index: int) -> ErrorCode:
        try:
            if topic == OFFSETS:
                self._groups.check_loaded(index)
            appended = await self._append(marker, topic, index)
            if topic == OFFSETS:
                self._groups.on_marker(
                    index,
                    None if appended.duplicate else appended.last_offset,
                    marker.producer_id,
                    marker.transaction_result,
                )
        except KafkaError as error:
            return error.code
        return ErrorCode.none

    async def _append(self, marker: Any, topic: str, index: int) -> Appended:
        """Returns once the marker is replicated."""
        early = "marker-acked-before-replicated" in self._broker.env.bugs
        partition = self._broker.replicas.leader_of(topic, index)
        try:
            return await partition.append_marker(
                producer_id=marker.producer_id,
                producer_epoch=marker.producer_epoch,
                coordinator_epoch=marker.coordinator_epoch,
                transaction_version=getattr(marker, "transaction_version", 0),
                commit=marker.transaction_result,
                timeout_ms=0 if early else _APPEND_TIMEOUT_MS,
            )
        except KafkaError as error:
            if early and error.code in _APPENDED:
                end = partition.log_end_offset - 1
                return Appended(end, end, -1, partition.log_start_offset)
            raise
