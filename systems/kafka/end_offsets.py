"""Where partitions end, and by the word of which leader: ListOffsets v4, which tells the leader epoch.

aiokafka 0.14 asks with v3, and its own v4 gives the current leader epoch eight bytes instead of four.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import errors as kafka
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.offset import OffsetResponse_v4
from aiokafka.protocol.types import Array, Int8, Int32, Int64, Schema, String

from harness.capabilities import EndOffset, TopicPartition

_LATEST = -1
_HIGH_WATERMARK = 0


class ListOffsetsRequest_v4(RequestStruct):
    API_KEY = 2
    API_VERSION = 4
    RESPONSE_TYPE = OffsetResponse_v4
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("isolation_level", Int8),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(("partition", Int32), ("current_leader_epoch", Int32), ("timestamp", Int64)),
                ),
            ),
        ),
    )


class ListOffsets(Request[ListOffsetsRequest_v4]):
    """The end of partitions, of whichever leader is asked."""

    API_KEY = 2

    def __init__(self, topics: dict[str, list[int]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        topics = [(name, [(index, -1, _LATEST) for index in parts]) for name, parts in self._topics.items()]
        return request_struct_class(-1, _HIGH_WATERMARK, topics)


async def end_offsets_by_epoch(
    client: Any, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, EndOffset]:
    """High watermarks, asked once of the leaders that this client knows of. Raises the first error: of a probe, an
    answer that comes only after another leader was found is another answer."""
    for topic in sorted({partition.topic for partition in partitions}):
        await client._wait_on_metadata(topic)
    by_node: dict[int, dict[str, list[int]]] = {}
    for partition in sorted(partitions):
        leader = client.cluster.leader_for_partition(partition)
        if leader in (None, -1):
            client.force_metadata_update()
            raise kafka.LeaderNotAvailableError(f"no leader known of {partition}")
        by_node.setdefault(leader, {}).setdefault(partition.topic, []).append(partition.partition)
    answers = await asyncio.gather(*(client.send(node, ListOffsets(t)) for node, t in by_node.items()))
    found: dict[TopicPartition, EndOffset] = {}
    for answer in answers:
        for topic, parts in answer.topics:
            for index, code, _, offset, epoch in parts:
                error = kafka.for_code(code)
                if error is not kafka.NoError:
                    client.force_metadata_update()
                    raise error(f"{topic}/{index}")
                found[TopicPartition(topic, index)] = EndOffset(offset, epoch if epoch >= 0 else None)
    return dict(sorted(found.items()))
