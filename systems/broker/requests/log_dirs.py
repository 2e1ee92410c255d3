"""DescribeLogDirs: how large the logs of this broker are (KIP-113)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kio.schema.errors import ErrorCode

from systems.broker import messages
from systems.broker.context import Broker, Handler, RequestContext
from systems.broker.partition import Partition
from systems.broker.replicas import ReplicaManager

DESCRIBE_LOG_DIRS: Final = 35
UNKNOWN_BYTES: Final = -1


class LogDirs:
    """A node has one disk, and that one directory; how large the disk is it is not told."""

    def __init__(self, broker: Broker, replicas: ReplicaManager) -> None:
        self._broker = broker
        self._replicas = replicas

    def handlers(self) -> Mapping[int, tuple[range, Handler]]:
        return {DESCRIBE_LOG_DIRS: (range(1, 5), self.on_describe_log_dirs)}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def on_describe_log_dirs(self, context: RequestContext, request: Any) -> Any:
        wanted = None
        if request.topics is not None:
            wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}
        topics: dict[str, list[dict[str, Any]]] = {}
        for partition in self._replicas.partitions():
            if wanted is None or (partition.topic, partition.index) in wanted:
                topics.setdefault(partition.topic, []).append(_described(partition))
        return messages.response(
            context,
            error_code=ErrorCode.none,
            results=[
                {
                    "error_code": ErrorCode.none,
                    "log_dir": f"/{self._broker.env.name}",
                    "topics": [{"name": name, "partitions": topics[name]} for name in sorted(topics)],
                    "total_bytes": UNKNOWN_BYTES,
                    "usable_bytes": UNKNOWN_BYTES,
                }
            ],
        )


def _described(partition: Partition) -> dict[str, Any]:
    return {
        "partition_index": partition.index,
        "partition_size": partition.log.size,
        "offset_lag": max(partition.high_watermark - partition.log.end_offset, 0),
        "is_future_key": False,
    }
