"""ListOffsets and OffsetForLeaderEpoch: where a log begins, ends, and which epoch wrote what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, KafkaError, RequestContext
from systems.broker.log.batch import parse
from systems.broker.log.records import first_record_since
from systems.broker.replicas import ReplicaManager

LIST_OFFSETS = 2
OFFSET_FOR_LEADER_EPOCH = 23
LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6
_SINCE = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}
"""The version from which on a client may ask for it."""
_NOWHERE = frozenset({LATEST_TIERED, EARLIEST_PENDING_UPLOAD})
"""Of a tier that this broker does not have (KIP-405)."""
READ_COMMITTED = 1
OFFSET_NOT_AVAILABLE_VERSION = 5


class ListOffsets:
    def __init__(self, broker: Broker, replicas: ReplicaManager) -> None:
        self._broker = broker
        self._replicas = replicas

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {
            LIST_OFFSETS: (range(1, 12), self.on_list_offsets),
            OFFSET_FOR_LEADER_EPOCH: (range(2, 5), self.on_offset_for_leader_epoch),
        }

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_list_offsets(self, context: RequestContext, request: Any) -> Any:
        read_committed = getattr(request, "isolation_level", 0) == READ_COMMITTED
        return messages.response(
            context,
            topics=[
                {
                    "name": topic.name,
                    "partitions": [
                        self._offset(context, topic.name, part, request.replica_id, read_committed)
                        for part in topic.partitions
                    ],
                }
                for topic in request.topics
            ],
        )

    def _offset(
        self, context: RequestContext, topic: str, part: Any, replica: int, read_committed: bool
    ) -> dict[str, Any]:
        try:
            leader = self._replicas.leader_of(topic, part.partition_index)
            leader.check_epoch(getattr(part, "current_leader_epoch", -1))
            timestamp = -1
            if part.timestamp < LATEST and context.version < _SINCE.get(part.timestamp, 0):
                raise KafkaError(ErrorCode.unsupported_version, f"timestamp {part.timestamp}")
            if part.timestamp in (EARLIEST, EARLIEST_LOCAL):
                offset = leader.log_start_offset
            elif part.timestamp == LATEST:
                offset = (
                    leader.log_end_offset
                    if replica >= 0
                    else leader.latest_offset(read_committed=read_committed)
                )
            elif part.timestamp in _NOWHERE:
                offset = -1
            elif part.timestamp < EARLIEST_PENDING_UPLOAD:
                raise KafkaError(ErrorCode.unsupported_version, f"timestamp {part.timestamp}")
            else:
                end = leader.latest_offset(read_committed=read_committed)
                wanted = part.timestamp
                if wanted == MAX_TIMESTAMP:
                    wanted = leader.max_timestamp(end)
                found = leader.first_batch_since(wanted, end) if wanted >= 0 else None
                offset, timestamp = (-1, -1)
                if found is not None:
                    header = parse(found[1], check_crc=False)
                    offset, timestamp = first_record_since(header, found[1], wanted)
                    offset = max(offset, leader.log_start_offset)
            epoch = -1
            if offset >= 0:
                # At the end of the log the epoch that would write there.
                epoch = leader.epoch_at(offset)
                epoch = epoch if epoch >= 0 else leader.leader_epoch
        except KafkaError as error:
            code = error.code
            if code is ErrorCode.offset_not_available and context.version < OFFSET_NOT_AVAILABLE_VERSION:
                code = ErrorCode.leader_not_available
            if "spurious-offset-zero-or-minus-one" in self._broker.env.bugs:
                # What an answer looks like in which nobody has filled in the offset.
                return {
                    "partition_index": part.partition_index,
                    "error_code": ErrorCode.none,
                    "timestamp": -1,
                    "offset": 0,
                    "leader_epoch": -1,
                }
            return {"partition_index": part.partition_index, "error_code": code}
        return {
            "partition_index": part.partition_index,
            "error_code": ErrorCode.none,
            "timestamp": timestamp,
            "offset": offset,
            "leader_epoch": epoch,
        }

    async def on_offset_for_leader_epoch(self, context: RequestContext, request: Any) -> Any:
        return messages.response(
            context,
            topics=[
                {
                    "topic": topic.topic,
                    "partitions": [self._epoch_end(topic.topic, part) for part in topic.partitions],
                }
                for topic in request.topics
            ],
        )

    def _epoch_end(self, topic: str, part: Any) -> dict[str, Any]:
        """KIP-279: the largest epoch up to the asked one, and where it ends."""
        try:
            leader = self._replicas.leader_of(topic, part.partition)
            leader.check_epoch(part.current_leader_epoch)
        except KafkaError as error:
            return {"partition": part.partition, "error_code": error.code}
        end = leader.end_of_epoch(part.leader_epoch)
        return {
            "partition": part.partition,
            "error_code": ErrorCode.none,
            "leader_epoch": end.epoch,
            "end_offset": end.end_offset,
        }
