"""Requests of KIP-848's consumer groups, in aiokafka's notation: what a member of the new protocol sends and is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from harness.capabilities import TopicPartition
from systems.kafka.protocol import COMMITTED_OFFSETS, OFFSETS_TO_COMMIT

_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)
_NOT_SAID = -1


class Uuid(AbstractType[uuid.UUID]):
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class Nullable:
    """A struct that may be absent."""

    def __init__(self, *fields: Any) -> None:
        self._schema = Schema(*fields)

    def encode(self, value: Any) -> bytes:
        return Int8.encode(-1) if value is None else b"".join((Int8.encode(1), self._schema.encode(value)))

    def decode(self, data: BytesIO) -> Any:
        return None if Int8.decode(data) < 0 else self._schema.decode(data)


_BY_TOPIC = CompactArray(("topic_id", Uuid), ("partitions", CompactArray(Int32)), _TAGS)


class Says(NamedTuple):
    """What a member says of itself in a heartbeat that tells all. `owned`: topic id -> partitions."""

    rebalance_timeout_ms: int
    topics: Sequence[str]
    assignor: str | None


class ConsumerGroupHeartbeatResponse_v1(Response):
    API_KEY = 68
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _TEXT),
        ("member_id", _TEXT),
        ("member_epoch", Int32),
        ("heartbeat_interval_ms", Int32),
        ("assignment", Nullable(("topic_partitions", _BY_TOPIC), _TAGS)),
        _TAGS,
    )


class ConsumerGroupHeartbeatRequest_v1(RequestStruct):
    API_KEY = 68
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ConsumerGroupHeartbeatResponse_v1
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("member_id", _TEXT),
        ("member_epoch", Int32),
        ("instance_id", _TEXT),
        ("rack_id", _TEXT),
        ("rebalance_timeout_ms", Int32),
        ("subscribed_topic_names", CompactArray(_TEXT)),
        ("subscribed_topic_regex", _TEXT),
        ("server_assignor", _TEXT),
        ("topic_partitions", _BY_TOPIC),
        _TAGS,
    )


class ConsumerGroupHeartbeat(Request[ConsumerGroupHeartbeatRequest_v1]):
    """A member lives; `says` where the coordinator may not know all of it, `owned` where that changed."""

    API_KEY = 68

    def __init__(
        self,
        group: str,
        member: tuple[int, str],
        instance: str | None,
        *,
        says: Says | None = None,
        owned: dict[uuid.UUID, list[int]] | None = None,
    ) -> None:
        self._group, (self._epoch, self._member_id), self._instance = group, member, instance
        self._says, self._owned = says, owned

    def build(self, request_struct_class: Any) -> Any:
        says, owned = self._says, self._owned
        return request_struct_class(
            self._group,
            self._member_id,
            self._epoch,
            self._instance,
            None,
            _NOT_SAID if says is None else says.rebalance_timeout_ms,
            None if says is None else list(says.topics),
            None,
            None if says is None else says.assignor,
            None if owned is None else [(topic, parts, {}) for topic, parts in owned.items()],
            {},
        )


def told(response: Any) -> dict[uuid.UUID, list[int]] | None:
    """The assignment in a heartbeat's answer; None where it is as it was."""
    if response.assignment is None:
        return None
    return {topic: list(partitions) for topic, partitions, _ in response.assignment[0]}


class OffsetCommitResponse_v9(Response):
    API_KEY = 8
    API_VERSION = 9
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class OffsetCommitRequest_v9(RequestStruct):
    API_KEY = 8
    API_VERSION = 9
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetCommitResponse_v9
    SCHEMA = Schema(
        ("group_id", _TEXT),
        ("member_epoch", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            OFFSETS_TO_COMMIT,
        ),
        _TAGS,
    )


class OffsetCommit(Request[OffsetCommitRequest_v9]):
    API_KEY = 8

    def __init__(
        self,
        group: str,
        member: tuple[int, str],
        instance: str | None,
        offsets: dict[TopicPartition, tuple[int, str]],
    ) -> None:
        self._group, self._member, self._instance, self._offsets = group, member, instance, offsets

    def build(self, request_struct_class: Any) -> Any:
        by_topic: dict[str, list[Any]] = {}
        for (topic, partition), (offset, metadata) in sorted(self._offsets.items()):
            by_topic.setdefault(topic, []).append((partition, offset, -1, metadata, {}))
        topics: list[Any] = [(topic, partitions, {}) for topic, partitions in by_topic.items()]
        return request_struct_class(self._group, *self._member, self._instance, topics, {})


class OffsetFetchResponse_v9(Response):
    API_KEY = 9
    API_VERSION = 9
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            CompactArray(
                ("group_id", _TEXT),
                (
                    "topics",
                    COMMITTED_OFFSETS,
                ),
                ("error_code", Int16),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class OffsetFetchRequest_v9(RequestStruct):
    API_KEY = 9
    API_VERSION = 9
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse_v9
    SCHEMA = Schema(
        (
            "groups",
            CompactArray(
                ("group_id", _TEXT),
                ("member_id", _TEXT),
                ("member_epoch", Int32),
                (
                    "topics",
                    CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS),
                ),
                _TAGS,
            ),
        ),
        ("require_stable", Boolean),
        _TAGS,
    )


class OffsetFetch(Request[OffsetFetchRequest_v9]):
    """Insists on stable offsets (KIP-447)."""

    API_KEY = 9

    def __init__(self, group: str, member: tuple[int, str], partitions: Sequence[TopicPartition]) -> None:
        self._group, self._member, self._partitions = group, member, partitions

    def build(self, request_struct_class: Any) -> Any:
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(self._partitions):
            by_topic.setdefault(topic, []).append(partition)
        topics: list[Any] = [(topic, partitions, {}) for topic, partitions in by_topic.items()]
        epoch, member_id = self._member
        return request_struct_class([(self._group, member_id, epoch, topics, {})], True, {})


class MetadataResponse_v12(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS),
        ),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class MetadataRequest_v12(RequestStruct):
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("topic", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        _TAGS,
    )


class TopicIds(Request[MetadataRequest_v12]):
    """aiokafka's own Metadata is too old to tell topics' ids."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        topics: list[Any] = [(uuid.UUID(int=0), topic, {}) for topic in self._topics]
        return request_struct_class(topics, False, False, {})


def topic_ids(response: Any) -> dict[uuid.UUID, str]:
    """Id -> name, of the topics that exist."""
    return {topic[2]: topic[1] for topic in response.topics if topic[0] == 0}
