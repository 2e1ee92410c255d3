"""Requests that aiokafka 0.14 does not have: newer versions of what it sends, in its own notation.

Versions are negotiated per connection as for its own requests; the older ones stay as a fallback.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v1, OffsetFetchRequest_v3
from aiokafka.protocol.transaction import EndTxnRequest_v0, TxnOffsetCommitRequest_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)
OFFSETS_TO_COMMIT = CompactArray(
    ("topic", _TEXT),
    (
        "partitions",
        CompactArray(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", _TEXT),
            _TAGS,
        ),
    ),
    _TAGS,
)
"""By topic, in flexible versions."""
COMMITTED_OFFSETS = CompactArray(
    ("topic", _TEXT),
    (
        "partitions",
        CompactArray(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", _TEXT),
            ("error_code", Int16),
            _TAGS,
        ),
    ),
    _TAGS,
)
"""The same, as they are told."""


class EndTxnResponse_v5(Response):
    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        _TAGS,
    )


class EndTxnRequest_v5(RequestStruct):
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse_v5
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("transaction_result", Boolean),
        _TAGS,
    )


class EndTxn(Request[EndTxnRequest_v0 | EndTxnRequest_v5]):
    """EndTxn; from version 5 on the answer carries the epoch of the next transaction (KIP-890)."""

    API_KEY = 26

    def __init__(self, transactional_id: str, producer_id: int, producer_epoch: int, committed: bool) -> None:
        self._fields = (transactional_id, producer_id, producer_epoch, committed)

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION < 5:
            return request_struct_class(*self._fields)
        return request_struct_class(*self._fields, {})


class TxnOffsetCommitResponse_v3(Response):
    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "errors",
            CompactArray(
                ("topic", _TEXT),
                ("partition_errors", CompactArray(("partition", Int32), ("error_code", Int16), _TAGS)),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class TxnOffsetCommitRequest_v3(RequestStruct):
    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse_v3
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            OFFSETS_TO_COMMIT,
        ),
        _TAGS,
    )


class TxnOffsetCommit(Request[TxnOffsetCommitRequest_v0 | TxnOffsetCommitRequest_v3]):
    """TxnOffsetCommit; from version 3 on it says who in the group commits (KIP-447)."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        group_id: str,
        producer: tuple[int, int],
        member: tuple[int, str],
        topics: list[tuple[str, list[tuple[int, int, str]]]],
    ) -> None:
        self._transactional_id = transactional_id
        self._group_id = group_id
        self._producer = producer
        self._member = (*member, None)
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        who = (self._transactional_id, self._group_id, *self._producer)
        if request_struct_class.API_VERSION < 3:
            return request_struct_class(*who, self._topics)
        topics: list[Any] = [
            (topic, [(partition, offset, -1, metadata, {}) for partition, offset, metadata in partitions], {})
            for topic, partitions in self._topics
        ]
        return request_struct_class(*who, *self._member, topics, {})


class OffsetFetchResponse_v7(Response):
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            COMMITTED_OFFSETS,
        ),
        ("error_code", Int16),
        _TAGS,
    )


class OffsetFetchRequest_v7(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse_v7
    SCHEMA = Schema(
        ("consumer_group", _TEXT),
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS),
        ),
        ("require_stable", Boolean),
        _TAGS,
    )


class OffsetFetch(Request[OffsetFetchRequest_v1 | OffsetFetchRequest_v3 | OffsetFetchRequest_v7]):
    """OffsetFetch; from version 7 on it can insist on stable offsets (KIP-447)."""

    API_KEY = 9

    def __init__(self, group_id: str, topics: list[tuple[str, list[int]]]) -> None:
        self._group_id = group_id
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class.API_VERSION < 7:
            return request_struct_class(self._group_id, self._topics)
        topics: list[Any] = [(topic, partitions, {}) for topic, partitions in self._topics]
        return request_struct_class(self._group_id, topics, True, {})
